"""The training loop once more, in float64 NumPy, and how tests call and compare ours.

Only the keyed random numbers are ours (:mod:`tests.sweeps.common.test_philox` tests them): the
order of rows and the initial parameters. Networks, losses, gradients and updates are written anew.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pandas as pd

from fastopt.rules import RULES
from sweeps import sweep
from sweeps.common.philox import permute
from sweeps.engine.records import RESULTS
from tests.helpers import networks, reference

LOSSES = ["train_loss", "test_loss", "best_loss"]
MEASURED = [*RESULTS, "state"]
REFERENCE = {
    "sgd": reference.sgd,
    "momentum": reference.momentum,
    "nesterov": reference.momentum,
    "adam": reference.adam,
    "adamw": reference.adam,
}
# Roundings of some 50 steps, fed back through the network: far below what a wrong formula changes.
CLOSE = {"rtol": 1e-10, "atol": 1e-13}

run = functools.partial(sweep, progress=False)


def frame(problem, space, **options):
    return run(problem, space, **options).to_frame()


def assert_same_bits(actual, expected, names=MEASURED):
    """Compare what two frames measured, row by row, NaN with NaN."""
    pd.testing.assert_frame_equal(
        taken(actual)[names].reset_index(drop=True),
        taken(expected)[names].reset_index(drop=True),
        rtol=0,
        atol=0,
    )


def taken(frame):
    """Return the frame with the steps that trials took as ``steps``, if those given are an axis."""
    if "steps_taken" not in frame:
        return frame
    return frame.assign(steps=frame["steps_taken"]).drop(columns="steps_taken")


def initial(problem, seed):
    if problem.theta0 is not None:
        return problem.theta0.astype(np.float64)
    theta = np.full(problem.n_params, np.nan)
    problem.init(theta, problem.aux, np.uint64(seed))
    return theta


def order_of(rows, seed, epoch):
    order = np.empty(rows, np.int64)
    permute(order, np.uint64(seed), np.uint64(epoch))
    return order


def batches(rows, batch, steps, seed):
    """The rows of every step, a new order each epoch, the last batch as small as it comes."""
    done = 0
    for epoch in itertools.count():
        order = order_of(rows, seed, epoch)
        for low in range(0, rows, batch):
            if done == steps:
                return
            done += 1
            yield order[low : low + batch]


class Trial:
    """One training run in float64 NumPy: what the engine must compute, written the plain way."""

    def __init__(
        self, problem, optimizer, batch=32, steps=None, epochs=None, seed=0,
        clip_norm=math.inf, init_scale=1.0, **hyper,
    ):  # fmt: skip
        self.problem, self.batch = problem, min(batch, len(problem.X))
        self.per_epoch = math.ceil(len(problem.X) / self.batch)
        self.steps = steps or epochs * self.per_epoch
        self.optimizer, self.seed = optimizer, seed
        self.clip_norm, self.init_scale = clip_norm, init_scale
        kinds = RULES[optimizer].hyper
        self.h = {name: kind.default for name, kind in kinds.items()} | hyper
        self.slots = len(RULES[optimizer].slots)

    def train(self, factor=lambda t: 1.0):
        """Run all steps; ``factor(t)`` scales the learning rate after ``t`` steps."""
        problem, facts = self.problem, networks.facts_of(self.problem)
        theta = self.init_scale * initial(problem, self.seed)
        x = (theta, *[np.zeros(problem.n_params)] * self.slots)
        self.losses, self.sizes, self.grads, self.moves = [], [], [], []
        for rows in batches(len(problem.X), self.batch, self.steps, self.seed):
            loss, g = networks.loss_and_grad(x[0], *facts, problem.X[rows], problem.y[rows])  # type: ignore[call-arg]
            self.losses.append(loss)
            self.sizes.append(len(rows))
            self.grads.append(g)
            g = g * min(1.0, self.clip_norm / (np.linalg.norm(g) + 1e-6))
            before = x[0]
            t = len(self.losses)
            h = self.h | {"lr": self.h["lr"] * factor(t - 1)}
            x = REFERENCE[self.optimizer](h, t, x[0], g, *x[1:])
            self.moves.append(np.linalg.norm(x[0] - before))
        self.theta = x[0]
        return self

    def measured(self):
        """The columns of the frame."""
        facts, found = networks.facts_of(self.problem), {}
        for name, X, y in (
            ("train", self.problem.X, self.problem.y),
            ("test", self.problem.X_test, self.problem.y_test),
        ):
            z = networks.outputs_of(self.theta, *facts[:2], X)[-1]  # type: ignore[call-arg]
            found[f"{name}_loss"] = networks.mean_loss(facts[2], z, y)
            found[f"{name}_accuracy"] = networks.accuracy(facts[2], z, y)
        epochs = range(0, self.steps, self.per_epoch)
        ends = [slice(low, low + self.per_epoch) for low in epochs]
        means = [np.average(self.losses[e], weights=self.sizes[e]) for e in ends]
        return {**found, "best_loss": min(means), "steps": self.steps}
