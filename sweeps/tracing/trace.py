"""Every internal of one trial at every step: gradients, slots, corrected moments, updates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastopt.compile import kernel
from fastopt.machine.many import single
from fastopt.rules.base import begin
from fastopt.rules.clocks import new_clock
from fastopt.schedules import SCHEDULES, factor
from sweeps.common.frames import pd
from sweeps.common.names import refuse_repeated
from sweeps.common.states import State
from sweeps.engine.block import Block
from sweeps.engine.callees import at_lr
from sweeps.engine.multipliers import rescaling
from sweeps.engine.plan import Plan
from sweeps.engine.run_blocks import ONE_BLAS_THREAD, Problem, compile_block, run_together
from sweeps.problems.base import DataProblem
from sweeps.running.check import check
from sweeps.running.estimate import refuse_too_large
from sweeps.tracing.minibatches import Minibatches, call_template, clip_gradient, initial_params

CORRECTED = {"exp_avg": "m_hat", "exp_avg_sq": "v_hat"}
"""What papers call the bias-corrected value of a slot; other slots add ``_hat`` to their name."""

CONSTANT = list(SCHEDULES).index("constant")


def trace(
    problem: Problem,
    optimizer: str = "adam",
    *,
    steps: int | None = None,
    vectors: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    r"""Run one trial and return every internal at every step.

    Parameters
    ----------
    problem : DataProblem or Landscape
    optimizer : str
        Name in :data:`fastopt.rules.RULES`.
    steps : int, optional
        Training steps; data problems take ``epochs=`` instead, too.
    vectors : bool
        Data problems only: columns for every parameter (``theta_0``, ``grad_0``, ...), too.
    **settings
        Hyperparameters, and options of :func:`sweeps.sweep` (``seed``, ``batch_size``,
        ``schedule``, ``start_x``, ``diverge_above``, ...).

    Returns
    -------
    pandas.DataFrame
        One row a step. Of a landscape with coordinates ``x``, ``y``, row t, counted from 0, tells
        the state after t steps:

        * ``step``, ``loss``, ``x``, ``y``: those of the trial that ``sweep`` runs, bit for bit,
          because that trial runs and records them;
        * ``grad_x``: the gradient there, which the next step will use;
        * ``update_x``: the move that led there (NaN at the start), ``lr`` its scheduled rate;
        * ``exp_avg_x``, ...: every slot of the rule under torch's name; ``exp_avg`` is the
          papers' m, ``exp_avg_sq`` their v, ``momentum_buffer`` the velocity;
        * ``m_hat_x``, ``v_hat_x``: slots over :math:`1 - \beta^t`, where the rule corrects them;
        * ``effective_lr_x``: :math:`|\mathrm{update}| / |\mathrm{direction}|`, where the
          direction is m_hat if the rule has one, which makes it
          :math:`\alpha / (\sqrt{\hat v} + \epsilon)` for Adam, and otherwise the gradient that
          the step used; NaN for a direction of zero;
        * ``grad_norm``, ``update_norm``: Euclidean.

        Of a data problem, row t, counted from 1, tells of step t: ``loss`` and ``grad_norm`` of
        its minibatch before it; ``update_norm``, ``theta_norm``, ``exp_avg_norm``, ... after it;
        ``effective_lr`` is the quotient of norms. ``test_loss`` and ``test_accuracy`` are those
        after the step, if there are test rows.

        A trial that diverges ends with the row of the first loss that is not finite or too large.
        ``.attrs["state"]`` tells how it ended, ``.attrs["final"]`` what the sweep's frame says,
        ``.attrs["exact"]`` whether every loss has the bits that the trial in the sweep has.

    Raises
    ------
    SpecError, HyperparameterError
        As for :func:`sweeps.sweep`.

    Notes
    -----
    The trial runs in the kernel of the sweep. Gradients and slots are then computed along its path
    by the kernels that the optimizer classes use, so nothing is a second version of a formula.
    Values that the sweep does not report, such as slots, agree with its registers to rounding.

    Examples
    --------
    >>> from sweeps import problems
    >>> frame = trace(problems.ellipse(), "adam", lr=0.1, steps=2)
    >>> frame[["step", "x", "grad_x", "exp_avg_x", "m_hat_x"]].round(2)
       step     x  grad_x  exp_avg_x  m_hat_x
    0     0  10.0    10.0       0.00      NaN
    1     1   9.9     9.9       1.00    10.00
    2     2   9.8     9.8       1.89     9.95
    """
    settings = {"optimizer": optimizer, "steps": steps, **settings}
    return history(check_one_trial(problem, settings, 2), 0, vectors)


def check_one_trial(problem: Problem, settings: Mapping[str, Any], stacklevel: int) -> Plan:
    """Check a sweep of one trial, and that its model fits in memory; settings as for a sweep."""
    plan = check(problem, {}, settings, stacklevel + 1)
    refuse_too_large(plan, None, 1)
    return plan


def run_one_trial(plan: Plan, i: int, steps: int | None = None, **changes: Any) -> Block:
    """Run trial ``i`` of a sweep by itself; return its block, of one row, with the results.

    ``i``: trial number. ``steps``: end there, with no regard to patience. ``**changes``: other
    options than those of the sweep, such as ``curves=True``.
    """
    again = plan.varied(options=dataclasses.replace(plan.options, **changes))
    (block,) = again.blocks(np.array([i]))
    if steps is not None:
        block.trials.settings["steps"], block.trials.settings["patience"] = steps, 0
    compile_block(block)
    if not run_together([[block]], 1, lambda cost, done: None):
        raise KeyboardInterrupt
    return block


def history(plan: Plan, i: int, vectors: bool = False, ran: Block | None = None) -> pd.DataFrame:
    """Return the :func:`trace` of trial ``i`` of a sweep.

    * ``plan``: the checked sweep.
    * ``i``: trial number.
    * ``vectors``: as for :func:`trace`.
    * ``ran``: from ``alone(plan, i)``, if that is known.
    """
    ran = run_one_trial(plan, i) if ran is None else ran
    final = dict(zip(plan.results, ran.trials.out[0].tolist()))
    # Checked after every step, the trial could end earlier, by its patience or its target.
    block = run_one_trial(
        plan, i, int(final["steps"]), curves=True, eval_every=1, stop_at_target=False
    )
    curve = block.trials.curves[0]
    curve = curve[~np.isnan(curve[:, 0])]
    with np.errstate(all="ignore"):
        if isinstance(plan.problem, DataProblem):
            frame = _data_rows(plan, block, curve, vectors)
        else:
            frame = _landscape_rows(plan, block, curve)
    frame.attrs["state"] = State(block.trials.state[0]).name
    frame.attrs["final"] = final
    return frame


class Walk:
    """The rule of one trial on flat arrays, stepped by the kernel of the optimizer classes."""

    def __init__(self, block: Block, theta: np.ndarray) -> None:
        trials, rule = block.trials, block.rule
        self.rule, self.h = rule, tuple(trials.h[0].tolist())
        self.kind, self.a = int(trials.settings[0]["schedule"]), tuple(trials.schedule[0].tolist())
        self.multipliers = getattr(trials, "multipliers", theta[:0])
        first = self.hyper_at(0)
        self.clock = new_clock(rule, first)
        self.x = (theta, *(np.empty_like(theta) for _ in rule.slots))
        for source, slot in zip(rule.starts[1:], self.x[1:]):
            begin(source, first, theta, slot)
        self.hyper, self.grad = np.array([first]), np.empty_like(theta)
        self.launch = single(rule, self.hyper, self.clock[None], self.grad, self.x)
        self.lr = math.nan
        self.update = np.full_like(theta, np.nan)
        self.direction = np.full_like(theta, np.nan)

    def step(self, t: int, grad: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Take step ``t + 1`` with this gradient, and project it to the bounds."""
        self.hyper[0], self.grad[:] = self.hyper_at(t), grad
        before = self.x[0].copy()
        self.launch.run()
        if self.multipliers.size:
            kernel(rescaling)(before, self.x[0][None], self.multipliers)
        if bounds is not None:
            np.clip(self.x[0], *bounds, out=self.x[0])
        self.lr, self.update = float(self.hyper[0, 0]), self.x[0] - before
        self.direction = self.quantities.get("m_hat", grad).copy()

    def hyper_at(self, t: int) -> tuple[float, ...]:
        """Return the hyperparameters of step ``t + 1``."""
        if self.kind == CONSTANT:
            return at_lr(self.h, 1.0)
        # Compiled, because the trial's is: FMAs change the last bit of a cosine schedule.
        return at_lr(self.h, kernel(call_template, factor)(self.kind, float(t), self.a))

    @property
    def eval_params(self) -> np.ndarray:
        """The parameters to evaluate with."""
        answer = self.rule.answer
        if answer is None:
            return self.x[0]
        return np.array([answer(self.h, x) for x in zip(*self.x)], self.x[0].dtype)

    @property
    def quantities(self) -> dict[str, np.ndarray]:
        """Slots by torch's name, and bias-corrected ones."""
        slots, powers = dict(zip(self.rule.slots, self.x[1:])), self.rule.powers
        hats = {
            CORRECTED.get(name, f"{name}_hat"): slots[name] / (1.0 - self.clock[powers[decay]])
            for name, decay in self.rule.corrected.items()
        }
        return {**slots, **hats}

    @property
    def effective_lr(self) -> np.ndarray:
        """How far each parameter moved, over its direction."""
        sizes = np.abs(self.direction)
        return np.where(sizes > 0.0, np.abs(self.update) / sizes, np.nan)


def _landscape_rows(plan: Plan, block: Block, curve: np.ndarray) -> pd.DataFrame:
    problem, trials = plan.problem, block.trials
    curve = curve[:, : 2 + problem.dim]
    walk = Walk(block, trials.start[0].copy())  # type: ignore[attr-defined]
    value_and_grad = _gradient(problem, block)
    diverged = int(trials.state[0]) == State.DIVERGED
    rows = []
    for k in range(len(curve) + diverged):
        known = k < len(curve)
        if known and walk.rule.answer is None:
            walk.x[0][:] = curve[k, 2:]
        loss, grad = value_and_grad(walk.x[0], k)
        if walk.rule.answer is not None and not known:
            loss, _ = value_and_grad(walk.eval_params, k)
        rows.append(
            {
                "loss": curve[k, 1] if known else loss,
                "point": curve[k, 2:] if known else walk.eval_params.copy(),
                "grad": grad,
                "update": walk.update,
                "lr": walk.lr,
                **_copy_slots(walk, k),
                "effective_lr": walk.effective_lr,
            }
        )
        walk.step(k, clip_gradient(block, grad), problem.bounds)
    columns: list[tuple[str, np.ndarray]] = [("step", np.arange(len(rows)))]
    for name in rows[0]:
        table = np.array([row[name] for row in rows], np.float64)
        prefix = "" if name == "point" else f"{name}_"
        flat = table.ndim == 1
        columns += [(name, table)] if flat else zip((prefix + x for x in problem.names), table.T)
    for name in ("grad", "update"):
        columns.append((f"{name}_norm", np.array([np.linalg.norm(row[name]) for row in rows])))
    refuse_repeated("coordinate", (name for name, _ in columns), "the history of a trial")
    frame = pd.DataFrame(dict(columns))
    frame.attrs["exact"] = True
    return frame


def _copy_slots(walk: Walk, step: int) -> dict[str, np.ndarray]:
    """Copy the slots, and the corrected ones: before the first step these are NaN."""
    kept = {name: a.copy() for name, a in walk.quantities.items()}
    for name in kept:
        if step == 0 and name not in walk.rule.slots:
            kept[name][:] = math.nan
    return kept


def _gradient(problem: Any, block: Block) -> Callable[[np.ndarray, int], tuple]:
    """Return ``value_and_grad(x, t)`` of a landscape, compiled, for the seed of the trial."""
    run, dtype = kernel(call_template, problem.value_and_grad), problem.dtype.type
    seed = np.uint64(block.trials.settings[0]["seed"])

    def value_and_grad(x: np.ndarray, t: int) -> tuple[float, np.ndarray]:
        grad = np.empty_like(x)
        if problem.vector:
            return run(x.copy(), grad, dtype(t), seed, problem.aux), grad
        value, grad[:] = run(tuple(x), dtype(t), seed, problem.aux)
        return value, grad

    return value_and_grad


def _data_rows(plan: Plan, block: Block, curve: np.ndarray, vectors: bool) -> pd.DataFrame:
    problem, trials = block.problem, block.trials
    walk = Walk(block, initial_params(problem, trials))
    batches = Minibatches(problem, block)
    limit = min(plan.options.diverge_above, np.finfo(np.float64).max)
    rows: list[dict[str, Any]] = []
    with ONE_BLAS_THREAD:
        for step in range(1, int(trials.settings[0]["steps"]) + 1):
            loss, grad = batches.next(walk.x[0])
            row = {"step": step, "batch_size": batches.size, "loss": loss, "grad": grad}
            if abs(loss) <= limit:
                walk.step(step - 1, clip_gradient(block, grad))
                row |= {"theta": walk.x[0].copy(), "update": walk.update, "lr": walk.lr}
                row |= _copy_slots(walk, step)
            rows.append(_row_of_norms(row, walk, vectors))
            if not abs(loss) <= limit:
                break
    frame = pd.DataFrame.from_records(rows)
    for k, name in enumerate(plan.curve[2:], start=2):
        if np.isnan(curve[:, k]).all():
            continue
        frame[name] = pd.Series(curve[:, k]).reindex(frame.index)
    known = frame.loss.to_numpy()[: len(curve)]
    size = frame.batch_size.to_numpy()[: len(curve)]
    # The trial records the mean over the rows since the last check, here those of one step.
    frame.attrs["exact"] = np.array_equal(known * size / size, curve[:, 1])
    return frame


def _row_of_norms(row: Mapping[str, Any], walk: Walk, vectors: bool) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in row.items():
        if not isinstance(value, np.ndarray):
            kept[name] = value
            continue
        kept[f"{name}_norm"] = float(np.linalg.norm(value.astype(np.float64)))
        if vectors:
            kept |= {f"{name}_{j}": number for j, number in enumerate(value.tolist())}
    if "update_norm" in kept:
        size = float(np.linalg.norm(walk.direction.astype(np.float64)))
        kept["effective_lr"] = kept["update_norm"] / size if size > 0.0 else math.nan
    return kept
