"""Finished trials to and from Optuna: its plots and samplers on our trials, our tables on its.

Needs Optuna: ``pip install "fastopt[optuna]"``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.common.names import RESERVED, refuse_taken
from sweeps.results import STATES, SweepResult
from sweeps.space.axes import common_kind, ends, kind_of, support, untie
from sweeps.space.categories import categories_of, uncategorised
from sweeps.space.distributions import Draws, LogUniform
from sweeps.space.points import Points
from sweeps.space.space import DTYPES

__all__ = ["from_optuna", "to_optuna"]

# Optuna's samplers ignore FAIL and learn to avoid PRUNED, which is right for divergence.
TO_OPTUNA = {"COMPLETE": "COMPLETE", "DIVERGED": "PRUNED", "PRUNED": "PRUNED", "FAILED": "FAIL"}
FROM_OPTUNA = {"COMPLETE": "COMPLETE", "PRUNED": "PRUNED", "FAIL": "FAILED"}
DIRECTIONS = {"min": "minimize", "max": "maximize"}


def to_optuna(result: SweepResult, study: Any = None) -> Any:
    """Add the trials of a result to an Optuna study as finished trials.

    Numeric axes become ``FloatDistribution`` or ``IntDistribution`` from the least to the greatest
    value (logarithmic for :func:`geomspace` and :func:`loguniform`), so that Optuna's samplers can
    go on between the points of a grid; names and booleans become ``CategoricalDistribution``.

    Parameters
    ----------
    result : SweepResult
    study : optuna.study.Study, optional
        Of the same direction; a new one in memory by default.

    Returns
    -------
    optuna.study.Study
        COMPLETE stays so; DIVERGED and trials without a finite metric become PRUNED, which teaches
        samplers to stay away; FAILED becomes FAIL. ``user_attrs`` hold ``trial_id``, ``state``,
        ``error`` and all metrics. The metric's curve, if it was recorded, are the
        ``intermediate_values``, by step.

    Raises
    ------
    SpecError
        The study has several objectives or the other direction. No trial is added.
    ImportError
        Optuna is not installed.

    Examples
    --------
    >>> import optuna
    >>> from sweeps import geomspace, sweep_callable
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> result = sweep_callable(lambda c: (c["x"] - 0.1) ** 2, {"x": geomspace(1e-2, 1.0, 3)})
    >>> to_optuna(result).best_params
    {'x': 0.1}
    """
    optuna = _optuna()
    direction = DIRECTIONS[result.mode]
    study = optuna.create_study(direction=direction) if study is None else study
    if [d.name.lower() for d in study.directions] != [direction]:
        found = ", ".join(d.name.lower() for d in study.directions)
        raise SpecError(f"the result wants a study that {direction}s; this one says {found}")
    distributions = {name: _distribution(optuna, result, name) for name in result.axes}
    counts, curves = result.counting(result.metric).tolist(), _curves_of(result)
    columns = {name: np.asarray(column).tolist() for name, column in result.columns.items()}
    rows = ({name: column[k] for name, column in columns.items()} for k in range(len(result)))
    study.add_trials(
        [
            _frozen_trial(optuna, result, row, distributions, fit, curves.get(row["trial_id"], {}))
            for row, fit in zip(rows, counts)
        ]
    )
    return study


def from_optuna(study: Any, *, metric: str = "value") -> SweepResult:
    """Return the finished trials of an Optuna study as a result.

    Parameters
    ----------
    study : optuna.study.Study
        With one objective.
    metric : str
        What to call it.

    Returns
    -------
    SweepResult
        ``trial_id`` is Optuna's number. Axes are the parameters, those that a trial does not have
        missing; categories of mixed sorts, None among them, are names in the frame and themselves
        in ``best_params_``. Metrics are the objective and all numeric ``user_attrs``; of a pruned
        trial the objective is what it reported last. The state is that in ``user_attrs``, where
        :func:`to_optuna` put it, or Optuna's. Intermediate values are curves.

    Raises
    ------
    SpecError
        The study has several objectives, or a parameter is called like a column.

    Examples
    --------
    >>> import optuna
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(sampler=optuna.samplers.GridSampler({"x": [0.0, 3.0]}))
    >>> study.optimize(lambda trial: trial.suggest_float("x", 0, 3) ** 2, n_trials=2)
    >>> from_optuna(study).best_params_
    {'x': 0.0}
    """
    if not hasattr(study, "directions"):
        raise SpecError(f"study must be an optuna.study.Study; got {shortened(study)}")
    if len(study.directions) != 1:
        names = getattr(study, "metric_names", None) or [d.name.lower() for d in study.directions]
        raise SpecError(
            f"a result has one metric to rank by; study {study.study_name!r} has "
            f"{len(names)} objectives ({', '.join(names)})"
        )
    trials = [t for t in study.get_trials(deepcopy=False) if t.state.name in FROM_OPTUNA]
    axes = dict.fromkeys(name for t in trials for name in t.params)
    refuse_taken("parameter", axes)
    if metric in axes:
        raise SpecError(
            f"parameter {shortened(metric)} is called like a column; name the metric anew"
        )
    refuse_taken("metric", [metric])
    attrs = dict.fromkeys(
        name
        for t in trials
        for name, value in t.user_attrs.items()
        if name not in (*RESERVED, metric, *axes) and kind_of(value) in ("integer", "real")
    )
    columns = {"trial_id": np.array([t.number for t in trials], np.int64)}
    columns |= {name: _column(name, trials) for name in axes}
    columns["state"] = np.array([STATES.index(_state(t)) for t in trials], np.int8)
    columns[metric] = np.array([_value(t, metric) for t in trials], float)
    for name in attrs:
        columns[name] = np.array([_real(t.user_attrs.get(name)) for t in trials], float)
    columns["error"] = np.empty(len(trials), object)
    columns["error"][:] = [t.user_attrs.get("error") for t in trials]
    mode = "max" if study.direction.name == "MAXIMIZE" else "min"
    curves = _reported_curves(trials, metric)
    return SweepResult(columns, curves, metric, mode, {"n_trials": len(trials)}, counts=())


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError('Optuna is not installed: pip install "fastopt[optuna]"') from error
    return optuna


def _frozen_trial(
    optuna: Any,
    result: SweepResult,
    row: dict[str, Any],
    distributions: dict[str, Any],
    counts: bool,
    curve: dict[int, float],
) -> Any:
    """Return one row of a result as a finished trial; ``counts``: it is COMPLETE and finite."""
    state = STATES[int(row["state"])]
    theirs = "PRUNED" if state == "COMPLETE" and not counts else TO_OPTUNA[state]
    given = {name: row[name] for name in result.axes if not _is_missing(row[name])}
    params = {name: _plain(value) for name, value in given.items()}
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState[theirs],
        value=float(row[result.metric]) if theirs == "COMPLETE" else None,
        params=params,
        distributions={name: distributions[name] for name in params},
        intermediate_values=curve,
        user_attrs={
            "trial_id": row["trial_id"],
            "state": state,
            "error": row.get("error"),
            **{name: row[name] for name in result.metrics},
        },
    )


def _distribution(optuna: Any, result: SweepResult, name: str) -> Any:
    """Return the distribution that holds every value the axis has in any part of the space."""
    parts = () if result.space is None else result.space.parts
    axes: Sequence[Sequence] = [untie(part[name]) for part in parts if name in part]
    if not axes:
        column = np.asarray(result.columns[name]).tolist()
        axes = [[v for v in dict.fromkeys(column) if not _is_missing(v)]]
    kind = kind_of(axes[0][0])
    if kind not in ("integer", "real"):
        values = dict.fromkeys(v for axis in axes for v in support(axis))
        plain = {(type(v), v): v for v in map(_plain, values)}  # True and 1 are two values
        return optuna.distributions.CategoricalDistribution(tuple(plain.values()))
    bounds = [end for axis in axes for end in ends(axis)]
    if kind == "integer":
        return optuna.distributions.IntDistribution(min(bounds), max(bounds))
    log = all(_is_log(axis) for axis in axes)
    return optuna.distributions.FloatDistribution(min(bounds), max(bounds), log=log)


def _is_log(axis: Sequence) -> bool:
    if isinstance(axis, Draws):
        return isinstance(axis.distribution, LogUniform)
    return isinstance(axis, Points) and axis.log


def _is_missing(value: Any) -> bool:
    return value is None or value != value


def _plain(value: Any) -> Any:
    """Return a schedule by its text: Optuna stores names, numbers and booleans only."""
    value = uncategorised(value)
    return str(value) if kind_of(value) == "name" else value


def _curves_of(result: SweepResult) -> dict[int, dict[int, float]]:
    """Return the curve of the metric by the numbers of the trials, each by its steps."""
    held = result._curves
    if held is None or result.metric not in held:
        return {}
    ids, steps, values = (np.asarray(held[k]) for k in ("trial_id", "step", result.metric))
    return {
        i: dict(zip(step[step >= 0].astype(np.int64).tolist(), value[step >= 0].tolist()))
        for i, step, value in zip(ids.tolist(), steps, values)
    }


def _reported_curves(trials: list[Any], metric: str) -> dict[str, np.ndarray] | None:
    """Return intermediate values as the curves of a result, None if there are none."""
    points = [sorted(t.intermediate_values.items()) for t in trials]
    most = max(map(len, points), default=0)
    if not most:
        return None
    steps = np.full((len(trials), most), -1, np.int64)
    values = np.full((len(trials), most), math.nan)
    for row, pairs in enumerate(points):
        if pairs:
            steps[row, : len(pairs)], values[row, : len(pairs)] = zip(*pairs)
    return {"trial_id": np.array([t.number for t in trials]), "step": steps, metric: values}


def _column(name: str, trials: list[Any]) -> np.ndarray:
    """Return a parameter as a column, of the dtype that :meth:`sweeps.Space.columns` gives it."""
    having = [t for t in trials if name in t.params]
    choices = [v for t in having for v in getattr(t.distributions[name], "choices", ())]
    kinds = {kind_of(value) for value in choices}
    if None in kinds or len(kinds - {"integer", "real"}) + bool(kinds & {"integer", "real"}) > 1:
        named = categories_of([*choices, *(t.params[name] for t in having)])
        cells = [
            named[type(t.params[name]), repr(t.params[name])] if name in t.params else None
            for t in trials
        ]
    else:
        cells = [t.params.get(name) for t in trials]
    kind = common_kind(f"parameter {name!r}", {kind_of(c) for c in cells if c is not None})
    if kind == "real":
        return np.array([math.nan if c is None else c for c in cells], float)
    gaps = any(c is None for c in cells)
    column: np.ndarray = np.empty(len(cells), object if gaps else DTYPES.get(kind, object))
    column[:] = cells
    return column


def _state(trial: Any) -> str:
    """Return our state of a trial: the one we exported if it still fits, or Optuna's."""
    ours = trial.user_attrs.get("state")
    fits = ours in TO_OPTUNA and trial.state.name in (TO_OPTUNA[ours], "PRUNED")
    return ours if fits else FROM_OPTUNA[trial.state.name]


def _value(trial: Any, metric: str) -> float:
    """Return the objective; of a pruned trial, the last value that it reported."""
    if metric in trial.user_attrs and trial.state.name != "COMPLETE":
        return _real(trial.user_attrs[metric])
    if trial.value is None and trial.intermediate_values and trial.state.name == "PRUNED":
        return _real(trial.intermediate_values[trial.last_step])
    return _real(trial.value)


def _real(value: Any) -> float:
    """Return a number as a float; NaN for anything else."""
    if kind_of(value) not in ("integer", "real"):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)
