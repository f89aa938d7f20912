"""Layout of trials on a landscape: a block of them runs side by side, one trial a lane.

As in :mod:`sweeps.engine.records`; what a block has of each of its lanes is a record of arrays of
:data:`WIDTH` numbers, so that a loop over lanes reads and writes whole SIMD vectors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sweeps.engine.records import Kept

WIDTH = 32
# Steps between looks at the stop flag and at whether a block has diverged altogether.
STRIDE = 128
NEVER = -1.0  # the step of what has not happened

NUMBERS = np.dtype(
    [
        ("loss", np.float64, WIDTH),
        ("last", np.float64, WIDTH),  # loss that was finite
        ("best", np.float64, WIDTH),  # loss
        ("path", np.float64, WIDTH),  # length
        ("moved", np.float64, WIDTH),  # square of the length of the last step
        ("scale", np.float64, WIDTH),  # the schedule's factor
        ("reached", np.float64, WIDTH),  # step of the target, or NEVER
        ("diverged", np.float64, WIDTH),  # step, or NEVER
        ("clip", np.float64, WIDTH),  # norm, infinity for none
        ("top", np.float64, WIDTH),  # best score at a check
    ]
)
"""What a block has of each lane, in real numbers, before hyperparameters and clock."""

H = NUMBERS.itemsize // 8
"""Place of the hyperparameters among the real numbers; the clock follows them."""

WHOLES = np.dtype(
    [
        ("row", np.int64, WIDTH),  # the trial, -1 once it has ended
        ("source", np.int64, WIDTH),  # the trial; lanes without one share that of the first lane
        ("seed", np.int64, WIDTH),
        ("same", np.int64, WIDTH),  # whether its schedule is that of the lane before
        ("due", np.int64, WIDTH),  # step of the next check
        ("checks", np.int64, WIDTH),
        ("stale", np.int64, WIDTH),  # checks since the best one
    ]
)
"""And in whole ones."""

COUNTERS = np.dtype(
    [
        ("done", np.int64),  # steps
        *((name, np.float64) for name in ("loss", "last", "best", "path", "reached", "top")),
        *((name, np.int64) for name in ("due", "checks", "stale")),
    ]
)
"""What is kept of a paused lane, as above, beside its clock, coordinates and slots."""

RESULTS = (
    "train_loss", "best_loss", "distance", "path_length",
    "steps", "steps_to_target", "diverged_step",
)  # fmt: skip
TRAIN_LOSS, BEST_LOSS, DISTANCE, PATH_LENGTH, STEPS_DONE, STEPS_TO_TARGET, DIVERGED_STEP = range(7)
METRICS = RESULTS[:4]
MEASURES = ("grad_norm", "update_norm")
"""What ``measure=`` of a sweep over a landscape may name, in the order of their columns."""


class LaneWatch(NamedTuple):
    """What all trials are watched for."""

    sign: float  # +1 max, -1 min
    target: float  # NaN for none
    limit: float  # of the loss: above it a trial diverges
    by_distance: bool
    by_best: bool
    ends_at_target: bool
    grad_norm: int  # columns of the results, -1 for what is not measured
    update_norm: int


class LaneSizes(NamedTuple):
    """Lengths of what a worker allocates."""

    rows: int  # the coordinates and the rule's slots
    clock: int


class LaneTrials(NamedTuple):
    """Everything a chunk of landscape trials reads and writes, in the order the kernel takes it."""

    h: np.ndarray  # float64 (n, len(rule.hyper))
    settings: np.ndarray  # SETTINGS (n,)
    schedule: np.ndarray  # float64 (n, 6): the schedule's parameters
    start: np.ndarray  # (n, dim) of the dtype of the arithmetic
    sizes: LaneSizes
    optima: np.ndarray  # float64 (m, dim); no rows when unknown
    bounds: np.ndarray  # (2, dim) of the dtype of the arithmetic: lows, highs
    lanes: np.ndarray  # int64 (blocks * WIDTH,): the trial in each lane, -1 for none
    powers: np.ndarray  # int64: see sweeps.engine.lanes.powers_of
    watch: LaneWatch
    out: np.ndarray  # float64: results, then the final coordinates, then measures
    state: np.ndarray  # int8 (n,)
    curves: np.ndarray  # float64: (n, points) times step, loss, coordinates, measures
    until: np.ndarray  # int64 (n,): step to pause at; no rows when trials run to their end
    kept: Kept


class Lanes(NamedTuple):
    """State of one block.

    ``x`` are rows of ``dim * WIDTH`` numbers: the coordinates where gradients are taken, the rule's
    slots, the gradient, and the coordinates where the loss is measured, which are the first ones
    unless the rule says otherwise. Lane ``k`` of coordinate ``d`` is element ``d * WIDTH + k``.

    The real numbers are one array, because LLVM knows that parts of one do not overlap: with three,
    a step took 5 % longer.
    """

    x: np.ndarray  # of the dtype of the arithmetic
    v: np.ndarray  # float64: NUMBERS, and from H on hyperparameters and clock, WIDTH of each
    r: np.ndarray  # WHOLES (1,)
