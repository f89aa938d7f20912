"""Regressions and MLPs on the datasets that ship with scikit-learn, or on the user's arrays."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastopt.errors import ArrayError, SpecError, did_you_mean
from sweeps.problems import mlp as net
from sweeps.problems.base import DataProblem, as_dataset, check_rows, no_rows
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
    X : array_like, shape (n, features)
    y : array_like, shape (n,) or (n, outputs)
        Labels: integers 0, 1, ... or names, which are numbered in alphabetical order. Or
        floating-point targets.
    X_test, y_test : array_like, optional
        Rows that are evaluated, never trained on.
    hidden : sequence of int
        Widths of the hidden layers; ``()`` is a linear model.
    activation : {"relu", "tanh"}
        Of the hidden layers.
    loss : {"softmax_cross_entropy", "logistic", "squared_error"}, optional
        By default softmax cross-entropy for labels and squared error (the mean over rows and
        outputs) for targets. ``"logistic"`` has one output for two classes.
    standardize : bool
        Shift and scale every feature by the mean and standard deviation of the training rows.
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

    Raises
    ------
    SpecError, ArrayError, ArrayTypeError
        Shapes do not fit, data are not finite, labels are not 0, 1, ..., or a name is unknown.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> mlp(rng.normal(size=(20, 3)), rng.integers(0, 2, 20), hidden=(4, 4))
    mlp: 20 training rows, 46 parameters, float32
    """
    X, (y, y_test) = as_dataset("X", X, dtype), _numbered(y, y_test)
    loss = loss or ("softmax_cross_entropy" if y.dtype.kind in "iub" else "squared_error")
    X_test = no_rows(X) if X_test is None else as_dataset("X_test", X_test, dtype)
    y_test = no_rows(y) if y_test is None else y_test
    check_rows(X, y, name)
    if len(X_test) or len(y_test):
        check_rows(X_test, y_test, f"{name} (test)")
    if X_test.shape[1] != X.shape[1]:
        raise ArrayError(f"X has {X.shape[1]} features and X_test has {X_test.shape[1]}")
    if standardize:
        X, X_test = _standardized(X, X_test)
    y, y_test, outputs = _targets(loss, y, y_test, X.dtype)
    widths = _widths(hidden)
    sizes = (X.shape[1], *widths, outputs)
    if activation not in net.ACTIVATIONS:
        raise SpecError(
            f"activation must be one of {', '.join(net.ACTIVATIONS)}; got {activation!r}"
            f"{did_you_mean(activation, net.ACTIVATIONS)}"
        )
    loss_and_grad, evaluate = net.functions(loss)
    return DataProblem(
        name=name,
        loss_and_grad=loss_and_grad,
        evaluate=evaluate,
        init=net.glorot_uniform,
        X=X,
        y=y,
        X_test=X_test,
        y_test=y_test,
        work_rows=net.BLOCK,
        theta0=_initial(theta0, net.n_parameters(sizes), X.dtype),
        hidden=widths,
        reshape=_reshaped,
        **_sized(sizes, np.array([net.ACTIVATIONS[activation]], np.int64)),
    )


def _sized(sizes: tuple[int, ...], activation: np.ndarray) -> dict[str, Any]:
    """Return what a problem says of its layers."""
    return {
        "n_params": net.n_parameters(sizes),  # refuses what no int64 can count
        "aux": (np.array(sizes, np.int64), activation),
        "work_per_row": net.work_per_row(sizes),
        "flops_per_row": 6.0 * sum(n * m for n, m in itertools.pairwise(sizes)),
    }


def _reshaped(problem: DataProblem, hidden: tuple[int, ...]) -> DataProblem:
    sizes, activation = problem.aux
    ends = sizes.tolist()
    layers = _sized((ends[0], *hidden, ends[-1]), activation)
    return dataclasses.replace(problem, hidden=hidden, **layers)


def softmax_regression(
    X: Any, y: Any, X_test: Any = None, y_test: Any = None, **options: Any
) -> DataProblem:
    """Multinomial logistic regression: :func:`mlp` without hidden layers, on integer labels.

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
    """Binary logistic regression: :func:`mlp` without hidden layers, labels 0 and 1, one output.

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
            raise SpecError(f"hidden must be a sequence of layer widths >= 1; got {hidden!r}")
    return tuple(int(w) for w in widths)


def _standardized(X: np.ndarray, X_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = X.mean(axis=0, dtype=np.float64)
    deviation = X.std(axis=0, dtype=np.float64)
    deviation[deviation == 0] = 1.0  # a constant feature stays at zero
    return tuple(((a - mean) / deviation).astype(X.dtype) for a in (X, X_test))


def _numbered(y: Any, y_test: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return both as arrays, with numbers for labels that are names.

    >>> _numbered(["yes", "no", "yes"], ["no"])
    (array([1, 0, 1]), array([0]))
    """
    y, y_test = np.asarray(y), None if y_test is None else np.asarray(y_test)
    given = [y] if y_test is None else [y, y_test]
    if not all(a.ndim == 1 and a.dtype.kind in "OU" for a in given):
        return y, y_test
    both = np.concatenate(given)
    if not all(isinstance(name, str) for name in both):
        return y, y_test
    _, numbers = np.unique(both.astype(str), return_inverse=True)
    return numbers[: len(y)], None if y_test is None else numbers[len(y) :]


def _targets(loss: str, y: np.ndarray, y_test: np.ndarray, dtype: np.dtype) -> tuple:
    """Return both target arrays as the loss wants them, and the number of outputs."""
    if loss not in net.LOSSES:
        names = ", ".join(net.LOSSES)
        near = did_you_mean(loss, net.LOSSES)
        raise SpecError(f"loss must be one of {names}; got {loss!r}{near}")
    if loss == "squared_error":
        columns = [as_dataset("y", a[:, None] if a.ndim == 1 else a, dtype) for a in (y, y_test)]
        outputs, outputs_test = (column.shape[1] for column in columns)
        if outputs_test != outputs:
            raise ArrayError(f"y has {outputs} outputs a row and y_test has {outputs_test}")
        return *columns, outputs
    if y.dtype.kind not in "iub" or y.ndim != 1:
        raise ArrayError(f"{loss} needs integer labels of shape (n,); got {y.dtype} of {y.shape}")
    everything = np.concatenate([y, y_test]).astype(np.int64)
    classes = int(everything.max()) + 1
    if everything.min() < 0 or (loss == "logistic" and classes > 2):
        allowed = "0 and 1" if loss == "logistic" else "0, 1, 2, ..."
        raise ArrayError(f"{loss} needs labels {allowed}; got {everything.min()} to {classes - 1}")
    outputs = 1 if loss == "logistic" else classes
    return everything[: len(y)].copy(), everything[len(y) :].copy(), outputs


def _initial(theta0: Any, n: int, dtype: np.dtype) -> np.ndarray | None:
    if theta0 is None:
        return None
    theta0 = as_dataset("theta0", np.reshape(theta0, (1, -1)), dtype)[0]
    if theta0.size != n:
        raise ArrayError(f"theta0 has {theta0.size} numbers; the model has {n} parameters")
    return theta0


def _sklearn(loader: str, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    import sklearn.datasets

    return getattr(sklearn.datasets, loader)(return_X_y=True, **options)


def _moons() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import make_moons

    return make_moons(1000, noise=0.2, random_state=42)


def _split(load: Callable, test_size: float, split_seed: int) -> list[Any]:
    from sklearn.model_selection import train_test_split

    X, y = load()
    if not test_size:
        return [X, None, y, None]
    labels = y if y.dtype.kind in "iu" else None
    return train_test_split(X, y, test_size=test_size, random_state=split_seed, stratify=labels)


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
            raise SpecError(f"test_size must be in [0, 1); got {test_size!r}")
        split = functools.partial(_split, load, test_size, split_seed)
        # Anything but a number may split otherwise every time.
        is_fixed = isinstance(split_seed, int | np.integer)
        parts = prepared(name, split, test_size, int(split_seed)) if is_fixed else split()
        train, test, target, target_test = parts
        shape = {"hidden": hidden, "activation": activation, "loss": loss, "theta0": theta0}
        return mlp(
            train,
            target,
            test,
            target_test,
            **shape,
            standardize=standardize,
            dtype=dtype,
            name=name,
        )

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
