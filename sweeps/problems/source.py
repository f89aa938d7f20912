"""Where the rows of a problem come from: a table, and which of its rows train, choose and judge.

Everything that is fitted (a scaler, an encoder) is fitted on training rows only, for each fold
anew, so nothing of the rows that choose or judge gets into training.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fastopt.code.cached import cached_property
from fastopt.errors import ArrayError, SpecError, shortened
from sweeps.common.limits import is_whole
from sweeps.problems.arrays import cast, standardized
from sweeps.problems.class_weights import class_weights
from sweeps.problems.preprocessing import fit_rows, runs_users_code
from sweeps.problems.splits import Splits, split_rows
from sweeps.problems.target_units import target_units

STANDARDIZE = "standardize"
"""What ``preprocess`` says of features that are only shifted and scaled."""


class Parts(NamedTuple):
    """The rows of a problem as kernels read them, and what was done to the features.

    Weighted targets carry the weight of each row in their last column. Targets with a mean and a
    scale stand there standardized, and behind that as they are.
    """

    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    mean: np.ndarray | None = None
    scale: np.ndarray | None = None
    preprocess: Any = None
    target_mean: np.ndarray | None = None
    target_scale: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """A table of rows and its parts.

    * ``X``: a DataFrame, or float64 of shape (n, features).
    * ``y``: numbers of classes, int64 of shape (n,), or targets, float64 of shape (n, outputs).
    * ``weights``: float64 of shape (n,).
    * ``split``: arguments of :func:`sweeps.problems.splits.split_rows` but the seed.
    * ``seed``: of the split, of ``n_train`` and of ``label_noise``.
    * ``preprocess`` ("standardize", transformer or None): a scikit-learn transformer is cloned and
      fitted on the training rows of each fold.
    * ``class_weight`` ("balanced", dict or None): as scikit-learn's; multiplies the weights of
      training rows.
    * ``classes``: labels by their numbers.
    * ``content`` (JSON): what tells this table from others in a store; by default the array ``X``
      itself.
    * ``link``: of the loss, if targets are standardized: see
      :mod:`sweeps.problems.target_units`.
    """

    X: Any = field(compare=False)
    y: np.ndarray
    weights: np.ndarray | None = None
    split: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    preprocess: Any = field(default=STANDARDIZE, compare=False)
    class_weight: Any = None
    classes: np.ndarray | None = field(default=None, compare=False)
    content: Any = ""
    link: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        # What a store is told, which hashes an array when it is: not each problem that is made.
        told = self.content or self.X
        object.__setattr__(self, "content", [told, _settings_of(self.preprocess)])

    def splits(self, seed: int | None = None) -> Splits:
        """Return the rows of each part, by the split's own seed or another one."""
        classification = self.y.ndim == 1
        chosen = self.seed if seed is None else seed
        return split_rows(
            self.y, classification=classification, seed=chosen, classes=self.classes, **self.split
        )

    @cached_property
    def n_folds(self) -> int:
        """Number of folds; 1 where the same rows choose in all trials, or none do."""
        return len(self.splits().parts)

    @property
    def is_drawn(self) -> bool:
        """Whether another seed would split otherwise."""
        given = {**self.split}
        return given.pop("time", None) is None and any(
            isinstance(value, float | int) and value for value in given.values()
        )

    def parts(
        self,
        dtype: Any,
        *,
        fold: int = 0,
        n_train: int | None = None,
        label_noise: float = 0.0,
        split_seed: int | None = None,
        refit: bool = False,
    ) -> Parts:
        """Return the rows of a fold, everything fitted on its training rows.

        ``n_train``: how many of the training rows to keep: those of fewer are among those of more.
        ``label_noise``: share of the training rows whose label is replaced by another class's.
        ``refit``: train on the validation rows as well, and choose by none.
        """
        splits = self.splits(split_seed)
        seed = self.seed if split_seed is None else split_seed
        train, chosen_by = _fold_of(splits, fold)
        if refit:
            train, chosen_by = np.sort(np.concatenate([train, chosen_by])), chosen_by[:0]
        whole, train = train, _draw_some(train, n_train, len(self.y), seed)
        y = self._flip_labels(train, label_noise, seed)
        weights = self._weights(train, y)
        if weights is not None:
            train = _rows_that_count(train, weights, np.dtype(dtype), fold)
        chunks = train, chosen_by, splits.test
        features, *fitted = self._features(*chunks)
        if self.link is not None:
            fitted += target_units(y, whole, train, weights, self.link)
            cast("y", y[train], dtype)  # warns of digits that predictions, as given, have not
            y = np.column_stack([(y - fitted[-2]) / fitted[-1], y])
        arrays: list[np.ndarray] = []
        for name, rows, X in zip(("X", "X_val", "X_test"), chunks, features):
            arrays.append(cast(name, X, dtype, told=name == "X"))
            own = None if weights is None else weights[rows]
            told = name == "X" and self.link is None
            arrays.append(_targets(y[rows], own, dtype, told))
        return Parts(*arrays, *fitted)

    def refuse_change(self, parts: Parts, dtype: Any, **chosen: Any) -> None:
        """Raise if a transformer of the user's own makes other features of rows that it has made.

        Its other rows would not be those of the same problem.
        """
        if isinstance(self.preprocess, str | None) or not runs_users_code(self.preprocess):
            return
        again = self.parts(dtype, **chosen)
        for name in ("X", "X_val", "X_test"):
            if not np.array_equal(getattr(again, name), getattr(parts, name)):
                raise SpecError(
                    f"preprocess ({type(self.preprocess).__name__}) makes other features of the "
                    "same rows than when the problem was made: its code or what it reads has "
                    "changed, or it draws at random. Make the problem anew; what draws takes its "
                    "numbers from a parameter random_state"
                )

    def _weights(self, train: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """Return the weight of every row; that of its class counts where it is trained on.

        The class is that of ``y``, which may be wrong: nobody who trains on it knows the right one.
        """
        if self.class_weight is None:
            return self.weights
        if self.classes is None:
            raise SpecError("class_weight needs labels; the targets of this problem are numbers")
        weights = np.ones(len(self.y)) if self.weights is None else self.weights.copy()
        labels, known = self.classes[y[train]], self.classes.tolist()
        weights[train] = class_weights(self.class_weight, labels, weights[train], known)
        return weights

    def _flip_labels(self, train: np.ndarray, share: Any, seed: int) -> np.ndarray:
        real = isinstance(share, numbers.Real) and not isinstance(share, bool)
        if not (real and 0.0 <= share <= 1.0):
            raise SpecError(f"label_noise must be a share, from 0 to 1; got {shortened(share)}")
        if share == 0.0:
            return self.y
        if self.classes is None or self.y.ndim != 1:
            raise SpecError("label_noise needs labels; the targets of this problem are numbers")
        # A number for each row, so that a row that is wrong stays wrong with more noise.
        draws = np.random.default_rng([seed, 1]).random((2, len(self.y)))
        wrong = train[draws[0, train] < share]
        others = 1 + (draws[1, wrong] * (len(self.classes) - 1)).astype(np.int64)
        y = self.y.copy()
        y[wrong] = (y[wrong] + others) % len(self.classes)
        return y

    def _features(self, train: np.ndarray, chosen_by: np.ndarray, test: np.ndarray) -> tuple:
        """Return the features of the three parts, mean, scale and the fitted transformer."""
        rest = np.concatenate([chosen_by, test])
        fitted: tuple = (None, None, None)
        if self.preprocess is None:
            made, others = _pick_rows(self.X, train), self.X[rest]
        elif isinstance(self.preprocess, str):
            own = None if self.weights is None else self.weights[train]
            made, others, mean, scale = standardized(_pick_rows(self.X, train), self.X[rest], own)
            fitted = mean, scale, None
        else:
            transformer, (made, others) = fit_rows(self.preprocess, self.X, self.y, train, rest)
            fitted = None, None, transformer
        return (made, others[: len(chosen_by)], others[len(chosen_by) :]), *fitted


def _pick_rows(X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return rows of a table: a run of them in the order of their memory, in which sums are taken.

    Those that are picked come in rows, as in scikit-learn.
    """
    n = len(rows)
    return X[:n] if np.array_equal(rows, np.arange(n)) else X[rows]


def _fold_of(splits: Splits, fold: Any) -> tuple[np.ndarray, np.ndarray]:
    if not is_whole(fold, 0, len(splits.parts) - 1):
        raise SpecError(
            f"fold must be an integer from 0 to {len(splits.parts) - 1}; got {shortened(fold)}"
        )
    return splits.parts[int(fold)]


def _draw_some(train: np.ndarray, n_train: Any, rows: int, seed: int) -> np.ndarray:
    if n_train is None:
        return train
    if not is_whole(n_train, 1, len(train)):
        raise SpecError(
            f"n_train must be an integer from 1 to {len(train)}, the training rows there are; "
            f"got {shortened(n_train)}"
        )
    rank = np.random.default_rng([seed, 0]).permutation(rows)
    return np.sort(train[np.argsort(rank[train], kind="stable")[: int(n_train)]])


def _rows_that_count(
    train: np.ndarray, weights: np.ndarray, dtype: np.dtype, fold: int
) -> np.ndarray:
    """Return the training rows that weigh something, or say that there are none."""
    own = weights[train]
    with np.errstate(over="ignore", under="ignore"):
        made = own.astype(dtype)
    limits = np.finfo(dtype)  # numbers below have fewer digits, and no reciprocal
    lost = np.flatnonzero((own > 0) & ((made < limits.tiny) | np.isinf(made)))
    if len(lost):
        raise ArrayError(
            f"weights: row {train[lost[0]]} weighs {own[lost[0]]:.6g}, which is {made[lost[0]]} in "
            f'{dtype}; use dtype="float64", or multiply all weights by a number'
        )
    if not own.any():
        raise ArrayError(
            f"weights of all {len(train)} training rows of fold {fold} are 0; some must count: "
            "give them weights > 0 (weights, class_weight), or train on others (folds, n_train)"
        )
    return train[own > 0]


def _targets(y: np.ndarray, weights: np.ndarray | None, dtype: Any, told: bool) -> np.ndarray:
    """Return targets as kernels read them: labels as integers, and weights in the last column."""
    if weights is None:
        return y.copy() if y.ndim == 1 else cast("y", y, dtype, told)
    return cast("y", np.column_stack([y, weights]), dtype, told=False)


def _settings_of(preprocess: Any) -> str:
    """Return what a transformer is told, without the addresses of objects in it."""
    if preprocess is None or isinstance(preprocess, str):
        return str(preprocess)
    told = sorted((name, repr(value)) for name, value in preprocess.get_params(deep=True).items())
    return re.sub(r" at 0x[0-9a-f]+", "", f"{type(preprocess).__name__} {told}")
