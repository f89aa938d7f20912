"""Checks that every problem of ours passes, for problems of your own."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from fastopt.errors import shortened
from fastopt.machine.calls import raw, raw_rows
from fastopt.testing import run_checks
from sweeps.analysis.table import Table
from sweeps.common.pickling import pack, unpack
from sweeps.engine.callees import functions_of
from sweeps.engine.run_blocks import Problem, worker_count
from sweeps.problems.base import DataProblem
from sweeps.problems.gradients import points_near, wrong_component
from sweeps.problems.landscapes import Landscape
from sweeps.running.check import check
from sweeps.running.collect import Collector
from sweeps.running.runner import run_chunks

__all__ = ["check_problem"]

ROWS, BEHIND, CANARY = 9, 64, 12345.0
SEED, STEP = np.uint64(7), 3


def check_problem(problem: Problem) -> list[str]:
    """Check that a problem of your own keeps what all of ours promise.

    Parameters
    ----------
    problem : DataProblem or Landscape
        Compiled and trained for a few steps; nothing of it is changed.

    Returns
    -------
    list of str
        The checks that it has passed. A landscape has no rows and no scratch, and a problem that
        draws random numbers has another loss at each step: such checks are left out.

    Raises
    ------
    AssertionError
        A check fails; the message begins with its name.

    Notes
    -----
    Gradients are compared with finite differences in the dtype of the problem if that is float64,
    or if it is a landscape; those in float32 are not looked at, as too few digits are right.

    Examples
    --------
    >>> from sweeps import problems
    >>> check_problem(problems.ellipse())[:2]
    ['the gradient is the slope', 'optima are optima']
    """
    if not isinstance(problem, DataProblem | Landscape):
        raise AssertionError(
            f"check_problem takes a problem, of rows or a landscape; got {shortened(problem)}"
        )
    checks = CHECKS if isinstance(problem, DataProblem) else OF_LANDSCAPES
    return run_checks(checks, problem, problem.name)


def _same(found: Any, expected: Any, what: str) -> None:
    if found != expected:
        raise AssertionError(what)


# ---- of rows ----


def _theta(problem: DataProblem, seed: int = 0) -> np.ndarray:
    theta = np.zeros(problem.n_params, problem.dtype)
    if problem.theta0 is not None:
        return problem.theta0.copy()
    functions_of(problem).init(raw(theta), functions_of(problem).words, np.uint64(seed))
    return theta


def _rows(problem: DataProblem, n: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.linspace(0, len(problem.X) - 1, n).astype(int)
    return np.ascontiguousarray(problem.X[chosen]), np.ascontiguousarray(problem.y[chosen])


def _loss(
    problem: DataProblem, theta: np.ndarray, X: np.ndarray, y: np.ndarray, fill: float = np.nan
) -> tuple[float, np.ndarray]:
    """Call the compiled function with no more scratch than it asks for, filled with something."""
    functions, size = functions_of(problem), problem.work_per_row * max(len(X), problem.work_rows)
    grad, work = np.full(problem.n_params, fill, problem.dtype), np.empty(0)
    work = np.full(size + BEHIND, fill, problem.dtype)
    work[size:] = CANARY
    before = [a.tobytes() for a in (theta, X, y)]
    given = raw(theta), raw_rows(X), raw_rows(y), functions.words
    loss = functions.loss(*given, raw(grad), raw(work[:size]), SEED, STEP)
    _same([a.tobytes() for a in (theta, X, y)], before, "it writes to parameters or rows")
    _same(bool((work[size:] == CANARY).all()), True, "it writes behind its scratch")
    return float(loss), grad


def check_writes(problem: DataProblem) -> None:
    """Check that the whole gradient is written, whatever stood there, and nothing else."""
    theta, (X, y) = _theta(problem), _rows(problem)
    found = [_loss(problem, theta, X, y, fill) for fill in (np.nan, 0.0, 1e3)]
    for loss, grad in found:
        _same(bool(np.isfinite(loss)), True, f"the loss of the first parameters is {loss}")
        _same(bool(np.isfinite(grad).all()), True, "a part of the gradient is not written")
        same = loss == found[0][0] and grad.tobytes() == found[0][1].tobytes()
        _same(same, True, "it depends on what its scratch or gradient held before")


def check_gradient(problem: DataProblem) -> bool | None:
    """Compare the gradient with finite differences, at the first parameters and near them."""
    if problem.dtype != np.float64:
        return False
    X, y = _rows(problem)
    for point in points_near(_theta(problem)):
        wrong = wrong_component(lambda at: _loss(problem, at, X, y), point)
        _same(wrong, None, f"finite differences say otherwise: {wrong}")
    return None


def check_mean(problem: DataProblem) -> bool | None:
    """Check that the loss is a mean: of rows taken twice, or backwards, it is the same."""
    if problem.draws:  # a number for each row
        return False
    theta, (X, y) = _theta(problem), _rows(problem)
    once, grad = _loss(problem, theta, X, y)
    near = 256 * np.finfo(problem.dtype).eps
    size, largest = max(1.0, abs(once)), float(np.abs(grad).max()) + 1e-3
    for what, rows in (("twice", [*range(len(X))] * 2), ("backwards", range(len(X))[::-1])):
        loss, other = _loss(problem, theta, X[rows], y[rows])
        _same(abs(once - loss) < near * size, True, f"of rows {once}, of the same {what} {loss}")
        agree = bool((np.abs(grad - other) < near * largest).all())
        _same(agree, True, f"rows {what} have another gradient: it is not the mean of theirs")
    return None


def check_evaluation(problem: DataProblem) -> bool | None:
    """Compare the loss that is evaluated with the one that is trained on."""
    if problem.draws:
        return False
    theta, (X, y) = _theta(problem), _rows(problem)
    functions, size = functions_of(problem), problem.work_per_row * max(len(X), problem.work_rows)
    grad, work = (np.full(n, np.nan, problem.dtype) for n in (problem.n_params, size))
    given = raw(theta), raw_rows(X), raw_rows(y), functions.words
    loss, accuracy = functions.evaluate(*given, raw(grad), raw(work))
    trained, _ = _loss(problem, theta, X, y)
    near = 256 * np.finfo(problem.dtype).eps * max(1.0, abs(trained))
    _same(abs(loss - trained) < near, True, f"evaluated {loss}, trained {trained}")
    _same(bool(np.isnan(accuracy) or 0.0 <= accuracy <= 1.0), True, f"accuracy is {accuracy}")
    return None


def check_start(problem: DataProblem) -> bool | None:
    """Check that the seed makes the first parameters, all of them; not where they are given."""
    if problem.theta0 is not None:
        return False
    first, again, other = (_theta(problem, seed) for seed in (1, 1, 2))
    _same(first.tobytes(), again.tobytes(), "one seed begins at two places")
    _same(bool(np.isfinite(first).all()), True, "first parameters are not finite")
    _same(bool((first != other).any()), True, "two seeds begin at one place")
    return None


# ---- of landscapes ----


def check_slopes(problem: Landscape) -> None:
    """Compare the gradient with finite differences, at the start and near it."""

    def value_and_grad(at: np.ndarray) -> tuple[float, np.ndarray]:
        value, grad = problem(*at.tolist(), seed=7)
        return value, np.array(grad)

    value = problem(*problem.start.tolist(), seed=7)[0]
    _same(math.isfinite(value), True, f"at the start it is {value}")
    for point in points_near(problem.start):
        wrong = wrong_component(value_and_grad, point)
        _same(wrong, None, f"finite differences say otherwise: {wrong}")


def check_optima(problem: Landscape) -> bool | None:
    """Check that no point near an optimum is lower; not of functions that draw numbers."""
    if problem.seeded or not len(problem.optima):
        return False
    rng = np.random.default_rng(0)
    for optimum in problem.optima:
        lowest = problem(*optimum.tolist())[0]
        for near in optimum + rng.normal(scale=1e-2, size=(32, problem.dim)):
            if problem.bounds is not None:
                near = near.clip(*problem.bounds)
            value = problem(*near.tolist())[0]
            slack = 1e-9 * (1.0 + abs(lowest))
            _same(value >= lowest - slack, True, f"at {near.tolist()} it is {value} < {lowest}")
    return None


# ---- of both ----


def _train(problem: Problem, rates: list[float], workers: int) -> pd.DataFrame:
    """Train it for a few steps."""
    how: dict[str, Any] = {"optimizer": "momentum", "steps": 5, "seed": 3}
    if isinstance(problem, DataProblem):
        how["batch_size"] = min(4, len(problem.X))
    plan, began = check(problem, {"lr": rates}, how), time.perf_counter()
    parts = run_chunks(Collector(plan), workers, began=began, progress=False, stacklevel=3)
    return Table(*parts).to_frame().set_index("lr").drop(columns="trial_id")


def check_company(problem: Problem) -> None:
    """Compare trials alone with those among others, on one core and on all, bit for bit."""
    rates = np.geomspace(1e-4, 1e-2, 21).tolist()
    together = _train(problem, rates, worker_count(-1))
    pd.testing.assert_frame_equal(_train(problem, rates, 1), together, check_exact=True)
    for k in (0, 9, 20):
        alone = _train(problem, rates[k : k + 1], 1)
        pd.testing.assert_frame_equal(alone, together.iloc[k : k + 1], check_exact=True)


def check_pickle(problem: Problem) -> None:
    """Check that a problem that went to a worker trains to the same bits."""
    rates = [1e-3, 1e-2]
    expected = _train(problem, rates, 1)
    for twin in (unpack(pack(problem)), pickle.loads(pack(problem))):
        pd.testing.assert_frame_equal(_train(twin, rates, 1), expected, check_exact=True)


OF_LANDSCAPES: dict[str, Callable[[Any], bool | None]] = {
    "the gradient is the slope": check_slopes,
    "optima are optima": check_optima,
    "alone as in company": check_company,
    "a pickle is the same": check_pickle,
}
CHECKS: dict[str, Callable[[Any], bool | None]] = {
    "writes its gradient and nothing else": check_writes,
    "the gradient is the slope": check_gradient,
    "the loss is a mean": check_mean,
    "evaluates what it trains": check_evaluation,
    "the seed makes the start": check_start,
    "alone as in company": check_company,
    "a pickle is the same": check_pickle,
}
"""By what they say of a problem that passes."""
