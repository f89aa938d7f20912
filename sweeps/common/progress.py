"""A progress bar whose remaining time comes from work done, not from trials counted.

Trials differ in cost by orders of magnitude (batch size, epochs), so counting them lies. In a
terminal the bar is on stderr; in a notebook it is below the cell, without widgets, so that it is
there in every front end and stays in the file.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from html import escape
from types import TracebackType
from typing import Any, Protocol

from sweeps.common.names import check_boolean

# Seconds between messages to a notebook.
PAUSE = 0.2


class Progress:
    """Live progress of a sweep, as a context manager.

    ``total_cost``: work of the whole sweep, in any unit. Nothing is shown where there is neither a
    terminal on stderr nor a notebook, or if the variable ``FASTOPT_NO_PROGRESS`` is not empty.

    >>> with Progress(total_cost=2.0, total_trials=10, enabled=False) as progress:
    ...     progress.update(cost_done=1.0, trials_done=4, best=0.97)
    """

    def __init__(self, total_cost: float, total_trials: int, enabled: bool = True) -> None:
        check_boolean("progress", enabled)
        self.total_cost = float(total_cost)
        self.total_trials = total_trials
        self._make = _bar_class() if enabled else None
        self.enabled = self._make is not None
        self._bar: _Bar | None = None

    def __enter__(self) -> Progress:
        if self._make is not None:
            self._bar = self._make(self.total_cost, self.total_trials)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, cost_done: float, trials_done: int, best: float | None = None) -> None:
        """Show how far the sweep is.

        ``cost_done``, ``trials_done``: so far. ``best``: metric so far; None leaves what is shown.
        """
        if self._bar is not None:
            self._bar.update(cost_done, trials_done, None if best is None else f"{best:.5g}")


class _Bar(Protocol):
    """A progress bar, wherever it is drawn."""

    def update(self, cost: float, trials: int, best: str | None) -> None:
        """Show it."""

    def stop(self) -> None:
        """Show it for the last time."""


def _bar_class() -> Callable[[float, int], _Bar] | None:
    """Return the bar for a notebook or for a terminal; None where nobody would see it."""
    if os.environ.get("FASTOPT_NO_PROGRESS"):
        return None
    if _in_notebook():
        return NotebookBar
    try:
        is_live = sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed, or no file
        is_live = False
    return TerminalBar if is_live else None


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class NotebookBar:
    """A bar below the cell that runs, in HTML, and in words where there is none."""

    def __init__(self, total_cost: float, total_trials: int) -> None:
        from IPython.display import display

        self._cost, self._trials = total_cost, total_trials
        self._began = self._shown = time.monotonic()
        self._now: tuple[float, int, str] = (0.0, 0, "-")
        self._handle = display(self._contents(), raw=True, display_id=True)

    def update(self, cost: float, trials: int, best: str | None) -> None:
        """Show how far it is, if some time has passed since the last time."""
        self._now = cost, trials, best or self._now[2]
        if time.monotonic() - self._shown >= PAUSE:
            self._show()

    def stop(self) -> None:
        """Show what it came to."""
        self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        if self._handle is not None:
            self._handle.update(self._contents(), raw=True)

    def _contents(self) -> dict[str, str]:
        cost, trials, best = self._now
        seconds = max(time.monotonic() - self._began, 1e-9)
        part = min(cost / self._cost, 1.0) if self._cost else 0.0
        left = f"{seconds / part - seconds:.0f} s left, " if 0.0 < part < 1.0 else ""
        words = (
            f"{trials:,} of {self._trials:,} trials, {part:.0%}, {trials / seconds:,.3g} trials/s, "
            f"{left}best {best}"
        )
        bar = f'<progress value="{part:.4f}" max="1"></progress> {escape(words)}'
        return {"text/plain": words, "text/html": bar}


class TerminalBar:
    """A bar of rich's on stderr."""

    def __init__(self, total_cost: float, total_trials: int) -> None:
        self._bar = _rich()
        self._task = self._bar.add_task(
            "", total=total_cost, trials=0, all_trials=total_trials, best="-"
        )
        self._bar.start()

    def update(self, cost: float, trials: int, best: str | None) -> None:
        """Show how far it is."""
        fields = {} if best is None else {"best": best}
        self._bar.update(self._task, completed=cost, trials=trials, **fields)

    def stop(self) -> None:
        """Leave it as it is."""
        self._bar.stop()


def _rich() -> Any:
    # rich takes 60 ms to import; a sweep that shows no bar does not pay for it.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        ProgressColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Rate(ProgressColumn):
        """Trials per second since the start."""

        def render(self, task: Any) -> Text:
            rate = task.fields["trials"] / task.elapsed if task.elapsed else 0.0
            return Text(f"{rate:,.0f} trials/s" if rate >= 10 else f"{rate:.2g} trials/s")

    return Bar(
        TextColumn("{task.fields[trials]:,} of {task.fields[all_trials]:,} trials"),
        BarColumn(),
        TaskProgressColumn(),
        Rate(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("best {task.fields[best]}"),
        console=Console(stderr=True),
    )
