"""Follow one training step by step: norms, what first became infinite or NaN, dead units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeps.common.frames import pd
from sweeps.engine.run_blocks import ONE_BLAS_THREAD, Problem
from sweeps.problems.base import DataProblem
from sweeps.tracing.minibatches import Minibatches, clip_gradient, initial_params
from sweeps.tracing.trace import Walk, check_one_trial, trace

# Steps that are followed at most: each costs some 50 us of Python.
MOST_STEPS = 5000


@dataclass(frozen=True, eq=False)
class TrainingPath:
    """The steps of one training.

    ``dead``: share of parameters whose gradient was zero at every step. ``culprit``: if the loss is
    not finite: what became infinite or NaN first, in words.
    """

    frame: pd.DataFrame
    dead: float
    culprit: str

    @property
    def first_loss(self) -> float:
        """The loss at the start."""
        return float(self.frame.loss.iloc[0])

    def loss_at(self, step: int) -> str:
        """Return the loss at a step, in words."""
        rows = self.frame[self.frame.step == step]
        return f"{rows.loss.iloc[0]:.6g}" if len(rows) else "not finite or above the limit"


def follow_training(problem: Problem, optimizer: str, **settings: Any) -> TrainingPath:
    """Run one training again, step by step; settings as for :func:`sweeps.trace`.

    >>> from sweeps import problems
    >>> follow_training(problems.ellipse(), "sgd", lr=0.05, steps=2).frame.round(4)
       step     loss  grad_norm  update_norm  theta_norm
    0     0  55.0000    14.1421          NaN     10.0499
    1     1  46.3750    10.7355       0.7071      9.5131
    2     2  41.0378     9.3649       0.5368      9.0285
    """
    if isinstance(problem, DataProblem):
        return _follow_minibatches(problem, optimizer, settings)
    rows = trace(problem, optimizer, **settings)
    names = list(problem.names)
    frame = rows[["step", "loss", "grad_norm", "update_norm"]].copy()
    points = rows[names].to_numpy()
    frame["theta_norm"] = [_norm(point) for point in points]
    grads = rows[[f"grad_{x}" for x in names]].to_numpy()
    dead = float((grads == 0.0).all(axis=0).mean())
    end = rows.attrs["state"] == "DIVERGED"
    return TrainingPath(frame, dead, _culprit(points[-1], grads[-1]) if end else "")


def _follow_minibatches(
    problem: DataProblem, optimizer: str, settings: dict[str, Any]
) -> TrainingPath:
    plan = check_one_trial(problem, {"optimizer": optimizer, **settings}, 3)
    (block,) = plan.blocks(np.array([0]))
    problem = block.problem
    walk = Walk(block, initial_params(problem, block.trials))
    batches = Minibatches(problem, block)
    limit = min(plan.options.diverge_above, np.finfo(np.float64).max)
    alive = np.zeros(problem.n_params, bool)
    rows, culprit = [], ""
    with ONE_BLAS_THREAD, np.errstate(all="ignore"):
        for step in range(1, min(int(block.trials.settings[0]["steps"]), MOST_STEPS) + 1):
            loss, grad = batches.next(walk.x[0])
            theta = _norm(walk.x[0])
            alive |= grad != 0.0
            if not abs(loss) <= limit:
                rows.append((step, loss, _norm(grad), math.nan, theta))
                culprit = _culprit(walk.x[0], grad)
                break
            walk.step(step - 1, clip_gradient(block, grad))
            rows.append((step, loss, _norm(grad), _norm(walk.update), theta))
    names = ["step", "loss", "grad_norm", "update_norm", "theta_norm"]
    return TrainingPath(pd.DataFrame(rows, columns=names), 1.0 - float(alive.mean()), culprit)


def _norm(a: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        return float(np.linalg.norm(a.astype(np.float64)))


def _culprit(theta: np.ndarray, grad: np.ndarray) -> str:
    """Say whether parameters and gradient are finite where the loss is not."""
    if not np.isfinite(theta).all():
        return f"Parameter {int(np.argmin(np.isfinite(theta)))} is not finite either"
    largest = f"The parameters are finite (|theta| = {_norm(theta):.3g})"
    if not np.isfinite(grad).all():
        return f"{largest}, their gradient is not"
    return f"{largest} and so is their gradient: the loss function itself breaks, as log(0) does"
