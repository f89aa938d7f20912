"""The rows that a setting is trained on, and what is asked of them to choose its training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.preprocessing import add_dummy_feature

from fastopt.code.cached import cached_property
from fastopt.errors import ArrayError
from sweeps.problems.class_weights import class_weights
from sweeps.sklearn.training import Rows

NEGLIGIBLE = 1e-10
"""Share of the largest eigenvalue below which one is rounding."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Training rows of one split.

    ``train``: rows of the table. ``number``: of the fold; None where there is no other.
    """

    rows: Rows
    train: np.ndarray
    number: int | None = None
    _spectra: dict[Any, tuple[float, float]] = field(default_factory=dict, repr=False)

    @cached_property
    def kept(self) -> np.ndarray:
        """Numbers of the training rows whose weight is not zero."""
        weights = self.rows.weights
        return self.train if weights is None else self.train[weights[self.train] > 0]

    @property
    def n(self) -> int:
        """How many rows are trained on."""
        return len(self.kept)

    @property
    def outputs(self) -> int:
        """Columns of the targets."""
        return self.rows.y.shape[1] if self.rows.y.ndim == 2 else 1

    def weights(self, class_weight: object = None) -> np.ndarray:
        """Return what each training row counts for."""
        own = self.rows.weights
        weights = np.ones(self.n) if own is None else own[self.kept]
        if class_weight is None or self.rows.classes is None:
            return weights
        return class_weights(class_weight, self.rows.classes[self.rows.y[self.kept]], weights)

    def count(self, class_weight: object = None) -> int:
        """Return how many rows count, those of classes without weight left out."""
        n = int(np.count_nonzero(self.weights(class_weight)))
        if n == 0:
            where = "there" if self.number is None else f"in fold {self.number}"
            raise ArrayError(
                f"no row that is trained on {where} has a weight > 0; give it some, or take other "
                "folds"
            )
        return n

    def features(self, constant: float | None = None) -> np.ndarray:
        """Return the features of the training rows; a constant is one more, before the others."""
        X = self.rows.features(self.number)[self.kept]
        return X if constant is None else add_dummy_feature(X, constant)

    def spectrum(self, centered: bool, constant: float | None = None) -> tuple[float, float]:
        """Return the largest and smallest mean square of the features along any direction.

        Where there is none, up to rounding, it is left out.
        """
        key = centered, constant
        if key not in self._spectra:
            X, weights = self.features(constant), self.weights()
            mean = X.mean(axis=0) if centered else 0.0
            X = (X - mean) * np.sqrt(weights / weights.sum())[:, None]
            gram = X.T @ X if X.shape[1] <= len(X) else X @ X.T
            values = np.linalg.eigvalsh(gram)
            largest = float(max(values[-1], 0.0))
            seen = values[values > NEGLIGIBLE * largest]
            self._spectra[key] = largest, float(seen[0]) if len(seen) else largest
        return self._spectra[key]
