"""From rows and parameters to trained networks: one compiled launch for any number of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

from sweeps.common.states import State
from sweeps.engine.plan import Plan
from sweeps.models.parameters import parameters_of
from sweeps.problems.base import DataProblem
from sweeps.problems.losses import find_loss
from sweeps.problems.networks import network_on
from sweeps.problems.pinned import pinned
from sweeps.problems.source import Parts, Source
from sweeps.sklearn.settings import TWICE
from sweeps.space.axes import zipped

MOST_BYTES = 1 << 28
"""Parameters of trials that are held at a time."""


class Rows(NamedTuple):
    """A checked table: labels by their numbers, or targets ``(n, outputs)``.

    * ``X``, ``weights``: float64, of shapes (n, features) and (n,).
    * ``y``: int64 of shape (n,), or float64 of shape (n, outputs).
    * ``folded``: features of all rows by the preprocessing of each fold, where there is some.
    """

    X: np.ndarray
    y: np.ndarray
    classes: np.ndarray | None = None
    weights: np.ndarray | None = None
    folded: tuple[np.ndarray, ...] = ()

    def features(self, fold: int | None) -> np.ndarray:
        """Return the features of all rows, as a fold has them."""
        return self.folded[fold or 0] if self.folded else self.X


@dataclass(frozen=True, eq=False)
class FoldedSource(Source):
    """A table each fold of which has features of its own: ``folded[fold]``, of all rows."""

    folded: tuple[np.ndarray, ...] = field(default=(), compare=False)  # its content tells them

    def parts(self, dtype: Any, *, fold: int = 0, **chosen: Any) -> Parts:
        """Return the rows of a fold, by its own features."""
        own = {f.name: getattr(self, f.name) for f in fields(Source)}
        own |= {"X": self.folded[int(fold)], "content": "told by the whole"}
        return Source(**own).parts(dtype, fold=fold, **chosen)


class Trial(NamedTuple):
    """A trained network and what was measured of it."""

    theta: np.ndarray
    figures: dict[str, float]
    diverged: bool


def problem_of(rows: Rows, model: Mapping[str, Any], split: Mapping[str, Any]) -> DataProblem:
    """Return the problem of a network on rows.

    ``model``: ``loss`` and, where they are not the defaults, ``hidden``, ``activation``, ``init``,
    ``class_weight``, ``dtype``, ``preprocess``, ``fit_intercept`` and constants of the loss. Labels
    are told to a loss of several labels as one class against the rest. ``split``: arguments of
    :func:`sweeps.problems.splits.split_rows`, and its ``seed``.
    """
    given = {"hidden": (), "class_weight": None, "dtype": "float32", "preprocess": None, **model}
    loss, hidden, dtype = given.pop("loss"), given.pop("hidden"), given.pop("dtype")
    split, intercept = dict(split), given.pop("fit_intercept", True)
    seed, task, y = split.pop("seed", 0), find_loss(loss).task, rows.y
    if task == "multilabel" and y.ndim == 1 and rows.classes is not None:
        y = np.eye(len(rows.classes))[y]
    told = {
        "weights": rows.weights,
        "split": split,
        "seed": seed,
        "preprocess": given.pop("preprocess"),
        "class_weight": given.pop("class_weight"),
        "classes": rows.classes if task in ("classification", "binary") else None,
    }
    source = Source(rows.X, y, **told)
    if rows.folded:
        folded = list(rows.folded)
        source = FoldedSource(folded[0], y, **told, content=folded, folded=rows.folded)
    made = network_on(source, hidden, given, name="fit", loss=loss, dtype=dtype)
    return made if intercept else pinned(made)


def mean_weight(problem: DataProblem) -> float:
    """Return what a training row counts for, on average."""
    return float(problem.y[:, -1].mean()) if problem.options["weighted"] else 1.0


def loss_and_epochs(
    problem: DataProblem, trial: Trial, settings: Mapping[str, Any]
) -> tuple[float, int]:
    """Return the loss of a training as scikit-learn counts it, and its epochs."""
    epoch = -(-len(problem.X) // settings["batch_size"])
    loss = trial.figures["train_loss"] / (2.0 if problem.options["loss"] in TWICE else 1.0)
    return loss, int(-(-trial.figures["steps"] // epoch))


def space_of_trials(trials: Sequence[Mapping[str, Any]]) -> tuple[list[dict], np.ndarray]:
    """Return a space of trials, each of them a dict of settings, and where in it each one stands.

    >>> space, places = space_of_trials([{"lr": 0.1}, {"lr": 0.2, "beta1": 0.5}, {"lr": 0.3}])
    >>> [sorted(part) for part in space], places
    ([['lr'], ['beta1', 'lr']], array([0, 2, 1]))
    """
    groups: dict[tuple, list[int]] = {}
    for k, trial in enumerate(trials):
        groups.setdefault(tuple(sorted(trial)), []).append(k)
    space = [
        zipped({name: [trials[k][name] for k in members] for name in names})
        for names, members in groups.items()
    ]
    order = np.concatenate([np.array(members) for members in groups.values()])
    return space, np.argsort(order)


def train_trials(plan: Plan, ids: Sequence[int] | None = None, n_jobs: int = -1) -> Iterator[Trial]:
    """Yield the trained networks of a plan, in the order of their numbers."""
    wanted = np.arange(plan.size) if ids is None else np.asarray(ids)
    largest = max(block.problem.n_params for block in plan.blocks(wanted, results=False))
    size = max(1, MOST_BYTES // (8 * largest))
    for low in range(0, len(wanted), size):
        some = wanted[low : low + size]
        rows, thetas = parameters_of(plan, some, n_jobs)
        for theta, out, state in zip(thetas, rows.out, rows.state):
            figures = dict(zip(plan.results, out.tolist()))
            yield Trial(theta, figures, state == State.DIVERGED)
