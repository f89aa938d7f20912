"""Layout of what a chunk of trials reads and writes: each quantity by its name.

What every trial has one of is a NumPy record, one row a trial, which compiled code reads and writes
at ``table[i].name``; what all trials share is a named tuple.

Results stay a matrix: how many columns they have depends on the measures and the coordinates, and
with a record of them each sweep that measures something else would compile a kernel of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastopt.schedules import WIDTH

LOG_SPACED = 0
"""What ``every`` says of checks at log-spaced steps."""

NO_SCHEDULE = (0.0,) * WIDTH
"""As many parameters as every schedule has."""

SETTINGS = np.dtype(
    [
        ("batch", np.int64),  # rows of a minibatch
        ("steps", np.int64),
        ("every", np.int64),  # steps between checks, or LOG_SPACED
        ("schedule", np.int64),  # its kind; its parameters are in a table of their own
        ("seed", np.int64),
        ("shuffle", np.int64),  # of SHUFFLES
        ("patience", np.int64),  # checks without a better score, 0 for no limit
        ("clip_norm", np.float64),  # infinity for none
        ("init_scale", np.float64),
        ("l1", np.float64),  # penalties of the weights
        ("l2", np.float64),
    ]
)
"""What is said of a trial beside the hyperparameters of its rule."""

COUNTERS = np.dtype(
    [
        ("done", np.int64),  # steps
        # Sums over the steps since the last check, where gradients and steps are measured.
        ("gradients", np.int64),
        ("gradient_rows", np.int64),
        ("gradient_norms", np.float64),
        ("spread", np.float64),
        ("moves", np.int64),
        ("move_lengths", np.float64),
        # And always: of the minibatch losses, each times its rows, and of the rows.
        ("loss_sum", np.float64),
        ("rows_seen", np.int64),
        ("checks", np.int64),
        ("best", np.float64),  # score at a check
        ("stale", np.int64),  # checks since the best one
        ("low", np.int64),  # place in the epoch
        ("epoch", np.int64),  # epochs begun
        ("last", np.float64),  # minibatch loss
        ("due", np.int64),  # step of the next check; 0 once the trial ends at one
    ]
)
"""What a trial counts as it goes."""

RESULTS = (
    "train_loss", "train_accuracy", "test_loss", "test_accuracy",
    "best_loss", "steps", "steps_to_target", "diverged_step",
)  # fmt: skip
TRAIN_LOSS, TRAIN_ACCURACY, TEST_LOSS, TEST_ACCURACY = 0, 1, 2, 3
BEST_LOSS, STEPS_DONE, STEPS_TO_TARGET, DIVERGED_STEP = 4, 5, 6, 7

# Metrics a target can be set on; the number is the column of the results it is found in.
METRICS = {name: RESULTS.index(name) for name in RESULTS[:4]}
CURVE = ("step", *RESULTS[:4])


class Watch(NamedTuple):
    """What all trials are watched for."""

    metric: int  # its column of the results
    sign: float  # +1 max, -1 min
    target: float  # NaN for none
    limit: float  # of the loss: above it a trial diverges
    check_train: bool  # which rows are evaluated at checks
    check_test: bool
    check_val: bool
    ends_at_target: bool
    restores_best: bool
    extra: int  # first column of what only some problems have: the four below
    val: int  # column of the loss of the validation rows, -1 without such rows
    n_scores: int  # metrics of the problem
    train_scores: int  # column of the first of them for these rows, -1 for none
    test_scores: int
    val_scores: int
    grad_norm: int  # columns of the results, -1 for what is not measured
    grad_variance: int
    update_norm: int


class Sizes(NamedTuple):
    """Lengths of what a worker allocates."""

    width: int  # of a number of the trial's dtype, in int32
    n_params: int
    batch: int  # rows of the largest
    work: int
    rows: int  # of x: the parameters and the rule's slots
    clock: int
    outputs: tuple[int, int]  # rows of the longest part and outputs of a row, if they are scored
    before: int  # parameters kept from before a step, where it is measured or multiplied


class Kept(NamedTuple):
    """What is kept of paused trials, one row each; no rows when trials run to their end."""

    counters: np.ndarray  # records (n,)
    out: np.ndarray  # float64 (n, k): results before the evaluation at the pause
    clock: np.ndarray  # float64 (n, k)
    mean: np.ndarray  # float64 (n, n_params), where it is measured
    x: np.ndarray  # (n, rows, n_params) of the dtype of the arithmetic
    best: np.ndarray  # (n, n_params): parameters at the best check, where they are restored


class Trials(NamedTuple):
    """Everything a chunk of trials reads and writes, in the order the kernel takes it."""

    h: np.ndarray  # float64 (n, len(rule.hyper))
    settings: np.ndarray  # SETTINGS (n,)
    schedule: np.ndarray  # float64 (n, WIDTH): the schedule's parameters
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    theta0: np.ndarray  # (n_params,) or (0,): draw from the seed
    multipliers: np.ndarray  # (n_params,) or (0,): of the steps of each parameter
    sizes: Sizes
    watch: Watch
    out: np.ndarray  # float64 (n, len(RESULTS) + measures + what the problem has beside)
    state: np.ndarray  # int8 (n,)
    curves: np.ndarray  # float64 (n, points, k): CURVE, and what out has past RESULTS
    until: np.ndarray  # int64 (n,): step to pause at; no rows when trials run to their end
    kept: Kept
    theta: np.ndarray  # (n, n_params): parameters evaluated last; no rows when not asked for


class Scratch(NamedTuple):
    """What one worker reuses for all of its trials."""

    x: np.ndarray  # rows of n_params and some more: theta and the rule's slots
    clock: np.ndarray  # float64
    answer: np.ndarray  # theta to evaluate with, where that is not x[0]
    grad: np.ndarray
    order: np.ndarray
    X: np.ndarray
    y: np.ndarray
    work: np.ndarray
    counters: np.ndarray  # COUNTERS (1,)
    mean: np.ndarray  # float64: mean gradient since the last check, where it is measured
    before: np.ndarray  # parameters before the step, where it is measured or multiplied
    best: np.ndarray  # parameters at the best check, where they are restored
    outputs: np.ndarray  # what the model puts out for the rows of a part


def unpaused(dtype: np.dtype, counters: np.dtype) -> dict[str, Any]:
    """Return the columns of trials that run to their end: without rows, so that they cost nothing.

    >>> columns = unpaused(np.dtype(float), COUNTERS)
    >>> columns["until"].shape, [a.shape for a in columns["kept"]]
    ((0,), [(0,), (0, 0), (0, 0), (0, 0), (0, 0, 0), (0, 0)])
    """
    none, states = np.empty((0, 0)), np.empty((0, 0, 0), dtype)
    kept = Kept(np.empty(0, counters), none, none, none, states, np.empty((0, 0), dtype))
    return {"until": np.empty(0, np.int64), "kept": kept}
