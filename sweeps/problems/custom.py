"""The user's own objective: a plain function, compiled by us into the training kernel."""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from fastopt.code.uncompilable import in_two_lines
from fastopt.compile import adopted, frozen, jitable
from fastopt.errors import ArrayError, ArrayTypeError, SpecError, shortened
from sweeps.problems.arrays import cast, checked_aux, refuse_mask
from sweeps.problems.base import DataProblem, check_rows, no_rows
from sweeps.problems.gradients import Wrong, points_near, wrong_component

CHECKED = 4
"""Rows on which a gradient is checked."""


def custom(
    loss_and_grad: Callable,
    theta0: Any,
    X: Any,
    y: Any,
    aux: tuple[np.ndarray, ...] = (),
    X_test: Any = None,
    y_test: Any = None,
    *,
    name: str | None = None,
) -> DataProblem:
    """Make a problem of your own loss function.

    Parameters
    ----------
    loss_and_grad : callable
        ``loss_and_grad(theta, X, y, aux, grad) -> loss``, the mean loss of the rows given; writes
        the gradient into ``grad`` (shape of ``theta``), all of it. A plain function in the Python
        that Numba compiles (it may call plain and ``@njit`` functions of your own, which are
        compiled with it); do not jit it yourself. Each sweep runs it as it is then, constants and
        helpers included.
    theta0 : array_like, shape (n_params,)
        Initial parameters of every trial, float32 or float64, which is the dtype of everything.
    X : array_like, shape (n,) or (n, features)
        Converted to the dtype of ``theta0``, as they are: nothing is shifted or scaled.
    y : array_like, shape (n,) or (n, outputs)
        Integers become int64; floating-point targets take the dtype of ``theta0``.
    aux : tuple of ndarray
        Constant arrays handed to the function as they are.
    X_test, y_test : array_like, optional
        Rows for ``test_loss``.
    name : str, optional
        The function's name by default.

    Returns
    -------
    DataProblem

    Raises
    ------
    SpecError, ArrayError, ArrayTypeError
        The function is not callable, fails on one row or writes to what it is given other than
        ``grad``, arrays do not fit, or the gradient disagrees with finite differences of the loss,
        on a few rows at ``theta0`` and near it; the message says at which coordinate, with both
        values.

    Examples
    --------
    >>> def least_squares(theta, X, y, aux, grad):
    ...     grad[:] = 0.0
    ...     loss = 0.0
    ...     for i in range(X.shape[0]):
    ...         error = theta[0] * X[i, 0] - y[i]
    ...         loss += 0.5 * error * error / X.shape[0]
    ...         grad[0] += error * X[i, 0] / X.shape[0]
    ...     return loss
    >>> custom(least_squares, np.zeros(1), np.ones((4, 1)), np.ones(4))
    least_squares: 4 training rows, 1 parameters, float64
    """
    function = getattr(loss_and_grad, "py_func", loss_and_grad)
    if not isinstance(function, types.FunctionType):
        raise SpecError(
            "loss_and_grad must be a plain function (def or lambda); "
            f"got {type(loss_and_grad).__name__}"
        )
    theta0 = np.array(refuse_mask("theta0", theta0)).reshape(-1)
    if theta0.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ArrayTypeError(f"theta0 must be float32 or float64; got {theta0.dtype}")
    title = name or function.__name__
    X, y, X_test, y_test = _arrays(title, theta0.dtype, X, y, X_test, y_test)
    aux = checked_aux(aux)
    now = frozen(function)  # an @njit helper of the user's may hold what it read long ago
    with in_two_lines():
        _try_once(now, theta0, X, y, aux)
        _check_gradient(title, now, theta0, X, y, aux)
    own_loss_and_grad, evaluate, init = _functions(function)
    return DataProblem(
        name=title,
        loss_and_grad=own_loss_and_grad,
        evaluate=evaluate,
        init=init,
        X=X,
        y=y,
        X_test=X_test,
        y_test=y_test,
        aux=aux,
        n_params=theta0.size,
        flops_per_row=6.0 * theta0.size,
        theta0=theta0,
    )


def _arrays(title: str, dtype: np.dtype, X: Any, y: Any, X_test: Any, y_test: Any) -> tuple:
    """Return the four arrays as the kernel wants them, test rows like training rows."""
    y = refuse_mask("y", y)
    labels = np.asarray(y).dtype.kind in "iub"
    X, y = _rows("X", X, dtype), _rows("y", y, np.dtype(np.int64) if labels else dtype)
    X_test = no_rows(X) if X_test is None else _rows("X_test", X_test, X.dtype)
    y_test = no_rows(y) if y_test is None else _rows("y_test", y_test, y.dtype)
    check_rows(X, y, title)
    if len(X_test) or len(y_test):
        check_rows(X_test, y_test, f"{title} (test)")
    for what, train, test in (("X", X, X_test), ("y", y, y_test)):
        if train.shape[1:] != test.shape[1:]:
            raise ArrayError(
                f"a row of {what} has shape {train.shape[1:]} and one of {what}_test "
                f"{test.shape[1:]}; they must agree"
            )
    return X, y, X_test, y_test


def _rows(name: str, a: Any, dtype: np.dtype) -> np.ndarray:
    array = np.asarray(refuse_mask(name, a))
    if array.dtype.kind not in "iubf":
        raise ArrayTypeError(f"{name} must hold numbers; got {array.dtype}")
    if array.dtype.kind == "f" and dtype.kind == "i":
        raise ArrayTypeError(f"{name} must hold integers, as y does; got {array.dtype}")
    if array.ndim not in (1, 2):
        raise ArrayError(f"{name} must have one or two dimensions; got shape {array.shape}")
    if dtype.kind == "i":
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(dtype).max:
            raise ArrayError(f"{name} holds {array.max()}; integers must fit in int64")
        return np.array(array, dtype, order="C")
    # NaN may be what the function calls a gap; it is no number that could be lost.
    return cast(name, array, dtype, told=not name.endswith("_test"))


def _try_once(
    function: Callable, theta0: np.ndarray, X: np.ndarray, y: np.ndarray, aux: tuple
) -> None:
    """Call the plain function on one row, so that its mistakes show as ordinary Python errors."""
    grad = np.full_like(theta0, np.nan)
    whole = {"theta": theta0, "X": X[:1], "y": y[:1]}
    whole |= {f"aux[{k}]": a for k, a in enumerate(aux)}
    theta, row, target, *constants = copies = [a.copy() for a in whole.values()]
    loss = function(theta, row, target, tuple(constants), grad)
    for (what, a), after in zip(whole.items(), copies):
        if a.tobytes() != after.tobytes():
            raise SpecError(
                f"{function.__name__} writes to {what}, which it may only read: all trainings go "
                "on from there, and at the same time. Compute in a copy, as with X = X - m for "
                "X -= m."
            )
    if not isinstance(loss, float | np.floating):
        raise SpecError(
            f"{function.__name__} must return the mean loss, a float; it returned {shortened(loss)}"
        )
    if np.isnan(grad).any() and not np.isnan(loss):
        first = int(np.flatnonzero(np.isnan(grad))[0])
        raise SpecError(
            f"{function.__name__} must write the whole gradient in place; grad[{first}] was left "
            "unwritten (or NaN). Write grad[:] = ..., not grad = ..."
        )


def _check_gradient(
    title: str, function: Callable, theta0: np.ndarray, X: np.ndarray, y: np.ndarray, aux: tuple
) -> None:
    """Compare the gradient of a few rows with finite differences, in float64."""
    rows = np.unique(np.linspace(0, len(X) - 1, CHECKED).astype(int))
    X, y = (a[rows].astype(float) if a.dtype.kind == "f" else a[rows] for a in (X, y))

    def value_and_grad(theta: np.ndarray) -> tuple[float, np.ndarray]:
        grad = np.empty_like(theta)
        return float(function(theta.copy(), X, y, aux, grad)), grad

    for k, point in enumerate(points_near(theta0)):
        try:
            with np.errstate(all="ignore"):
                wrong = wrong_component(value_and_grad, point)
        # Where plain Python has no value, compiled code has inf or NaN; and a function that the
        # user has compiled for float32 alone takes no float64.
        except (ArithmeticError, ValueError, TypeError):
            continue
        if wrong is not None:
            raise SpecError(
                f"{title}: wrong gradient {'near' if k else 'at'} theta0: on rows {rows.tolist()} "
                f"grad[{wrong.coordinate}] is {wrong.given!r}, finite differences of the loss say "
                f"{wrong.found:.9g}{_is_sum(wrong, len(rows))}"
            )


def _is_sum(wrong: Wrong, rows: int) -> str:
    if rows == 1 or not math.isclose(wrong.given, rows * wrong.found, rel_tol=1e-3):
        return ""
    return (
        f". That is {rows} times as much: the loss is the mean of the {rows} rows and the gradient "
        "that of their sum. Divide by their number; problems.summed() multiplies again"
    )


@functools.lru_cache(maxsize=32)  # it holds functions of the user
def _functions(function: Callable) -> tuple[Callable, Callable, Callable]:
    function = adopted(function, jitable)

    @jitable
    def loss_and_grad(theta, X, y, aux, grad, work):
        return function(theta, X, y, aux, grad)

    @jitable
    def evaluate(theta, X, y, aux, grad, work):
        return function(theta, X, y, aux, grad), np.nan

    @jitable
    def init(theta, aux, seed):
        theta[:] = 0

    return loss_and_grad, evaluate, init
