"""Networks as scikit-learn's estimators, trained by one compiled call."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d

from fastopt.errors import SpecError, shortened
from sweeps.models.links import PROBABILITIES, chosen, linked, spread
from sweeps.problems.losses import LOSSES
from sweeps.sklearn.base import SweepEstimator, set_params_of_init
from sweeps.sklearn.training import Rows


class SweepClassifier(ClassifierMixin, SweepEstimator):
    r"""A network for labels, as ``MLPClassifier``, trained by one compiled call.

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int
        Widths of the hidden layers; ``()`` is a linear model.
    activation : str
        Of the hidden layers: a name of :data:`sweeps.problems.activations.ACTIVATIONS`, or
        "logistic", which is "sigmoid".
    loss : str, optional
        A name of :data:`sweeps.problems.losses.LOSSES`; by default softmax
        cross-entropy, and "multilabel" for several labels a row.
    loss_params : dict, optional
        Constants of the loss by name, such as ``{"label_smoothing": 0.1}``.
    class_weight : "balanced", dict or None
        What the rows of each class count for.
    solver : str
        A name of :data:`fastopt.rules.RULES`. As in scikit-learn, "sgd" has the momentum that is
        given, of Nesterov's form or not.
    alpha : float
        Penalty of the weights W: :math:`\frac{\alpha}{2 n} \lVert W \rVert^2` for n rows of
        a minibatch, as in scikit-learn.
    batch_size : int or "auto"
        Rows of a minibatch; "auto" is 200, or all rows if they are fewer.
    learning_rate_init : float
        Learning rate, of the loss as scikit-learn has it: half the squared error.
    schedule : str
        A name of :data:`fastopt.schedules.SCHEDULES`, for the learning rate over all epochs.
    max_iter : int
        Epochs.
    shuffle : bool
        Whether each epoch has an order of its own.
    random_state : int, RandomState or None
        Decides initial weights and orders; None draws it.
    momentum, nesterovs_momentum, beta_1, beta_2, epsilon
        Of the solvers that have them.
    early_stopping : bool
        Hold ``validation_fraction`` of the rows out, stop by their loss, and keep the parameters
        of the epoch where it was least.
    validation_fraction : float
    n_iter_no_change : int or None
        Epochs without a lower loss after which training ends: any lower loss counts (there is no
        ``tol``). None, or no fewer than ``max_iter``: it goes on.
    init : str
        A name of :data:`sweeps.problems.initialisations.INITIALISATIONS`.
    dtype : {"float32", "float64"}
        Of the arithmetic.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights ``(inputs, outputs)`` and biases of the layers.
    loss_ : float
        Mean loss of the training rows at the end, without the penalty.
    n_iter_ : int
        Epochs that were trained.
    model_ : sweeps.Model
        To be saved, and converted: ``model_.save(path)``, ``model_.to_torch()``.
    n_features_in_, feature_names_in_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn.
    classes_ : ndarray
        Labels in the order of the columns of ``predict_proba``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sweeps.sklearn import SweepClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> net = SweepClassifier((8,), learning_rate_init=0.03, max_iter=50, random_state=0).fit(X, y)
    >>> net.score(X, y) > 0.9, net.predict(X[:2]), net.predict_proba(X[:2]).shape
    (True, array([0, 0]), (2, 3))
    """

    task = "classification"

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        loss: str | None = None,
        loss_params: dict[str, float] | None = None,
        class_weight: Any = None,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.001,
        schedule: str = "constant",
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int | None = 10,
        init: str = "glorot_uniform",
        dtype: str = "float32",
    ) -> None:
        set_params_of_init(self, locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def rows_of(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> Rows:
        """Return a checked table with labels by their numbers."""
        check_classification_targets(y)
        if type_of_target(y) == "multilabel-indicator":
            return Rows(X, np.asarray(y, np.float64), np.arange(y.shape[1]), weights)
        y = column_or_1d(y, warn=True)
        classes, numbers = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise SpecError(
                "a classifier needs rows of two classes or more, and there is one class: "
                f"{shortened(classes.tolist()[0])}. Add rows of another"
            )
        return Rows(X, numbers.astype(np.int64), classes, weights)

    def loss_of(self, rows: Rows) -> str:
        """Return the name of the loss for these labels."""
        if rows.y.ndim == 2:
            return fitting_loss(self.loss, "multilabel", ("multilabel",))
        two = rows.classes is not None and len(rows.classes) == 2
        both = ("classification", "binary") if two else ("classification",)
        return fitting_loss(self.loss, "softmax_cross_entropy", both)

    def take(self, problem: Any, trial: Any, settings: Any) -> Any:
        """Set what a fit leaves, and the labels."""
        super().take(problem, trial, settings)
        if problem.classes is None:
            self.classes_ = np.arange(problem.n_outputs)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each row, or a row of zeros and ones."""
        outputs = self.outputs_of(X)
        labels = None if self.model_.task == "multilabel" else self.classes_
        return chosen(self.model_.task, outputs, 0.0, labels)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, in the order of ``classes_``.

        Raises
        ------
        SpecError
            The loss has none, such as hinge.
        """
        outputs = self.outputs_of(X)
        link = self.model_.network.link
        if link not in PROBABILITIES:
            raise SpecError(
                f"predict_proba: loss={self.loss!r} has no probabilities; use decision_function(X)"
            )
        return spread(self.model_.task, linked(link, outputs))

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the confidence in each class; of two classes ``(n,)``, > 0 for the second."""
        z = self.outputs_of(X)
        if self.model_.task == "multilabel" or z.shape[1] > 2:
            return z
        return z[:, 0] if z.shape[1] == 1 else z[:, 1] - z[:, 0]


class SweepRegressor(RegressorMixin, SweepEstimator):
    """A network for numbers, as ``MLPRegressor``, trained by one compiled call.

    Parameters
    ----------
    loss : str, optional
        A name of :data:`sweeps.problems.losses.LOSSES`; by default half the squared error.
    loss_params : dict, optional
        Constants of the loss by name, such as ``{"delta": 2.0}``.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate_init, schedule, \
    max_iter, shuffle, random_state, momentum, nesterovs_momentum, early_stopping, \
    validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, init, dtype
        As of :class:`SweepClassifier`, and so are the attributes but ``classes_``.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sweeps.sklearn import SweepRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> net = SweepRegressor((8,), learning_rate_init=0.1, max_iter=30, random_state=0).fit(X, y)
    >>> net.score(X, y) > 0.3, net.predict(X[:2]).shape, list(net.feature_names_in_[:2])
    (True, (2,), ['age', 'sex'])
    """

    task = "regression"

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        loss: str | None = None,
        loss_params: dict[str, float] | None = None,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.001,
        schedule: str = "constant",
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int | None = 10,
        init: str = "glorot_uniform",
        dtype: str = "float32",
    ) -> None:
        set_params_of_init(self, locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def rows_of(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> Rows:
        """Return a checked table with a column a target."""
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return Rows(X, np.asarray(y, np.float64).reshape(len(y), -1), None, weights)

    def loss_of(self, rows: Rows) -> str:
        """Return the name of the loss."""
        return fitting_loss(self.loss, "squared_error", ("regression",))

    def predict(self, X: Any) -> np.ndarray:
        """Return the numbers of each row."""
        check_is_fitted(self)
        values = linked(self.model_.network.link, self.outputs_of(X))
        return chosen("regression", values, 0.0, None)


def fitting_loss(loss: Any, default: str, tasks: tuple[str, ...]) -> str:
    """Return the loss that is meant, or say which ones fit these targets."""
    allowed = [name for name, row in LOSSES.items() if row.task in tasks]
    name = default if loss is None else loss
    if name not in allowed:
        raise SpecError(
            f"loss must be one of {', '.join(allowed)} for these targets; got {shortened(loss)}"
        )
    return name
