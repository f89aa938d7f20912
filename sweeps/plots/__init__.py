"""Pictures of results and runs, by matplotlib: ``result.plot.heatmap("lr", "batch_size")``, ...

Trials are counted into cells, bins and bands before anything is drawn, so a picture of ten million
trials is as quick and as readable as one of a hundred. Log scales are used where values are spaced
so, diverged trials have a colour of their own, and all colours can be told apart by everyone.

Needs matplotlib: ``pip install "fastopt[plot]"``. Every function takes ``ax=`` and returns the
axes it drew on. Imports common, space, problems, engine and analysis.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sweeps.analysis.table import Table
from sweeps.plots.curves import curves
from sweeps.plots.effects import importance, parallel_coordinates
from sweeps.plots.films import animate_paths
from sweeps.plots.grids import heatmap, phase
from sweeps.plots.lines import sensitivity, steps_to_target
from sweeps.plots.runs import internals, paths, schedules

__all__ = ["PLOTS", "Plotter", "animate_paths", "internals", "paths", "schedules"]

P = ParamSpec("P")
R = TypeVar("R")


def _of_result(
    function: Callable[Concatenate[Table, P], R],
) -> Callable[Concatenate[Plotter, P], R]:
    @functools.wraps(function)
    def method(self: Plotter, *args: P.args, **options: P.kwargs) -> R:
        return function(self._result, *args, **options)

    return method


class Plotter:
    """The pictures of one result: ``result.plot``.

    Parameters
    ----------
    result : SweepResult

    Examples
    --------
    >>> from sweeps import geomspace, problems, sweep
    >>> space = {"lr": geomspace(0.01, 1, 5), "start_y": [1.0, 2.0]}
    >>> result = sweep(problems.ellipse(), space, optimizer="sgd", steps=9, progress=False)
    >>> result.plot.heatmap("lr", "start_y").get_xlabel()
    'lr'
    """

    def __init__(self, result: Table) -> None:
        self._result = result

    heatmap = _of_result(heatmap)
    sensitivity = _of_result(sensitivity)
    curves = _of_result(curves)
    steps_to_target = _of_result(steps_to_target)
    parallel_coordinates = _of_result(parallel_coordinates)
    importance = _of_result(importance)
    phase = _of_result(phase)


_DRAWN = heatmap, sensitivity, curves, steps_to_target, parallel_coordinates, importance, phase
PLOTS: dict[str, Callable] = {function.__name__: function for function in _DRAWN}
"""Name -> ``function(result, ..., ax=)``: the pictures of a result, which are ``result.plot``."""
