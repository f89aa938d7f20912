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
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from fastopt.errors import SpecError, did_you_mean, shortened
from sweeps.studies.findings import Findings

# In a wheel, and in a checkout.
FOLDERS = (
    Path(__file__).parents[1] / "_studies",
    Path(__file__).parents[2] / "examples" / "studies",
)


def names() -> list[str]:
    """Return the names of the studies that come with the package.

    >>> "shootout" in names()
    True
    """
    return sorted(path.stem for path in _folder().glob("*.py"))


def find(name: str) -> Path:
    """Return the script of a study, by its name or by its own path.

    >>> find("shootout").name
    'shootout.py'
    >>> find("shootot")
    Traceback (most recent call last):
    fastopt.errors.SpecError: there is no study 'shootot' (did you mean 'shootout'?); ...
    """
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise SpecError(f"there is no file {shortened(name)}")
        return Path(name)
    known = names()
    if name not in known:
        raise SpecError(
            f"there is no study {shortened(name)}{did_you_mean(name, known)}; there are "
            f"{', '.join(known)}"
        )
    return _folder() / f"{name}.py"


def load(path: Path) -> ModuleType:
    """Import the script of a study, without running it.

    >>> load(find("shootout")).__doc__.splitlines()[0]
    'S5. Shootout in the banana valley: which optimizer wins is a question of its learning rate.'
    """
    spec = importlib.util.spec_from_file_location(f"fastopt_study_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{shortened(str(path))} is no Python file")
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
        raise SpecError(f"{shortened(str(path))} defines no study(full=False)")
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

    ``name``: one of :func:`names`, or the path of a script. ``full``: the size of the published
    experiment, which may take minutes, instead of a quick one. The findings come with their
    ``name``, ``script``, ``title``, ``text`` (the rest of the doc string) and ``seconds``. Raises
    SpecError if there is no such study.

    >>> found = run("hyperband")
    >>> found.passed, found.checks[0].quantity
    (True, 'Hyperband, bracket 4')
    """
    path = find(name)
    module = load(path)
    start = time.perf_counter()
    found = module.study(full=full)
    found.seconds = time.perf_counter() - start
    found.full = full
    found.name, found.script = path.stem, str(path.resolve())
    found.title, _, found.text = (module.__doc__ or path.stem).strip().partition("\n")
    found.text = found.text.strip()
    return found


def index(results: Sequence[Findings], folder: str | os.PathLike[str] = ".") -> str:
    """Write a page in Markdown: every study with picture and question, then its text and table.

    ``folder``: where the page will lie; links to scripts begin there.

    >>> found = Findings()
    >>> found.name, found.title, found.seconds = "pi", "What pi is.", 0.25
    >>> found.check("pi", "3.14", 3.14159)
    >>> print(index([found]))
    # Studies
    ...
    | [pi](#pi) | What pi is. | 1 of 1 | quick | 0.2 |
    ...
    | pi | 3.14 | 3.14 | 0.005 | pass |
    """
    lines = [
        "# Studies",
        "",
        "Written by `fastopt study --out DIR`; `--full` gives the published size. The times are",
        "those of the run that wrote this page, with compiling and whatever else the machine did.",
        "",
        "| study | question | passed | size | seconds |",
        "|---|---|---|---|---|",
    ]
    for found in results:
        good = sum(check.passed for check in found.checks)
        anchor = found.name.replace("_", "-")
        small = f'<img src="studies/{found.name}.png" alt="" width="160"><br>' if found.draw else ""
        size = "full" if found.full else "quick"
        lines.append(
            f"| [{small}{found.name}](#{anchor}) | {found.title} | {good} of {len(found.checks)} "
            f"| {size} | {found.seconds:.1f} |"
        )
    for found in results:
        lines += ["", f"## {found.name.replace('_', '-')}", "", f"**{found.title}**"]
        lines += ["", found.text] if found.text else []
        if found.script:
            script = os.path.relpath(found.script, folder)
            lines += ["", f"`fastopt study {found.name}`, script: [{found.name}.py]({script})."]
        if found.draw is not None:
            lines += ["", f"![{found.title}](studies/{found.name}.png)"]
        lines += [
            "",
            "| quantity | published, or by NumPy | ours | tolerance | |",
            "|---|---|---|---|---|",
        ]
        for c in found.checks:
            verdict = "pass" if c.passed else "**fail**"
            cells = (c.quantity, c.published, c.ours, c.tolerance, verdict)
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def write(results: Sequence[Findings], folder: str | os.PathLike[str]) -> Path:
    """Write the newest figure, and the page of all results, to a folder.

    ``results``: the last of them has its figure drawn: call this after each study, so that what is
    finished is on disk. ``folder``: made if it is not there. Returns the page, ``studies.md``, by
    name; figures are called ``studies/NAME.png``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write([run("hyperband")], folder)
    ...     page.name, [figure.name for figure in page.parent.glob("studies/*")]
    ('studies.md', ['hyperband.png'])
    """
    folder = Path(folder)
    (folder / "studies").mkdir(parents=True, exist_ok=True)
    results[-1].save(folder / "studies" / f"{results[-1].name}.png")
    page = folder / "studies.md"
    page.write_text(index(sorted(results, key=lambda found: found.name), folder), "utf-8")
    return page


def _folder() -> Path:
    return next(folder for folder in FOLDERS if folder.is_dir())
