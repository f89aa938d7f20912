"""The initial parameters and the minibatches of one trial, outside of the sweep's kernel."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fastopt.compile import kernel
from fastopt.machine.calls import raw, raw_rows
from sweeps.engine.block import Block
from sweeps.engine.callees import functions_of, ordering
from sweeps.engine.monitoring import clipping
from sweeps.engine.records import Trials
from sweeps.problems.base import DataProblem


def call_template(function: Callable) -> Callable:
    """Template of a kernel that only calls ``function``."""
    return lambda *args: function(*args)


def clip_gradient(block: Block, grad: np.ndarray) -> np.ndarray:
    """Return the gradient, clipped as the trial clips it."""
    limit = float(block.trials.settings[0]["clip_norm"])
    if limit == math.inf:
        return grad
    clipped = grad.copy()
    kernel(clipping)(clipped, limit)
    return clipped


def initial_params(problem: DataProblem, trials: Trials) -> np.ndarray:
    """Return the initial parameters of the first of these trials, ``(n_params,)``."""
    theta = np.zeros(problem.n_params, problem.dtype)
    if problem.theta0 is None:
        functions = functions_of(problem)
        functions.init(raw(theta), functions.words, np.uint64(trials.settings[0]["seed"]))
    else:
        theta[:] = problem.theta0
    scale = float(trials.settings[0]["init_scale"])
    return (theta.astype(np.float64) * scale).astype(problem.dtype)


class Minibatches:
    """The minibatches of one trial, in its order, and their gradients."""

    def __init__(self, problem: DataProblem, block: Block) -> None:
        settings = block.trials.settings[0]
        self.problem, self.batch = problem, int(settings["batch"])
        self.kind, self.seed = settings["shuffle"], settings["seed"]
        self.order = np.empty(len(problem.X), np.int64)
        self.work = np.empty(block.trials.sizes.work, problem.dtype)
        self.functions = functions_of(problem)
        self.low, self.epoch, self.size, self.step = len(problem.X), 0, 0, 0

    def next(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return loss and gradient of the next minibatch."""
        problem, rows = self.problem, len(self.problem.X)
        X, y = problem.X, problem.y
        if self.low >= rows:
            if self.batch < rows:
                kernel(ordering)(self.order, self.kind, self.seed, self.epoch)
            self.low, self.epoch = 0, self.epoch + 1
        high = min(self.low + self.batch, rows)
        if high - self.low < rows:
            chosen = self.order[self.low : high]
            X, y = X[chosen], y[chosen]
        self.low = high
        self.size, self.step = len(X), self.step + 1
        grad, drawn_by = np.empty_like(theta), (np.uint64(self.seed), self.step)
        f, given = self.functions, (raw(theta), raw_rows(X), raw_rows(y))
        return f.loss(*given, f.words, raw(grad), raw(self.work), *drawn_by), grad
