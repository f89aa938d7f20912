"""Linear models through the origin: networks without hidden layers whose biases stay zero."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from fastopt.compile import jitable
from fastopt.errors import SpecError
from sweeps.problems.base import DataProblem


def pinned(problem: DataProblem) -> DataProblem:
    """Return a linear problem whose biases have no gradient, so that they stay zero.

    >>> import numpy as np
    >>> from sweeps import problems
    >>> problem = pinned(problems.iris(hidden=(), dtype="float64"))
    >>> theta, grad, work = np.zeros(15), np.ones(15), np.zeros(256 * problem.work_per_row)
    >>> loss = problem.loss_and_grad(theta, problem.X, problem.y, problem.aux, grad, work)
    >>> grad[-3:]
    array([0., 0., 0.])
    """
    if problem.hidden:
        raise SpecError(
            f"pinned(problem) needs a linear model; {problem.name} has the hidden layers "
            f"{problem.hidden}: give hidden=()"
        )
    return dataclasses.replace(
        problem,
        loss_and_grad=_without_biases(problem.loss_and_grad),
        options={**problem.options, "pinned": True},
    )


@functools.lru_cache(maxsize=32)
def _without_biases(loss_and_grad: Callable) -> Callable:
    """Set the last numbers of a gradient to zero, one an output; the same object each time."""

    @jitable
    def without_biases(theta, X, y, aux, grad, work, *drawn_by):
        loss = loss_and_grad(theta, X, y, aux, grad, work, *drawn_by)
        for j in range(grad.size - aux[0][-1], grad.size):
            grad[j] = 0
        return loss

    return without_biases
