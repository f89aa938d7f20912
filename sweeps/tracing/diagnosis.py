"""What is wrong with a training that does not train: one call that runs the usual checks."""

from __future__ import annotations

import dataclasses
import html
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastopt.errors import SpecError
from sweeps.analysis.table import Table
from sweeps.common.frames import pd
from sweeps.engine.columns import find_rule
from sweeps.engine.run_blocks import Problem, worker_count
from sweeps.problems.base import DataProblem, no_rows
from sweeps.problems.losses import LOSSES
from sweeps.problems.target_units import targets_of
from sweeps.running.check import check
from sweeps.running.collect import Collector
from sweeps.running.estimate import refuse_too_large
from sweeps.running.runner import run_chunks
from sweeps.tracing.walks import TrainingPath, follow_training

# Learning rates that are tried, as multiples of the one asked about.
FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0)
# A learning rate is off if another one descends at least so much further.
FURTHER = 1.1
EXAMPLES, EXAMPLE_STEPS = 10, 1000
# Rules of thumb, far from what healthy trainings show.
VANISHED, EXPLODED = 1e-6, 1e3
LEAST_MOVE, MOST_MOVE = 1e-6, 0.3
UNBALANCED, UNEVEN, LARGE = 0.9, 1e3, 100.0

VERDICTS = ("ok", "warning", "wrong")


@dataclass(frozen=True)
class Finding:
    """One check: its name, its verdict (``ok``, ``warning`` or ``wrong``), and what was seen."""

    check: str
    verdict: str
    message: str


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What the checks of :func:`diagnose` found.

    Parameters
    ----------
    title : str
        Problem, optimizer and settings, for people.
    findings : list of Finding
        In the order of the checks.
    state : str
        How the training ended: ``"COMPLETE"`` or ``"DIVERGED"``.
    diverged_step : int or None
        The step at which its loss was first not finite (or above ``diverge_above``).
    last_loss : float
        The last finite loss; NaN if there was none.
    runs : DataFrame
        The trainings at other learning rates, one row each.
    steps : DataFrame
        ``step``, ``loss``, ``grad_norm``, ``update_norm``, ``theta_norm`` of the training itself.

    Examples
    --------
    >>> from sweeps import problems
    >>> found = diagnose(problems.ellipse(), "sgd", lr=1.0, steps=500)
    >>> found.state, found.diverged_step
    ('DIVERGED', 162)
    """

    title: str
    findings: list[Finding]
    state: str
    diverged_step: int | None
    last_loss: float
    runs: pd.DataFrame = field(repr=False)
    steps: pd.DataFrame = field(repr=False)

    @property
    def healthy(self) -> bool:
        """Whether no check found anything wrong."""
        return all(finding.verdict != "wrong" for finding in self.findings)

    def __getitem__(self, check: str) -> Finding:
        """Return the finding of a check by its name."""
        for finding in self.findings:
            if finding.check == check:
                return finding
        names = ", ".join(finding.check for finding in self.findings)
        raise KeyError(f"no check {check!r}; there are {names}")

    def to_frame(self) -> pd.DataFrame:
        """Return ``check``, ``verdict`` and ``message`` of every finding, one row each."""
        frame = pd.DataFrame([dataclasses.asdict(finding) for finding in self.findings])
        return frame.astype({"verdict": pd.CategoricalDtype([*VERDICTS], ordered=True)})

    def __repr__(self) -> str:
        wide = max(len(finding.check) for finding in self.findings)
        lines = [
            f"  {finding.verdict:<8} {finding.check:<{wide}}  {finding.message}"
            for finding in self.findings
        ]
        return "\n".join([f"Diagnosis of {self.title}", *lines])

    def _repr_html_(self) -> str:
        return f"<p>Diagnosis of {html.escape(self.title)}</p>{self.to_frame().to_html()}"


def diagnose(
    problem: Problem,
    optimizer: str = "adam",
    *,
    epochs: int | None = None,
    steps: int | None = None,
    **settings: Any,
) -> Diagnosis:
    r"""Run the checks one would make by hand on a training that does not train.

    * ``finite``: is every loss finite? If not, the first bad step, the last finite loss, and
      whether the parameters, the gradient or the loss function went first.
    * ``descent``: is the loss lower at the end than at the start? If it rises even at a hundredth
      of the learning rate, a sign is wrong somewhere.
    * ``learning rate``: does a learning rate 10 or 100 times higher or lower descend further?
    * ``ten examples``: can the model fit ten rows of its data? If not, it is not the optimizer.
    * ``gradients``: do their norms vanish or explode, and do some parameters never get any?
    * ``updates``: is a step a sensible share of the parameters, about 1e-3?
    * ``data``: constant or unscaled features, values that are not finite, unbalanced labels.

    Parameters
    ----------
    problem : DataProblem or Landscape
        Of a landscape there are no data and no examples to check.
    optimizer : str
        Name in :data:`fastopt.rules.RULES`.
    epochs, steps : int, optional
        Length of the training; 1 000 steps if neither is given.
    **settings
        Hyperparameters, and options of :func:`sweeps.sweep` (``lr``, ``batch_size``, ``seed``,
        ``diverge_above``, ...), each with one value.

    Returns
    -------
    Diagnosis
        Its ``repr`` is the list of findings; ``to_frame()`` has them as rows.

    Raises
    ------
    SpecError, HyperparameterError
        As for :func:`sweeps.sweep`.

    Examples
    --------
    >>> from sweeps import problems
    >>> found = diagnose(problems.ellipse(), "sgd", lr=0.3, steps=300)
    >>> found["learning rate"].verdict, found.state, found.healthy
    ('wrong', 'COMPLETE', False)
    >>> found["learning rate"].message
    'too high: lr 0.03 ends at a loss of 5.78e-07, lr 0.3 at 2.07e+181'

    References
    ----------
    A. Karpathy, *A recipe for training neural networks*, 2019.
    """
    if epochs is None and steps is None:
        steps = 1000
    rule = find_rule(optimizer)
    lr = float(settings.pop("lr", rule.hyper["lr"].default))
    how = {"optimizer": optimizer, "epochs": epochs, "steps": steps, **settings}
    runs = _runs(problem, lr, how)
    path = follow_training(problem, lr=lr, **how)
    own = runs[runs.lr == lr].iloc[0]
    diverged = own.state == "DIVERGED"
    findings = [_finite(own, path), _descent(runs, path), _learning_rate(runs, lr, path)]
    if isinstance(problem, DataProblem):
        findings.append(_ten_examples(problem, lr, how))
    findings += [_gradients(path, own), _updates(path)]
    if isinstance(problem, DataProblem):
        findings += _data(problem)
    shown = ", ".join(f"{name}={value!r}" for name, value in {"lr": lr, **settings}.items())
    return Diagnosis(
        title=f"{problem.name} with {optimizer} ({shown})",
        findings=findings,
        state=str(own.state),
        diverged_step=int(own.diverged_step) if diverged else None,
        last_loss=float(own.train_loss),
        runs=runs,
        steps=path.frame,
    )


def _runs(problem: Problem, lr: float, how: Mapping[str, Any]) -> pd.DataFrame:
    """Train with the learning rate asked about and with others; one row each."""
    rates = [factor * lr for factor in FACTORS]
    if not 0.0 < rates[0] < rates[-1] < math.inf:
        raise SpecError(f"diagnose tries a hundredth and a hundred times of lr; got lr={lr!r}")
    plan, began = check(problem, {"lr": rates}, how, 3), time.perf_counter()
    workers = worker_count(-1)
    refuse_too_large(plan, None, workers)
    parts = run_chunks(Collector(plan), workers, began=began, progress=False, stacklevel=3)
    return Table(*parts).to_frame().drop(columns="trial_id")


def _finite(own: pd.Series, path: TrainingPath) -> Finding:
    if own.state != "DIVERGED":
        return Finding("finite", "ok", f"every loss of {own.steps} steps is finite")
    step, last = int(own.diverged_step), float(own.train_loss)
    before = "it was so from the start" if math.isnan(last) else f"it was {last:.6g} before"
    return Finding(
        "finite",
        "wrong",
        f"DIVERGED at step {step}: the loss is {path.loss_at(step)}; {before}. {path.culprit}",
    )


def _descent(runs: pd.DataFrame, path: TrainingPath) -> Finding:
    """Judge by the lowest learning rate, which should descend a little, and by the best one."""
    first, lowest = path.first_loss, runs.iloc[0]
    if not math.isfinite(first):
        return Finding("descent", "wrong", "the loss is not finite at the start")
    ends = _ends(runs)
    margin = 1e-3 * abs(first)
    if ends.iloc[0] > first + 20.0 * margin and not ends.min() < first - margin:
        message = (
            f"the loss rises from {first:.6g} to {lowest.train_loss:.6g} even at a hundredth of "
            "the learning rate: a sign is wrong (the gradient's, a moment's, or maximize=True)"
        )
        return Finding("descent", "wrong", message)
    own = ends.iloc[len(FACTORS) // 2]
    if not ends.min() < first - margin:
        message = f"no learning rate takes the loss below its start, {first:.6g}"
        return Finding("descent", "wrong", message)
    if not own < first - margin:
        shown = f"ends at {own:.6g}" if math.isfinite(own) else "diverges"
        return Finding("descent", "wrong", f"the loss starts at {first:.6g} and {shown}")
    return Finding("descent", "ok", f"the loss falls from {first:.6g} to {own:.6g}")


def _ends(runs: pd.DataFrame) -> pd.Series:
    """Return final losses; infinite for what diverged."""
    return runs.train_loss.where(runs.state == "COMPLETE", math.inf).fillna(math.inf)


def _learning_rate(runs: pd.DataFrame, lr: float, path: TrainingPath) -> Finding:
    ends = _ends(runs)
    if not math.isfinite(path.first_loss):
        return Finding("learning rate", "warning", "without a loss at the start, none is better")
    gains = path.first_loss - ends
    own, best = gains[runs.lr == lr].iloc[0], int(gains.argmax())
    if gains.iloc[best] > max(FURTHER * own, own + 1e-9 * abs(path.first_loss)):
        found, now = runs.lr.iloc[best], ends[runs.lr == lr].iloc[0]
        here = f"at {now:.3g}" if math.isfinite(now) else "in divergence"
        message = (
            f"too {'high' if found < lr else 'low'}: lr {found:.3g} ends at a loss of "
            f"{ends.iloc[best]:.3g}, lr {lr:.3g} {here}"
        )
        verdict = "wrong" if not own > 0.5 * gains.iloc[best] else "warning"
        return Finding("learning rate", verdict, message)
    if not own > 0.0:
        return Finding("learning rate", "warning", "no learning rate that was tried descends")
    tried = f"{runs.lr.min():.3g} to {runs.lr.max():.3g}"
    return Finding("learning rate", "ok", f"none of those from {tried} descends much further")


def _ten_examples(problem: DataProblem, lr: float, how: Mapping[str, Any]) -> Finding:
    """Train on ten rows alone, full batch, with a choice of learning rates."""
    name = "ten examples"
    rows = np.unique(np.linspace(0, len(problem.X) - 1, EXAMPLES).astype(int))
    part = dataclasses.replace(
        problem,
        X=problem.X[rows],
        y=problem.y[rows],
        X_test=no_rows(problem.X),
        y_test=no_rows(problem.y),
    )
    options = {k: v for k, v in how.items() if k not in ("epochs", "metric", "mode", "target")}
    options |= {"steps": EXAMPLE_STEPS, "batch_size": len(rows)}
    runs = _runs(part, lr, options)
    first = follow_training(part, lr=lr, **{**options, "steps": 1}).first_loss
    ends = _ends(runs).to_numpy()
    fitted = np.where(runs.train_accuracy.isna(), ends <= 0.1 * first, runs.train_accuracy == 1.0)
    # The learning rate asked about, if it fits the rows.
    own = len(FACTORS) // 2
    best = own if fitted[own] else int(np.argmin(np.where(fitted, -math.inf, ends)))
    end, accuracy = ends[best], runs.train_accuracy.iloc[best]
    if not math.isfinite(end):
        return Finding(name, "wrong", f"{len(rows)} rows alone diverge at every learning rate")
    seen = f"a loss of {end:.3g} after {EXAMPLE_STEPS} steps at lr {runs.lr.iloc[best]:.3g}"
    if fitted[best]:
        return Finding(name, "ok", f"{len(rows)} rows alone are fitted: {seen}")
    hits = "" if math.isnan(accuracy) else f", {accuracy:.0%} of them right"
    if problem.n_params <= len(rows):
        message = f"{problem.n_params} parameters may be too few for {len(rows)} rows: {seen}{hits}"
        return Finding(name, "warning", message)
    message = (
        f"cannot fit {len(rows)} rows alone: {seen}{hits}. Look at the model, the loss and its "
        "gradient before the optimizer"
    )
    return Finding(name, "wrong", message)


def _gradients(path: TrainingPath, own: pd.Series) -> Finding:
    norms = path.frame.grad_norm.to_numpy()
    finite = norms[np.isfinite(norms)]
    if not finite.size or finite[0] == 0.0:
        return Finding("gradients", "wrong", "the first gradient is zero or not finite")
    first, middle, most = finite[0], float(np.median(finite)), finite.max()
    last = float(np.median(finite[-max(1, len(finite) // 10) :]))
    seen = f"norms {first:.3g} at the start, {middle:.3g} in the middle, {last:.3g} at the end"
    descended = path.frame.loss.iloc[-1] < 0.5 * path.first_loss
    if not np.isfinite(norms).all() or most > EXPLODED * max(first, middle):
        return Finding("gradients", "wrong", f"exploding: {seen}, {most:.3g} at most")
    if last < VANISHED * first and not descended:
        return Finding("gradients", "wrong", f"vanishing: {seen}, and the loss is still high")
    if path.dead > 0.0:
        message = f"{path.dead:.0%} of the parameters never get a gradient (dead units?); {seen}"
        return Finding("gradients", "warning" if path.dead < 0.5 else "wrong", message)
    return Finding("gradients", "ok", seen)


def _updates(path: TrainingPath) -> Finding:
    with np.errstate(all="ignore"):
        shares = (path.frame.update_norm / path.frame.theta_norm).to_numpy()
    shares = shares[np.isfinite(shares)]
    if not shares.size:
        return Finding("updates", "warning", "no step left finite parameters")
    share = float(np.median(shares))
    seen = f"a step moves the parameters by {share:.2g} of their size"
    if share > MOST_MOVE:
        return Finding("updates", "warning", f"{seen}: they jump about")
    if share < LEAST_MOVE:
        return Finding("updates", "warning", f"{seen}: they stand still")
    return Finding("updates", "ok", seen)


def _data(problem: DataProblem) -> list[Finding]:
    X, y = problem.X.reshape(len(problem.X), -1), problem.y
    for name, a in (("X", X), ("y", y.reshape(len(y), -1))):
        if not np.isfinite(a).all():
            row, column = np.argwhere(~np.isfinite(a))[0]
            return [Finding("data", "wrong", f"{name}[{row}, {column}] is {a[row, column]}")]
    found, deviations = [], X.std(axis=0, dtype=np.float64)
    constant = np.flatnonzero(deviations == 0.0)
    if constant.size:
        shown = ", ".join(map(str, constant[:5])) + (", ..." if constant.size > 5 else "")
        found.append(f"{constant.size} of {X.shape[1]} features are constant ({shown})")
    spread = deviations[deviations > 0.0]
    if spread.size and spread.max() > UNEVEN * spread.min():
        message = f"features are {spread.max() / spread.min():.2g} times apart in scale"
        found.append(f"{message}: standardize them")
    loss = problem.options.get("loss")
    if loss in LOSSES and LOSSES[loss].link == "identity" and problem.target_scale is None:
        size = float(np.abs(targets_of(problem, y)).mean())
        if size > LARGE:
            found.append(f"targets are about {size:.2g} in size: standardize_target=True")
    if y.dtype.kind in "iu" and y.ndim == 1:
        counts = np.unique(y, return_counts=True)[1]
        if counts.max() > UNBALANCED * len(y):
            found.append(f"{counts.max() / len(y):.0%} of the labels are of one class")
    if not found:
        return [Finding("data", "ok", f"{len(X)} rows of {X.shape[1]} features, all in order")]
    return [Finding("data", "warning", message) for message in found]
