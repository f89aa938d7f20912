"""The gallery of studies: classic experiments, each a short script that checks its own figures.

The scripts stand in ``examples/studies`` and come with the package; ``fastopt study NAME`` runs
one. A script has a doc string, whose first line is its title, and ``study(full=False)``, which
returns :class:`Findings`. A script of your own is run by ``fastopt study FILE.py``.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastopt.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Check", "Findings", "find", "index", "load", "main", "names", "run", "titles", "write",
]  # fmt: skip

# In a wheel, and in a checkout.
FOLDERS = (Path(__file__).parent / "_studies", Path(__file__).parents[1] / "examples" / "studies")
# Half a digit is 0.5 in decimal, and a little more or less in binary.
HALF = Decimal("0.5000001")


@dataclass(frozen=True)
class Check:
    """One figure beside the published or independent one.

    Parameters
    ----------
    quantity : str
        What it is.
    published : str
        The figure of a paper, of a library, of a formula or of plain NumPy.
    ours : str
        What the study found.
    tolerance : str
        By how much they may differ, or ``at most`` or ``at least``.
    passed : bool
        Whether they agree.
    """

    quantity: str
    published: str
    ours: str
    tolerance: str
    passed: bool


class Findings:
    """What a study found: checked figures, tables, a drawing.

    Examples
    --------
    >>> found = Findings()
    >>> found.check("pi", "3.1416", 3.14159265)  # to the digits given
    >>> found.check("e", 2.718, 2.71828, tolerance=1e-3)
    >>> found.at_most("evaluations", 100, 101)
    >>> found.passed
    False
    >>> found.to_frame()[["published", "ours", "tolerance", "pass"]]
      published     ours tolerance   pass
    0    3.1416   3.1416     5e-05   True
    1     2.718  2.71828     0.001   True
    2       100      101   at most  False
    """

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.tables: dict[str, pd.DataFrame] = {}
        self.draw: Callable[[Figure], Any] | None = None
        self.name = self.title = self.text = ""
        self.seconds = float("nan")

    def check(
        self, quantity: str, published: Any, ours: Any, tolerance: float | None = None
    ) -> None:
        """Compare a figure with a published one.

        Parameters
        ----------
        quantity : str
            What it is.
        published : str, number or anything
            A number written as a string is compared to the digits it has.
        ours : number or anything
        tolerance : float, optional
            Largest difference; without it half of the last digit, or equality if there is none.
        """
        published, ours = _plain(published), _plain(ours)
        digits = _digits(published)
        if tolerance is None and digits is not None and isinstance(ours, int | float):
            tolerance = float(Decimal(5).scaleb(digits - 1))
            shown = f"{ours:.{max(-digits, 0)}f}" if abs(ours) >= 1e-4 else f"{ours:.3g}"
            near = abs(ours - float(published)) <= float(HALF.scaleb(digits))
        elif tolerance is None:
            shown, near = _shown(ours), ours == published
        else:
            shown, near = _shown(ours), abs(ours - published) <= tolerance
        allowed = "exact" if tolerance is None else f"{tolerance:.3g}"
        self.checks.append(Check(quantity, _shown(published), shown, allowed, bool(near)))

    def at_most(self, quantity: str, bound: float, ours: float) -> None:
        """Check that a figure does not exceed a bound."""
        self._bounded(quantity, bound, ours, "at most", bool(ours <= bound))

    def at_least(self, quantity: str, bound: float, ours: float) -> None:
        """Check that a figure reaches a bound."""
        self._bounded(quantity, bound, ours, "at least", bool(ours >= bound))

    def _bounded(self, quantity: str, bound: Any, ours: Any, how: str, passed: bool) -> None:
        shown = _shown(_plain(bound)), _shown(_plain(ours))
        self.checks.append(Check(quantity, *shown, how, passed))

    def figure(self, draw: Callable[[Figure], Any]) -> Callable[[Figure], Any]:
        """Say what draws the study's picture: a function of a matplotlib figure; a decorator."""
        self.draw = draw
        return draw

    def show(self, title: str, table: pd.DataFrame) -> None:
        """Add a table to what is printed."""
        self.tables[title] = table

    @property
    def passed(self) -> bool:
        """Whether there are checks and all of them passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def to_frame(self) -> pd.DataFrame:
        """Return the checks: ``quantity, published, ours, tolerance, pass``, one row each."""
        frame = pd.DataFrame([vars(check) for check in self.checks], columns=list(_FIELDS))
        return frame.rename(columns={"passed": "pass"})

    def save(self, path: str | os.PathLike[str]) -> Path | None:
        """Draw the figure to a PNG file.

        Returns
        -------
        Path or None
            The file; None if the study has nothing to draw.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        if self.draw is None:
            return None
        from sweeps.plots import style

        matplotlib = style.matplotlib()
        from cycler import cycler
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        with matplotlib.rc_context({"axes.prop_cycle": cycler(color=style.OKABE_ITO)}):
            # Not pyplot: it has a state of its own, which a user's notebook may be using.
            figure = Figure(figsize=(8.0, 4.5), layout="constrained", dpi=100)
            FigureCanvasAgg(figure)
            self.draw(figure)
            figure.savefig(path)
        return Path(path)


_FIELDS = Check.__dataclass_fields__


def names() -> list[str]:
    """Return the names of the studies that come with the package.

    >>> "shootout" in names()
    True
    """
    return sorted(path.stem for path in _folder().glob("*.py"))


def find(name: str) -> Path:
    """Return the script of a study, by its name or by its own path.

    Raises
    ------
    SpecError
        There is none.

    Examples
    --------
    >>> find("shootout").name
    'shootout.py'
    >>> find("shootot")
    Traceback (most recent call last):
    fastopt.errors.SpecError: there is no study 'shootot'; did you mean 'shootout'?; ...
    """
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise SpecError(f"there is no file {name!r}")
        return Path(name)
    known = names()
    if name not in known:
        raise SpecError(
            f"there is no study {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}"
        )
    return _folder() / f"{name}.py"


def load(path: Path) -> ModuleType:
    """Import the script of a study, without running it.

    Raises
    ------
    SpecError
        It has no function ``study``.
    ImportError
        It needs a package that is not installed.

    Examples
    --------
    >>> load(find("shootout")).__doc__.splitlines()[0]
    'S5. Shootout in the banana valley: which optimizer wins is a question of its learning rate.'
    """
    spec = importlib.util.spec_from_file_location(f"fastopt_study_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{str(path)!r} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Numba's disk cache looks the functions of a script up by the name of their module.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{path.name} needs {error.name}, which is not installed; what the studies of this "
            'package need comes with: pip install "fastopt[studies]"'
        ) from error
    if not callable(getattr(module, "study", None)):
        raise SpecError(f"{str(path)!r} defines no study(full=False)")
    return module


def titles() -> dict[str, str]:
    """Return the first line of every study's doc string, without running anything.

    >>> titles()["shootout"][:30]
    'S5. Shootout in the banana val'
    """
    found = {}
    for name in names():
        text = ast.get_docstring(ast.parse(find(name).read_text("utf-8"))) or ""
        found[name] = text.partition("\n")[0]
    return found


def run(name: str, *, full: bool = False) -> Findings:
    """Run a study.

    Parameters
    ----------
    name : str
        One of :func:`names`, or the path of a script.
    full : bool
        The size of the published experiment, which may take minutes, instead of a quick one.

    Returns
    -------
    Findings
        With its ``name``, ``title``, ``text`` (the rest of the doc string) and ``seconds``.

    Raises
    ------
    SpecError
        There is no such study.
    """
    path = find(name)
    module = load(path)
    start = time.perf_counter()
    found = module.study(full=full)
    found.seconds = time.perf_counter() - start
    found.name = path.stem
    found.title, _, found.text = (module.__doc__ or path.stem).strip().partition("\n")
    found.text = found.text.strip()
    return found


def index(results: Sequence[Findings]) -> str:
    """Write a page in Markdown: every study, what it is about, and its table.

    Examples
    --------
    >>> found = Findings()
    >>> found.name, found.title, found.seconds = "pi", "What pi is.", 0.25
    >>> found.check("pi", "3.14", 3.14159)
    >>> print(index([found]))
    # Studies
    ...
    | [pi](#pi) | What pi is. | 1 of 1 | 0.2 |
    ...
    | pi | 3.14 | 3.14 | 0.005 | pass |
    """
    lines = [
        "# Studies",
        "",
        "Written by `fastopt study --all --full --out DIR`. The times include compiling.",
        "",
        "| study | question | passed | seconds |",
        "|---|---|---|---|",
    ]
    for found in results:
        good = sum(check.passed for check in found.checks)
        lines.append(
            f"| [{found.name}](#{found.name.replace('_', '-')}) | {found.title} "
            f"| {good} of {len(found.checks)} | {found.seconds:.1f} |"
        )
    for found in results:
        lines += ["", f"## {found.name.replace('_', '-')}", "", f"**{found.title}**"]
        lines += ["", found.text] if found.text else []
        if found.draw is not None:
            lines += ["", f"![{found.title}]({found.name}.png)"]
        lines += ["", "| quantity | published | ours | tolerance | |", "|---|---|---|---|---|"]
        for c in found.checks:
            verdict = "pass" if c.passed else "**fail**"
            cells = (c.quantity, c.published, c.ours, c.tolerance, verdict)
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def write(results: Sequence[Findings], folder: str | os.PathLike[str]) -> Path:
    """Write the newest figure, and the page of all results, to a folder.

    Parameters
    ----------
    results : sequence of Findings
        The last of them has its figure drawn: call this after each study, so that what is
        finished is on disk.
    folder : path
        Made if it is not there.

    Returns
    -------
    Path
        The page, ``studies.md``; figures are called ``NAME.png``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    results[-1].save(folder / f"{results[-1].name}.png")
    page = folder / "studies.md"
    page.write_text(index(results), "utf-8")
    return page


def main(path: str) -> None:
    """Run the script of a study as the command ``fastopt study`` does, with its options.

    Parameters
    ----------
    path : str
        The script's ``__file__``.
    """
    from sweeps.cli import app

    app(["study", path, *sys.argv[1:]])


def _folder() -> Path:
    return next(folder for folder in FOLDERS if folder.is_dir())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(_shown, value)) if isinstance(value, list | tuple) else str(value)


def _digits(published: Any) -> int | None:
    """Return the power of ten of the last digit of a number in a string, None for the rest.

    >>> _digits("0.0280727"), _digits("7.6e-10"), _digits("28"), _digits(28), _digits("never")
    (-7, -11, 0, None, None)
    """
    if not isinstance(published, str):
        return None
    try:
        exponent = Decimal(published.replace(" ", "")).as_tuple().exponent
    except InvalidOperation:
        return None
    return exponent if isinstance(exponent, int) else None
