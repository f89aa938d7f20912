"""What a study finds: figures beside the published ones, tables, and a picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.common.frames import as_python, pd
from sweeps.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Half a digit is 0.5 in decimal, and a little more or less in binary.
HALF = Decimal("0.5000001")


@dataclass(frozen=True)
class Check:
    """One figure beside the published or independent one.

    * ``quantity``: what it is.
    * ``published``: the figure of a paper, of a library, of a formula or of plain NumPy.
    * ``ours``: what the study found.
    * ``tolerance``: by how much they may differ, or ``at most`` or ``at least``.
    * ``passed``: whether they agree.

    >>> found = Findings()
    >>> found.check("pi", "3.14", 3.14159)
    >>> found.checks[0]
    Check(quantity='pi', published='3.14', ours='3.14', tolerance='0.005', passed=True)
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
        self.name = self.script = self.title = self.text = ""
        self.seconds, self.full = float("nan"), False

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
        published, ours = as_python(published), as_python(ours)
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
        shown = _shown(as_python(bound)), _shown(as_python(ours))
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
        matplotlib = style.matplotlib()
        from cycler import cycler
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        with matplotlib.rc_context({"axes.prop_cycle": cycler(color=style.OKABE_ITO)}):
            # Not pyplot: it has a state of its own, which a user's notebook may be using.
            figure = Figure(figsize=(8.0, 4.5), layout="constrained", dpi=100)
            FigureCanvasAgg(figure)
            self.draw(figure)
            for axes in figure.axes:
                style.plain_numbers(axes.xaxis)
                style.plain_numbers(axes.yaxis)
            figure.savefig(path)
        return Path(path)


_FIELDS = Check.__dataclass_fields__


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
