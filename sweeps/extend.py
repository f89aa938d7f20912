"""More trials for a finished sweep: larger and finer grids, and one trial once more."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from fastopt.errors import SpecError, SweepWarning, shortened
from sweeps import store as stores
from sweeps.analysis.folds import best_row
from sweeps.analysis.table import Table
from sweeps.common.frames import configurations, pd
from sweeps.common.names import UNORDERED
from sweeps.engine.plan import Plan
from sweeps.engine.run_blocks import worker_count
from sweeps.engine.tables import Parts
from sweeps.running.check import check
from sweeps.running.collect import Collector
from sweeps.running.estimate import refuse_too_large
from sweeps.running.runner import run_chunks
from sweeps.running.shards import WHOLE_SWEEP
from sweeps.space.axes import Tied, as_axis
from sweeps.space.points import Points
from sweeps.space.space import Space, check_names
from sweeps.space.tuples import without_tuples
from sweeps.tracing.trace import history, run_one_trial

R = TypeVar("R", bound=Table)
"""A result; the extended one is of the same class."""


def replay(result: Table, trial_id: int, *, vectors: bool = False) -> pd.DataFrame:
    """Run one trial again, alone, and return every internal at every step.

    Parameters
    ----------
    trial_id : int
    vectors : bool
        Data problems only: columns for every parameter, too.

    Returns
    -------
    pandas.DataFrame
        As from :func:`sweeps.trace`. Its figures equal those of the sweep bit for bit, which
        is checked.

    Raises
    ------
    SpecError
        There is no such trial, or the result is from a file and does not know its problem.

    Warns
    -----
    SweepWarning
        The trial's figures are not those of the sweep: its problem has changed meanwhile.

    Examples
    --------
    >>> from sweeps import problems, sweep
    >>> result = sweep(problems.ellipse(), {"lr": [0.1, 0.01]}, optimizer="adam", steps=2)
    >>> result.replay(0).exp_avg_x.round(2).tolist()
    [0.0, 1.0, 1.89]
    """
    plan = plan_of(result, "replay")
    rows = np.flatnonzero(np.asarray(result.columns["trial_id"]) == trial_id)
    if rows.size != 1:
        raise SpecError(
            f"replay(trial_id): there is no finished trial {shortened(trial_id)}; the numbers "
            "are in the column 'trial_id'"
        )
    block = run_one_trial(plan, int(trial_id))
    ran = block.trials.out[0], int(block.trials.state[0])
    warn_of_change(result, plan, int(rows[0]), *ran, stacklevel=3)
    return history(plan, int(trial_id), vectors, block)


def warn_of_change(
    result: Table, plan: Plan, row: int, out: np.ndarray, state: int, stacklevel: int
) -> None:
    """Warn if a trial that ran again, to these figures, is not what the result has in this row."""
    again = dict(zip(plan.result_columns, out.tolist()))
    if not math.isfinite(again["best_loss"]):
        again["best_loss"] = math.nan  # as in the frame: no loss was ever finite
    again["state"] = float(state)
    then = {name: result.columns[name][row] for name in again}
    changed = [name for name in again if not _is_same_number(then[name], again[name])]
    if changed:
        name, trial_id = changed[0], int(result.columns["trial_id"][row])
        warnings.warn(
            f"trial {trial_id} is not what it was in the sweep: {name} is "
            f"{shortened(again[name])} and was {shortened(then[name])}; has the problem's data or "
            "code changed since?",
            SweepWarning,
            stacklevel=stacklevel,
        )


def _is_same_number(cell: Any, number: float) -> bool:
    return cell == number or (math.isnan(number) and (cell != cell or cell == -1))


def extend(result: R, axes: Mapping[str, Any], *, n_jobs: int = -1, progress: bool = True) -> R:
    """Add values to axes, and run the trials that are new.

    Parameters
    ----------
    axes : dict
        Axis name -> more values, for example ``{"lr": [1e-5], "seed": range(3, 6)}``. They are
        put behind the old ones; those that are there already are left out. What was a keyword,
        such as ``epochs`` or ``seed``, an argument of the problem (``dropout``, ``fold``) or a
        default of the optimizer becomes an axis that starts with its value.
    n_jobs, progress
        As for :func:`sweeps.sweep`.

    Returns
    -------
    SweepResult
        Its frame equals that of one sweep over the larger grid, in which trials are numbered
        anew: a trial is known by its values, not by its number.

    Raises
    ------
    SpecError
        An axis is tied, drawn or unlike in the parts of a union, or the space was a sample.

    Examples
    --------
    >>> from sweeps import problems, sweep
    >>> result = sweep(problems.ellipse(), {"lr": [0.1, 0.01]}, optimizer="adam", steps=2)
    >>> more = result.extend({"lr": [0.5]}, progress=False)
    >>> more.to_frame().lr.tolist(), more.info["reused"]
    ([0.1, 0.01, 0.5], 2)
    """
    plan = plan_of(result, "extend")
    space: Any = larger_space(plan, axes)
    options = plan.options
    settings = {**options.defaults, **{k: v for k, v in vars(options).items() if k != "defaults"}}
    for name in [n for n in space.names if all(n in part for part in space.parts)]:
        settings.pop(name, None)  # a keyword that is an axis now
    if "store" in result.info:
        store = result.info["store"]
        return type(result)(*_run_sweep(plan, space, settings, n_jobs, progress, store))
    old = _rows_of_trials(result, plan, space)
    missing = np.flatnonzero(old < 0)
    rest = space._select(missing)
    ran = _run_sweep(plan, rest, settings, n_jobs, progress) if missing.size else None
    return type(result)(*_merge(plan.varied(space=space), result, ran, old, missing))


def _run_sweep(
    plan: Plan,
    space: Space,
    settings: Mapping[str, Any],
    n_jobs: int,
    progress: bool,
    store: Any = None,
) -> Parts:
    """Run a sweep of the same problem, as :func:`sweeps.sweep` does; return the result's parts."""
    began, workers = time.perf_counter(), worker_count(n_jobs)
    larger_plan = check(plan.problem, space, settings, 3)
    refuse_too_large(larger_plan, store, workers)
    if store is None:
        collector = Collector(larger_plan)
    else:
        collector = stores.StoreWriter(larger_plan, store, WHOLE_SWEEP)
    return run_chunks(collector, workers, began=began, progress=progress, stacklevel=3)


def zoom(
    result: R, axis: str | None = None, factor: int = 4, *, n_jobs: int = -1, progress: bool = True
) -> R:
    """Refine axes around the best trial, or the best of all folds, and run the trials that are new.

    Parameters
    ----------
    axis : str, optional
        A numeric axis; all of them but ``seed`` by default.
    factor : int
        The gaps between the best value and its two neighbours are cut in this many parts,
        evenly, or on a log scale if the axis spans a factor of ten and more.
    n_jobs, progress
        As for :func:`sweeps.sweep`.

    Returns
    -------
    SweepResult
        As from :meth:`extend` with these values; beyond the end of an axis it does not go.

    Raises
    ------
    SpecError
        No best trial, no such axis, nothing between its values; or as for :meth:`extend`.

    Examples
    --------
    >>> from sweeps import problems, sweep
    >>> result = sweep(problems.ellipse(), {"lr": [0.01, 0.1, 1.0]}, optimizer="adam", steps=9)
    >>> result.zoom("lr", factor=2, progress=False).to_frame().lr.round(4).tolist()
    [0.01, 0.1, 1.0, 0.3162]
    """
    plan_of(result, "zoom")
    if isinstance(factor, bool) or not isinstance(factor, int) or factor < 2:
        raise SpecError(f"zoom(factor): factor must be an integer >= 2; got {shortened(factor)}")
    best = result._params(best_row(result))
    numeric = [
        name
        for name, value in best.items()
        if name not in UNORDERED and isinstance(value, int | float) and not isinstance(value, bool)
    ]
    names = numeric if axis is None else [axis]
    check_names(names, numeric, "numeric axis")
    columns = {name: result.columns[name] for name in names}
    added = {name: finer_values(columns[name], best[name], factor) for name in names}
    added = {name: values for name, values in added.items() if values}
    if not added:
        raise SpecError(
            f"zoom: nothing lies between the values of {', '.join(names) or 'no axis'} around the "
            "best trial; use extend({axis: values})"
        )
    return extend(result, added, n_jobs=n_jobs, progress=progress)


def finer_values(column: np.ndarray, best: float, factor: int) -> list[Any]:
    """Cut the gaps around ``best`` in ``factor`` parts each; return the values in between.

    >>> finer_values(np.array([1.0, 2.0, 3.0, 4.0]), 2.0, 2)
    [1.5, 2.5]
    >>> [round(x, 3) for x in finer_values(np.array([0.01, 0.1, 1.0]), 1.0, 2)]
    [0.316]
    >>> finer_values(np.array([16, 32, 64]), 32, 4)
    [20, 24, 28, 40, 48, 56]
    >>> finer_values(np.array([4, 16, 64]), 16, 2)
    [8, 32]
    """
    cells = np.array([cell for cell in column.tolist() if cell is not None and cell == cell])
    distinct = np.unique(cells)
    k = int(np.searchsorted(distinct, best))
    around = distinct[max(k - 1, 0) : k + 2]
    whole = distinct.dtype.kind == "i"
    log = distinct[0] > 0 and distinct[-1] >= 10.0 * distinct[0]
    spaced = np.geomspace if log else np.linspace
    found: list[Any] = []
    for low, high in itertools.pairwise(around.tolist()):
        inside = spaced(low, high, factor + 1)[1:-1]
        found += np.unique(np.round(inside).astype(int)).tolist() if whole else inside.tolist()
    return [value for value in found if value not in distinct]


def plan_of(result: Table, what: str) -> Plan:
    """Return the plan of a result, or say why it has none."""
    if result.plan is None:
        raise SpecError(
            f"{what} runs trials, and this result does not know its problem: it was loaded from a "
            "file, or its objective is a Python function. Run sweep(problem, ...) again to have "
            "one that does"
        )
    return result.plan


def larger_space(plan: Plan, axes: Mapping[str, Any]) -> Space:
    """Return the space of a sweep with more values on some axes.

    >>> from sweeps import problems, sweep
    >>> result = sweep(problems.ellipse(), {"lr": [0.1, 0.01]}, optimizer="sgd", steps=2)
    >>> space = larger_space(result.plan, {"lr": [0.5, 0.1], "seed": 7})
    >>> [tuple(trial.values()) for trial in space]
    [(0.1, 0), (0.1, 7), (0.01, 0), (0.01, 7), (0.5, 0), (0.5, 7)]
    """
    space, defaults = plan.space, stores.values_so_far(plan, list(axes))
    if not isinstance(axes, Mapping) or not axes:
        raise SpecError(
            f"extend(axes): axes must be a dict of axis -> more values; got {shortened(axes)}"
        )
    parts: list[dict[str, Sequence]] = [dict(part) for part in space.parts]
    if space.size != Space(parts).size:
        raise SpecError("extend: the sweep ran a slice or a sample of its space, not a whole grid")
    known = {**plan.options.defaults, **getattr(plan.problem, "axes", {})}
    known |= {name: value for name, value in defaults.items() if value is not None}
    check_names(axes, dict.fromkeys([*space.names, *known]), "axis or keyword")
    for name, given in without_tuples(axes).items():
        more = as_axis(f"axis {shortened(name)}", given)
        old = _values_of(name, parts, defaults)
        if name == "hidden" and isinstance(old[0], str):  # an axis has values of one kind
            more = ["-".join(map(str, plan.problem.with_hidden(width).hidden)) for width in more]
        values = [*old, *(v for v in dict.fromkeys(more) if v not in old)]
        for part in parts:
            if name in part or name not in space.names:
                part[name] = as_axis(f"axis {shortened(name)}", values)
    grown = Space(parts)
    grown.names = tuple(dict.fromkeys([*space.names, *axes]))
    return grown


def _values_of(name: str, parts: list[dict[str, Sequence]], defaults: Mapping[str, Any]) -> list:
    """Return the values an axis has so far, the same in every part of the union."""
    found = [part[name] for part in parts if name in part] or [(defaults.get(name),)]
    for axis in found:
        if axis == (None,):
            raise SpecError(
                f"extend: trials so far have no {name}, so no axis of it could begin with theirs; "
                f"sweep a union, [space, {{**space, {name!r}: values}}]"
            )
        if isinstance(axis, Tied) or not isinstance(axis, tuple | range | Points):
            raise SpecError(
                f"extend: axis {shortened(name)} is tied to others or drawn at random, so values "
                "of its own cannot be added; sweep a new design"
            )
    if any(list(axis) != list(found[0]) for axis in found):
        raise SpecError(
            f"extend: axis {shortened(name)} has other values in another part of the union; sweep "
            "the new part by itself"
        )
    return list(found[0])


def _rows_of_trials(result: Table, plan: Plan, space: Space) -> np.ndarray:
    """Return, for every trial of ``space``, the row of the result with its values, or -1."""
    rows, size = len(result), space.size
    now = space.columns(np.arange(size))
    then = plan.space.columns(result.columns["trial_id"])
    both, defaults = {}, stores.values_so_far(plan, space.names)
    for name in space.names:
        default = defaults.get(name)
        before = then[name] if name in then else np.full(rows, default)
        both[name] = np.concatenate([before.astype(object), now[name].astype(object)])
    codes = configurations(both, space.names) if space.names else np.zeros(rows + size, int)
    found = np.full(int(codes.max()) + 1, -1)
    found[codes[:rows][::-1]] = np.arange(rows)[::-1]
    return found[codes[rows:]]


def _merge(
    plan: Plan, old: Table, new: Parts | None, rows: np.ndarray, missing: np.ndarray
) -> Parts:
    """Put old rows and the trials that ran in the order of the larger space."""
    ran = missing[:0] if new is None else missing[new.columns["trial_id"]]
    reused = np.flatnonzero(rows >= 0)
    ids = np.concatenate([reused, ran])
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    columns = {"trial_id": ids, **plan.space.columns(ids)}
    measured = zip(plan.result_columns, plan_of(old, "extend").result_columns)
    for name, before in (("state", "state"), *measured):
        cells = [np.asarray(old.columns[before])[rows[reused]]]
        cells += [] if new is None else [np.asarray(new.columns[name])]
        columns[name] = np.concatenate(cells)[order]
    ran_now = {} if new is None else new.info
    info = {**old.info, **ran_now, "n_trials": plan.size, "reused": len(reused)}
    curves = _merge_curves(old, new, rows[reused], order, ids)
    return Parts(columns, curves, old.metric, old.mode, info, plan.space, plan)


def _merge_curves(
    old: Table, new: Parts | None, rows: np.ndarray, order: np.ndarray, ids: np.ndarray
) -> dict[str, np.ndarray] | None:
    if old._curves is None:
        return None
    merged = {"trial_id": ids}
    for name in [name for name in old._curves if name != "trial_id"]:
        tables = [old._curves[name][rows]]
        if new is not None and new.curves is not None:
            tables.append(new.curves[name])
        points = max(table.shape[1] for table in tables)
        padded = [
            np.pad(table, ((0, 0), (0, points - table.shape[1])), constant_values=np.nan)
            for table in tables
        ]
        merged[name] = np.concatenate(padded)[order]
    return merged
