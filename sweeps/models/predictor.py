"""What one model and an ensemble of them have in common: predictions, probabilities and scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastopt.errors import ArrayError, SpecError, shortened
from sweeps.models.links import HALF, chosen, spread
from sweeps.models.network import Network
from sweeps.problems.arrays import numbers_of
from sweeps.problems.labels import plain, sort_of
from sweeps.problems.targets import refuse_other_order


class Predictor:
    """Predictions from what the link makes of outputs.

    A subclass has ``network``, whose loss says what outputs mean, ``classes``, and :meth:`_linked`.
    """

    network: Network
    classes: np.ndarray | None

    def _linked(self, X: Any) -> np.ndarray:
        """Return what the link makes of the outputs: probabilities or values, ``(n, k)``."""
        raise TypeError(f"{type(self).__name__} has no outputs")

    @property
    def task(self) -> str:
        """What it is for: "classification", "binary", "multilabel" or "regression"."""
        return self.network.task

    @property
    def is_classifier(self) -> bool:
        """Whether it predicts labels."""
        return self.task != "regression"

    def predict(self, X: Any) -> np.ndarray:
        """Return what is predicted for each row.

        Parameters
        ----------
        X : DataFrame or array_like, shape (n, n_features_in)
            As given for training, before any preprocessing. Columns of a DataFrame are found by
            their names, where the model knows them. Tables of polars and pyarrow, a dict of columns
            and a list of dicts are as good.

        Returns
        -------
        ndarray
            Labels ``(n,)`` as in ``classes``; of several labels a row, zeros and ones ``(n, k)``;
            or numbers, ``(n,)`` or ``(n, outputs)``.

        Raises
        ------
        ArrayError, ArrayTypeError
            Columns are missing, unknown or too many, or a value is missing, infinite or text.

        Examples
        --------
        >>> from sweeps import problems, sweep
        >>> result = sweep(problems.iris(hidden=(8,)), {"lr": [0.1]}, epochs=20)
        >>> result.model().predict([[5.1, 3.5, 1.4, 0.2]])
        array([0])
        """
        return chosen(self.task, self._linked(X), HALF, self.classes)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : DataFrame or array_like
            As for :meth:`predict`.

        Returns
        -------
        ndarray, shape (n, n_classes)
            In the order of ``classes``; of several labels a row, that of each.

        Raises
        ------
        SpecError
            The loss has none: those of a regression and of a margin (hinge) do not.

        Examples
        --------
        >>> from sweeps import problems, sweep
        >>> result = sweep(problems.iris(hidden=(8,)), {"lr": [0.1]}, epochs=20)
        >>> result.model().predict_proba([[5.1, 3.5, 1.4, 0.2]]).round(1)
        array([[1., 0., 0.]], dtype=float32)
        """
        if not self.network.has_probabilities:
            instead = "decision_function(X)" if self.is_classifier else "predict(X)"
            raise SpecError(
                f"predict_proba: a model trained with loss={self.network.loss!r} has no "
                f"probabilities; use {instead}"
            )
        return spread(self.task, self._linked(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of labels, or R2 of numbers, as scikit-learn's ``score`` does.

        Parameters
        ----------
        X : DataFrame or array_like
            As for :meth:`predict`.
        y : array_like
            What is true of each row.
        sample_weight : array_like, shape (n,), optional

        Raises
        ------
        ArrayError
            ``y`` has another length, or labels of another sort.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sweeps import problems, sweep
        >>> result = sweep(problems.iris(hidden=(8,)), {"lr": [0.1]}, epochs=20)
        >>> result.model().score(*load_iris(return_X_y=True)) > 0.9
        True
        """
        from sklearn.metrics import r2_score

        refuse_other_order(X, {"y": y, "sample_weight": sample_weight})
        predicted, y = self.predict(X), plain("y", y)
        if len(y) != len(predicted):
            raise ArrayError(
                f"X has {len(predicted)} rows and y has {len(y)}; give one target for each row"
            )
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim != predicted.ndim:
            raise ArrayError(
                f"y has shape {y.shape}; give the shape of predict(X), {predicted.shape}"
            )
        if not self.is_classifier:
            return float(r2_score(numbers_of("y", y), predicted, sample_weight=sample_weight))
        if sort_of(y) != sort_of(predicted):
            raise ArrayError(
                f"y holds {y.dtype} such as {shortened(y.flat[0].item()) if y.size else 'none'}; "
                f"the labels of the model are {predicted.dtype}: {shortened(self.classes)}. Give "
                "those"
            )
        # Not accuracy_score, which refuses labels of bytes.
        right = (y == predicted).reshape(len(y), -1).all(axis=1)
        return float(np.average(right, weights=sample_weight))
