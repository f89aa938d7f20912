"""All candidates on all folds in one compiled launch."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastopt.errors import SweepWarning
from sweeps.common.names import steps_taken
from sweeps.common.states import State
from sweeps.models.parameters import run_again
from sweeps.problems.base import DataProblem
from sweeps.run import sweep
from sweeps.running.check import check
from sweeps.sklearn.folds import Fold
from sweeps.sklearn.training import Trial, problem_of, space_of_trials, train_trials


class Job(NamedTuple):
    """A candidate on a fold: what makes the problem, settings of the trial, and which fold."""

    model: Mapping[str, Any]
    trial: Mapping[str, Any]
    fold: Fold


class Ran(NamedTuple):
    """A trained job: its problem (of any fold, without weights), its trial, its share of time."""

    job: Job
    problem: DataProblem
    trial: Trial
    seconds: float


class Group(NamedTuple):
    """Jobs of one problem: their numbers, their space, and where in it each one stands."""

    problem: DataProblem
    members: list[int]
    space: list[dict[str, Any]]
    places: np.ndarray
    settings: dict[str, Any]


def train_jobs(
    jobs: Sequence[Job],
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    n_jobs: int,
    store: str | os.PathLike[str] | None = None,
    weights: bool = True,
) -> Iterator[tuple[int, Ran]]:
    """Train jobs; yield the number of each one with what it came to.

    * ``jobs``: those of one problem run in one launch, and only other tables, losses, dtypes, class
      weights or depths of none are other problems.
    * ``splits`` (train, test): the folds.
    * ``store``: folder to keep the trials in; of several problems a folder in it for each.
    * ``weights``: whether weights are asked for, or figures only: a store keeps no weights, so its
      trials run once more for them.
    """
    found = group_jobs(jobs, splits)
    for k, group in enumerate(found):
        own = None if store is None else Path(store) / (str(k) if len(found) > 1 else "")
        folds: dict[Any, DataProblem] = {}
        if own is None:
            plan = check(group.problem, group.space, group.settings)
            trials = train_trials(plan, n_jobs=n_jobs)
        else:
            trials = train_stored_group(group, n_jobs, own, weights)
        began, seconds = time.perf_counter(), 0.0
        for place, trial in zip(np.argsort(group.places).tolist(), trials):
            # The first comes when all of them are trained.
            seconds = seconds or (time.perf_counter() - began) / len(group.members)
            job = jobs[group.members[place]]
            problem = problem_of_job(group.problem, job, folds) if weights else group.problem
            yield group.members[place], Ran(job, problem, trial, seconds)


def problem_of_job(problem: DataProblem, job: Job, known: dict[Any, DataProblem]) -> DataProblem:
    """Return the problem of a job: with its fold, whose rows are picked once, and its layers."""
    given, fold = settings_of(job), job.fold.number
    if fold is not None and fold not in known:
        known[fold] = problem.varied(fold=fold)
    layers = {name: given[name] for name in ("hidden", "activation") if name in given}
    key = (fold, *layers.values())
    if key not in known:
        known[key] = known.get(fold, problem).varied(**layers)
    return known[key]


def group_jobs(jobs: Sequence[Job], splits: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Group]:
    """Return jobs by their problems, those that differ in layers only together."""
    by: dict[str, list[int]] = {}
    tables: dict[int, int] = {}
    for k, job in enumerate(jobs):
        fixed = {n: v for n, v in job.model.items() if n not in ("hidden", "activation")}
        table = tables.setdefault(id(job.fold.rows), len(tables))
        deep = bool(job.model.get("hidden"))
        by.setdefault(f"{table} {deep} {sorted(fixed.items(), key=str)}", []).append(k)
    made = []
    for members in by.values():
        first, rows = jobs[members[0]].model, jobs[members[0]].fold.rows
        problem = problem_of(rows, first, {"folds": list(splits)} if splits else {})
        trials = [settings_of(jobs[k]) for k in members]
        space, places = space_of_trials(trials)
        made.append(Group(problem, members, space, places, shared_settings(trials)))
    return made


def settings_of(job: Job) -> dict[str, Any]:
    """Return the values of a job on the axes of its sweep."""
    layers = job.model.get("hidden")
    given = {**job.trial}
    if layers:
        given["hidden"] = "-".join(map(str, layers))
        given["activation"] = job.model["activation"]
    return given if job.fold.number is None else {**given, "fold": job.fold.number}


def shared_settings(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all trials of a sweep are told: full batches are not looked at step by step."""
    often = all("steps" in trial for trial in trials)
    return {"metric": "train_loss", **({"eval_every": 1_000_000} if often else {})}


def train_stored_group(group: Group, n_jobs: int, store: Path, weights: bool) -> Iterator[Trial]:
    """Yield the trials of a group that a store keeps: those that it has are not trained again."""
    options = {**group.settings, "n_jobs": n_jobs, "progress": False}
    result = quietly(group.problem, group.space, store=store, **options)
    columns = {name: np.asarray(result.columns[name]) for name in result.metrics}
    ids = np.asarray(result.columns["trial_id"]).tolist()
    thetas = run_again(result, ids, "trials_weights", n_jobs, stacklevel=2) if weights else None
    steps = np.asarray(result.columns[steps_taken(result.columns)])
    diverged = np.asarray(result.columns["state"]) == State.DIVERGED
    for row in range(len(ids)):
        figures = {name: float(column[row]) for name, column in columns.items()}
        figures["steps"] = float(steps[row])
        theta = np.empty(0) if thetas is None else thetas[row]
        yield Trial(theta, figures, bool(diverged[row]))


def quietly(*what: Any, **options: Any) -> Any:
    """Run a sweep, without remarks on axes: it is us who laid out what has no effect on some."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "axis ", SweepWarning)
        return sweep(*what, **options)


def surviving_jobs(
    jobs: Sequence[Job], splits: Sequence[tuple[np.ndarray, np.ndarray]], pruner: Any, n_jobs: int
) -> set[int]:
    """Return which of these jobs a pruner lets go on to their end, by the loss on their fold."""
    left: set[int] = set()
    for group in group_jobs(jobs, splits):
        space = [{n: a for n, a in part.items() if n != "patience"} for part in group.space]
        options = {**group.settings, "metric": "val_loss", "n_jobs": n_jobs, "progress": False}
        result = quietly(group.problem, space, pruner=pruner, **options)
        done = np.asarray(result.columns["state"]) == State.COMPLETE
        ids = np.asarray(result.columns["trial_id"])[done]
        order = np.argsort(group.places)
        left |= {group.members[order[i]] for i in ids.tolist()}
    return left
