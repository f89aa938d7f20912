"""Gradients of sums: for those who add up the gradients of a minibatch and do not divide."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from fastopt.compile import jitable
from fastopt.errors import SpecError, shortened
from sweeps.problems.base import DataProblem


def summed(problem: DataProblem) -> DataProblem:
    r"""Return the problem with the gradient of the *sum* over the rows of a minibatch.

    Losses are reported as means all the same, so that they can be compared. For plain SGD this is
    a learning rate times the batch size, :math:`\alpha \sum_i g_i = (\alpha B) \bar g`; to Adam,
    which divides by the size of its gradients, it makes no difference but in :math:`\epsilon`.

    Parameters
    ----------
    problem : DataProblem
        Whose ``loss_and_grad`` writes the gradient of the mean, as those of
        :mod:`sweeps.problems` do.

    Returns
    -------
    DataProblem

    Raises
    ------
    SpecError
        The problem has no rows to sum over, or sums already.

    Examples
    --------
    >>> import numpy as np
    >>> from sweeps import problems
    >>> def square(theta, X, y, aux, grad):
    ...     grad[0] = theta[0]
    ...     return 0.5 * theta[0] * theta[0]
    >>> problem = summed(problems.custom(square, np.zeros(1), np.zeros(8), np.zeros(8)))
    >>> grad, work = np.empty(1), np.empty(0)
    >>> loss = problem.loss_and_grad(np.ones(1), problem.X, problem.y, problem.aux, grad, work)
    >>> float(loss), grad
    (0.5, array([8.]))
    """
    if not isinstance(problem, DataProblem):
        raise SpecError(
            f"summed(problem) needs a problem with rows of data; got {shortened(problem)}"
        )
    if problem.options.get("summed"):
        raise SpecError(f"summed(problem): the gradients of {problem.name} are sums already")
    return dataclasses.replace(
        problem,
        loss_and_grad=_times_rows(problem.loss_and_grad),
        options={**problem.options, "summed": True},
    )


@functools.lru_cache(maxsize=32)  # it holds functions of the user
def _times_rows(loss_and_grad: Callable) -> Callable:
    """Multiply a gradient by the number of rows; the same object each time."""

    @jitable
    def times_rows(theta, X, y, aux, grad, work, *drawn_by):
        loss = loss_and_grad(theta, X, y, aux, grad, work, *drawn_by)
        rows = grad.dtype.type(X.shape[0])
        for j in range(grad.size):
            grad[j] *= rows
        return loss

    return times_rows
