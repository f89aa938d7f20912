"""A progress bar on stderr whose remaining time comes from work done, not from trials counted.

Trials differ in cost by orders of magnitude (batch size, epochs), so counting them lies.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any

__all__ = ["Progress"]


class Progress:
    """Live progress of a sweep, as a context manager.

    Parameters
    ----------
    total_cost : float
        Work of the whole sweep, in any unit (seconds, training steps).
    total_trials : int
        Number of trials.
    enabled : bool
        False shows nothing. Nothing is shown either if stderr is not a terminal or the
        environment variable ``FASTOPT_NO_PROGRESS`` is not empty.

    Examples
    --------
    >>> with Progress(total_cost=2.0, total_trials=10, enabled=False) as progress:
    ...     progress.update(cost_done=1.0, trials_done=4, best=0.97)
    """

    def __init__(self, total_cost: float, total_trials: int, enabled: bool = True) -> None:
        self.total_cost = float(total_cost)
        self.total_trials = total_trials
        self.enabled = bool(enabled) and _stderr_is_live()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self.enabled:
            self._bar = _bar()
            self._task = self._bar.add_task(
                "", total=self.total_cost, trials=0, all_trials=self.total_trials, best="-"
            )
            self._bar.start()
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

        Parameters
        ----------
        cost_done : float
            Work finished so far, in the unit of ``total_cost``.
        trials_done : int
            Trials finished so far.
        best : float, optional
            Best metric so far; None leaves what is shown.
        """
        if self._bar is None:
            return
        fields = {} if best is None else {"best": f"{best:.5g}"}
        self._bar.update(self._task, completed=cost_done, trials=trials_done, **fields)


def _stderr_is_live() -> bool:
    return sys.stderr.isatty() and not os.environ.get("FASTOPT_NO_PROGRESS")


def _bar() -> Any:
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
