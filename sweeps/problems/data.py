"""Regressions and MLPs on the datasets that ship with scikit-learn, or on the user's arrays."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastopt.errors import ArrayError, SpecError, shortened
from sweeps.problems import mlp as net
from sweeps.problems.arrays import as_dataset, cast, refuse_other_columns, standardized
from sweeps.problems.base import DataProblem, check_rows, no_rows
from sweeps.problems.initialisations import initialisation
from sweeps.problems.labels import (
    classes_of,
    is_classification,
    measured,
    numbered,
    plain,
    ravelled,
)
from sweeps.problems.losses import check_targets, constants_of, find_loss
from sweeps.problems.prepared import prepared

__all__ = [
    "DATASETS",
    "linear_regression",
    "logistic_regression",
    "mlp",
    "softmax_regression",
]


def mlp(
    X: Any,
    y: Any,
    X_test: Any = None,
    y_test: Any = None,
    *,
    hidden: Sequence[int] = (32,),
    activation: str = "relu",
    loss: str | None = None,
    standardize: bool = True,
    dtype: Any = "float32",
    theta0: Any = None,
    name: str = "mlp",
) -> DataProblem:
    r"""Multi-layer perceptron on the given arrays.

    Parameters
    ----------
    X : array_like or DataFrame, shape (n, features)
        Numbers and booleans, of any dtype that scikit-learn takes; none of them missing.
    y : array_like or Series, shape (n,) or (n, outputs)
        Labels of two classes or more: text, booleans, categories or integers, with gaps or from any
        number on. Or the targets of a regression: numbers. Whole numbers as floats, and numbers as
        text, may be either: ``loss`` says which.
    X_test, y_test : array_like, optional
        Rows that are evaluated, never trained on. Their labels are among those of ``y``.
    hidden : sequence of int
        Widths of the hidden layers; ``()`` is a linear model.
    activation : str
        Of the hidden layers: a row of :data:`sweeps.problems.activations.ACTIVATIONS`.
    loss : str, optional
        A row of :data:`sweeps.problems.losses.LOSSES`. By default softmax cross-entropy for labels
        and squared error (the mean over rows and outputs) for floats. ``"logistic"`` has one output
        for two classes.
    standardize : bool
        Shift and scale every feature by the mean and standard deviation of the training rows, by
        scikit-learn's ``StandardScaler``, before anything is cast to ``dtype``.
    dtype : {"float32", "float64"}
        Of data, parameters and arithmetic.
    theta0 : array_like, optional
        Initial parameters ``W_1, b_1, W_2, ...`` flat; by default drawn from the trial's seed
        (Glorot uniform weights, zero biases).
    name : str
        What the problem is called in tables and messages.

    Returns
    -------
    DataProblem
        ``classes`` are the labels by their numbers, ``mean`` and ``scale`` those of the features.

    Raises
    ------
    SpecError, ArrayError, ArrayTypeError
        Shapes do not fit, data are not numbers, missing, masked or not finite, a test row has a
        label that no training row has, or a name is unknown.

    Warns
    -----
    SweepWarning
        float32 loses what distinguishes the rows, labels stand in a column, or integers have so
        many values that they may be measurements.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> problem = mlp(rng.normal(size=(20, 3)), ["no", "yes"] * 10, hidden=(4, 4))
    >>> problem
    mlp: 20 training rows, 46 parameters, float32
    >>> problem.classes[problem.y[:3]]
    array(['no', 'yes', 'no'], dtype='<U3')
    """
    table = as_dataset("X", X)
    test = None if X_test is None else as_dataset("X_test", X_test)
    refuse_other_columns(X, X_test)
    categorical = isinstance(getattr(y, "dtype", None), pd.CategoricalDtype)
    y, y_test = plain("y", y), None if y_test is None else plain("y_test", y_test)
    check_rows(table, y, name)
    if test is not None or y_test is not None:
        check_rows(() if test is None else test, () if y_test is None else y_test, f"{name} (test)")
    if test is not None and test.shape[1] != table.shape[1]:
        raise ArrayError(f"X has {table.shape[1]} features and X_test has {test.shape[1]}")
    if loss is None:
        loss = "softmax_cross_entropy" if is_classification(y, categorical) else "squared_error"
    scaled = standardized(table, test) if standardize else (table, test, None, None)
    targets = _targets(loss, y, y_test, dtype)
    return _network(name, scaled, targets, loss, hidden, activation, dtype, theta0)


def _network(
    name: str,
    features: Sequence[Any],
    targets: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    loss: str,
    hidden: Sequence[int],
    activation: str,
    dtype: Any,
    theta0: Any,
) -> DataProblem:
    """Make a network on checked arrays: features, test features, and the scaler's numbers."""
    X, test, mean, scale = features
    y, y_test, classes = targets
    X = cast("X", X, dtype)
    X_test = no_rows(X) if test is None else cast("X_test", test, dtype, told=False)
    outputs = (
        (1 if find_loss(loss).task == "binary" else len(classes))
        if classes is not None
        else y.shape[1]
    )
    widths = _widths(hidden)
    sizes = (X.shape[1], *widths, outputs)
    constants = constants_of(loss)
    made = net.functions(loss, activation=activation, constants=constants)
    return DataProblem(
        name=name,
        loss_and_grad=made.loss_and_grad,
        evaluate=made.evaluate,
        init=initialisation(),
        X=X,
        y=y,
        X_test=X_test,
        y_test=y_test,
        work_rows=net.BLOCK,
        theta0=_initial(theta0, net.n_parameters(sizes), X.dtype),
        options={"loss": loss, "activation": activation},
        hidden=widths,
        reshape=_reshaped,
        classes=classes,
        mean=mean,
        scale=scale,
        **_sized(sizes, activation, constants),
    )


def _sized(sizes: tuple[int, ...], activation: str, constants: np.ndarray) -> dict[str, Any]:
    """Return what a problem says of its layers."""
    return {
        "n_params": net.n_parameters(sizes),  # refuses what no int64 can count
        "aux": net.aux_of(sizes, activation, constants),
        "work_per_row": net.work_per_row(sizes, activation),
        "flops_per_row": 6.0 * sum(n * m for n, m in itertools.pairwise(sizes)),
    }


def _reshaped(problem: DataProblem, hidden: tuple[int, ...]) -> DataProblem:
    sizes, _, constants = problem.aux
    ends = sizes.tolist()
    layers = _sized((ends[0], *hidden, ends[-1]), problem.options["activation"], constants)
    return dataclasses.replace(problem, hidden=hidden, **layers)


def softmax_regression(
    X: Any, y: Any, X_test: Any = None, y_test: Any = None, **options: Any
) -> DataProblem:
    """Multinomial logistic regression: :func:`mlp` without hidden layers, on labels.

    Examples
    --------
    >>> softmax_regression(np.eye(3), np.arange(3)).n_params
    12
    """
    return mlp(
        X,
        y,
        X_test,
        y_test,
        hidden=(),
        name="softmax_regression",
        loss="softmax_cross_entropy",
        **options,
    )


def logistic_regression(
    X: Any, y: Any, X_test: Any = None, y_test: Any = None, **options: Any
) -> DataProblem:
    """Binary logistic regression: :func:`mlp` without hidden layers, two classes, one output.

    Examples
    --------
    >>> logistic_regression(np.eye(2), np.arange(2)).n_params
    3
    """
    return mlp(
        X, y, X_test, y_test, hidden=(), name="logistic_regression", loss="logistic", **options
    )


def linear_regression(
    X: Any, y: Any, X_test: Any = None, y_test: Any = None, **options: Any
) -> DataProblem:
    """Least squares by gradient descent: :func:`mlp` without hidden layers, on real targets.

    Examples
    --------
    >>> linear_regression(np.eye(2), np.array([0.5, 1.5]), dtype="float64").n_params
    3
    """
    return mlp(
        X, y, X_test, y_test, hidden=(), name="linear_regression", loss="squared_error", **options
    )


def _widths(hidden: Any) -> tuple[int, ...]:
    widths = tuple(hidden) if isinstance(hidden, Sequence) else (hidden,)
    for width in widths:
        if isinstance(width, bool) or not isinstance(width, int | np.integer) or width < 1:
            raise SpecError(
                f"hidden must be a sequence of layer widths >= 1; got {shortened(hidden)}"
            )
    return tuple(int(w) for w in widths)


def _targets(loss: str, y: np.ndarray, y_test: np.ndarray | None, dtype: Any) -> tuple:
    """Return both target arrays as the loss wants them, and the classes of labels."""
    if find_loss(loss).task in ("regression", "multilabel"):
        made = measured("y", y, dtype)
        test = no_rows(made) if y_test is None else measured("y_test", y_test, dtype, told=False)
        if test.shape[1] != made.shape[1]:
            raise ArrayError(f"y has {made.shape[1]} outputs a row and y_test has {test.shape[1]}")
        for name, a in (("y", made), ("y_test", test)):
            check_targets(name, loss, a, constants_of(loss))
        return made, test, None
    y, y_test = ravelled("y", y), None if y_test is None else ravelled("y_test", y_test)
    classes = classes_of(loss, y)
    test = y[:0] if y_test is None else y_test
    return numbered("y", y, classes), numbered("y_test", test, classes), classes


def _initial(theta0: Any, n: int, dtype: np.dtype) -> np.ndarray | None:
    if theta0 is None:
        return None
    theta0 = cast("theta0", as_dataset("theta0", np.reshape(theta0, (1, -1))), dtype)[0]
    if theta0.size != n:
        raise ArrayError(f"theta0 has {theta0.size} numbers; the model has {n} parameters")
    return theta0


def _sklearn(loader: str, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    import sklearn.datasets

    return getattr(sklearn.datasets, loader)(return_X_y=True, **options)


def _moons() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import make_moons

    return make_moons(1000, noise=0.2, random_state=42)


def _split(load: Callable, test_size: float, split_seed: int, standardize: bool) -> list[Any]:
    """Return targets and test targets, features and test features, and the scaler's numbers."""
    from sklearn.model_selection import train_test_split

    X, y = load()
    labels = y if y.dtype.kind in "iu" else None
    options = {"test_size": test_size, "random_state": split_seed, "stratify": labels}
    train, test, target, target_test = (
        train_test_split(X, y, **options) if test_size else (X, None, y, None)
    )
    # All that needs scikit-learn is done here, whose results are kept.
    scaled = standardized(train, test) if standardize else (train, test, None, None)
    return [target, target_test, *scaled]


def _dataset(name: str, load: Callable) -> Callable[..., DataProblem]:
    """Make the constructor of a named dataset."""

    def build(
        *,
        hidden: Sequence[int] = (32,),
        activation: str = "relu",
        loss: str | None = None,
        test_size: float = 0.25,
        split_seed: int = 0,
        standardize: bool = True,
        dtype: str = "float32",
        theta0: Any = None,
    ) -> DataProblem:
        if not 0.0 <= test_size < 1.0:
            raise SpecError(f"test_size must be in [0, 1); got {shortened(test_size)}")
        split = functools.partial(_split, load, test_size, split_seed, bool(standardize))
        # Anything but a number may split otherwise every time.
        is_fixed = isinstance(split_seed, int | np.integer)
        made_by = test_size, bool(standardize)
        parts = prepared(name, split, *made_by, int(split_seed)) if is_fixed else split()
        y, y_test, *features = parts
        if loss is None:
            loss = "softmax_cross_entropy" if y.dtype.kind in "iu" else "squared_error"
        targets = _targets(loss, y, y_test, dtype)
        return _network(name, features, targets, loss, hidden, activation, dtype, theta0)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""{(load.__doc__ or "").strip()}

    Parameters
    ----------
    hidden, activation, loss, standardize, dtype, theta0
        As for :func:`sweeps.problems.mlp`; ``hidden=()`` is a linear model.
    test_size : float
        Share of the rows kept for testing, stratified by label; 0 for none.
    split_seed : int
        Which rows those are.

    Returns
    -------
    DataProblem

    Examples
    --------
    >>> problem = {name}(hidden=())
    >>> problem.name, problem.has_test
    ('{name}', True)
    """
    return build


def _load(name: str, loader: str, summary: str) -> Callable[..., DataProblem]:
    load = functools.partial(_sklearn, loader)
    load.__doc__ = summary
    return _dataset(name, load)


_moons.__doc__ = "Two interleaved half circles: 1 000 points with noise 0.2, 2 classes."

DATASETS: dict[str, Callable[..., DataProblem]] = {
    "digits": _load(
        "digits", "load_digits", "Handwritten digits: 1 797 images of 8 x 8, 10 classes."
    ),
    "iris": _load("iris", "load_iris", "Iris flowers: 150 rows of 4 features, 3 classes."),
    "wine": _load("wine", "load_wine", "Wines: 178 rows of 13 features, 3 classes."),
    "breast_cancer": _load(
        "breast_cancer", "load_breast_cancer", "Tumours: 569 rows of 30 features, 2 classes."
    ),
    "diabetes": _load("diabetes", "load_diabetes", "Diabetes progression: 442 rows, 10 features."),
    "moons": _dataset("moons", _moons),
}

digits, iris, wine, breast_cancer, diabetes, moons = DATASETS.values()
__all__ += list(DATASETS)
