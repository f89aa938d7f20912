"""From the trials of a sweep to models."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.analysis.folds import best_row, trials_by_settings
from sweeps.analysis.table import Table
from sweeps.common.frames import as_python
from sweeps.common.names import steps_taken
from sweeps.common.states import State
from sweeps.engine.block import Block
from sweeps.engine.chunks import run_blocks
from sweeps.engine.columns import accepts, missing, schedule_parameters
from sweeps.engine.options import DEFAULTS
from sweeps.engine.plan import Plan
from sweeps.extend import plan_of
from sweeps.models.columns import scaling_of
from sweeps.models.ensemble import Ensemble
from sweeps.models.model import Model
from sweeps.models.network import Network
from sweeps.models.parameters import run_again, with_room
from sweeps.models.transformers import columns_of
from sweeps.problems.base import DataProblem
from sweeps.problems.losses import LOSSES
from sweeps.problems.networks import LAYERS
from sweeps.problems.target_units import in_target_units
from sweeps.running.check import check


def model_of(
    problem: DataProblem, theta: np.ndarray, about: Mapping[str, Any] | None = None
) -> Model:
    """Return the model of a network with these parameters.

    Parameters
    ----------
    problem : DataProblem
        From :func:`sweeps.problems.mlp` or a relative.
    theta : ndarray, shape (n_params,)
    about : dict, optional
        What is told of it beside the name of the problem.

    Raises
    ------
    SpecError
        It is not a network of ours.

    Examples
    --------
    >>> from sweeps import problems
    >>> model_of(problems.iris(hidden=(8,)), np.zeros(67, np.float32)).predict(np.ones((1, 4)))
    array([0])
    """
    options = problem.options
    if options.get("loss") not in LOSSES or "activation" not in options:
        raise SpecError(
            f"{problem.name} is not one of our networks, so what its parameters predict is known "
            "to its functions only: result.trials_weights([trial_id]) returns the parameters"
        )
    sizes, loss = tuple(problem.aux[0].tolist()), options["loss"]
    constants = dict(zip(LOSSES[loss].constants, problem.aux[2].tolist()))
    flat = np.array(theta, problem.dtype)
    if problem.target_mean is not None and problem.target_scale is not None:
        units = problem.target_mean, problem.target_scale
        flat = in_target_units(flat, problem.penalised[-2:], *units, LOSSES[loss].link)
    layers = {name: options[name] for name in LAYERS}
    layers["blocks"] = tuple(problem.aux[3].tolist()) if len(problem.aux) > 3 else ()
    network = Network(flat, sizes, options["activation"], loss, constants, **layers)
    before = problem.preprocess
    if before is None and problem.mean is not None and problem.scale is not None:
        before = scaling_of(problem.mean, problem.scale)
    recipe = problem.recipe
    if recipe is not None and recipe.embed and recipe.kinds is None:
        before = columns_of(before)  # in float64, as in training, whatever it is given
    before = copy.deepcopy(before)  # who fits or sets it anew changes no other model
    facts = {"problem": problem.name, **(about or {})}
    names = problem.feature_names
    if names is None:  # what was fitted to a table knows its columns
        names = getattr(before, "feature_names_in_", None)
    return Model(
        network,
        classes=problem.classes,
        preprocess=before,
        feature_names=names,
        target_name=problem.target_name,
        kinds=None if recipe is None else recipe.kinds,
        about=facts,
    )


def best_model(result: Table, trial_id: int | None = None, *, refit: bool = False) -> Model:
    """Return the trained model of a trial, which runs once more, to the same bits.

    Parameters
    ----------
    trial_id : int, optional
        A number of the column ``trial_id``; by default the best trial's. With folds or several
        seeds it is one of the setting that is best on average (``best_params_``): of the first
        fold, the best seed.
    refit : bool
        Train it anew, on training and validation rows together, for as many epochs (or steps) as
        the trial took; the preprocessing is fitted to them, too. Test rows judge it.

    Returns
    -------
    Model
        Its accuracy on the rows of the problem is that of the frame, exactly, its metrics of a
        standardized target but for rounding, as its last layer has the units in; ``about`` has the
        axes and figures of the trial, with ``refit=True`` of the one it was refitted from.

    Raises
    ------
    SpecError
        There is no such trial, it diverged or FAILED, the problem is not one of our networks, or
        has no validation rows to refit on, or the result does not know its problem.

    Warns
    -----
    SweepWarning
        The trial's figures are not those of the sweep: its problem has changed meanwhile.

    Examples
    --------
    >>> from sweeps import problems, sweep
    >>> result = sweep(problems.iris(hidden=(8,)), {"lr": [0.01, 0.1]}, epochs=20)
    >>> result.model()
    Model of iris: 4-8-3 relu, 67 parameters, float32; softmax_cross_entropy, 3 classes
    """
    plan = plan_of(result, "model")
    if trial_id is None:
        trial_id = int(result.columns["trial_id"][best_row(result)])
    (model,) = _models(result, [trial_id], "model")
    if not refit:
        return model
    problem, theta = _refit_trial(result, plan, int(trial_id), result._row_of(trial_id))
    return model_of(problem, theta, {**model.about, "refitted_rows": len(problem.X)})


def _refit_trial(result: Table, plan: Plan, i: int, row: int) -> tuple[DataProblem, np.ndarray]:
    """Return the problem with its validation rows among those trained on, and what it came to.

    The preprocessing is fitted to all of these rows, too. The trial takes as many epochs, or steps,
    as it took in the sweep, where validation rows may have ended it early: there are none now.
    """
    (block,) = plan.blocks(np.array([i]), results=False)
    problem = block.problem.refitted()
    alone = check(problem, {}, _settings_of_trial(plan, block, i))
    (again,) = alone.blocks(np.array([0]))
    settings, full = again.trials.settings, int(block.trials.settings["steps"][0])
    share = float(result.columns[steps_taken(result.columns)][row]) / full
    settings["steps"] = np.maximum(1, np.rint(share * settings["steps"])).astype(np.int64)
    settings["seed"] = block.trials.settings["seed"]  # where it was mixed of all that it was
    again = with_room(again)
    if len(run_blocks(alone, [again])) == 0:
        raise KeyboardInterrupt
    theta = again.trials.theta[0]
    if not np.isfinite(theta).all():
        raise SpecError(
            f"model(refit=True): trial {i} diverges where it trains on its validation rows as "
            "well; take another one, or the model without refit"
        )
    return problem, theta


def _settings_of_trial(plan: Plan, block: Block, i: int) -> dict[str, Any]:
    """Return the keywords of a sweep of this trial alone, chosen by nothing."""
    cells = {name: column[0] for name, column in plan.space.columns(np.array([i])).items()}
    given = {name: cell for name, cell in cells.items() if not missing(cell)}
    all_of_it = {**plan.options.defaults, **given}
    shared = {*DEFAULTS, *schedule_parameters()} - {"hidden", "patience"}
    settings = {
        name: as_python(value)
        for name, value in all_of_it.items()
        if name in shared or accepts(block.rule, name)
    }
    return {**settings, "metric": "train_loss", "diverge_above": plan.options.diverge_above}


def best_models(result: Table, n: int, *, n_jobs: int = -1) -> Ensemble:
    """Return the models of the ``n`` best trials, whose predictions are averaged.

    With folds or several seeds, ``n`` trials of the settings that are best on average: all of the
    first one, then of the next. Five models of five folds are the best setting's, and each was
    trained without the rows that another one's were.

    Parameters
    ----------
    n : int
        How many; all that can be compared, if there are fewer.
    n_jobs : int
        Threads to use for the trials, which run once more; -1 for all cores.

    Returns
    -------
    Ensemble
        ``models`` are the models, best first.

    Raises
    ------
    SpecError
        As for :meth:`model`.

    Examples
    --------
    >>> from sweeps import problems, sweep
    >>> result = sweep(problems.iris(hidden=(8,)), {"lr": [0.03, 0.1, 0.3]}, epochs=20)
    >>> [model.about["params"] for model in result.models(2).models] == [
    ...     {"lr": lr} for lr in result.best(2).lr]
    True
    """
    plan_of(result, "models")
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise SpecError(f"models(n): n must be an integer >= 1; got {shortened(n)}")
    result._winner()  # raises if there is none
    ids = trials_by_settings(result, int(n))  # the best single trials had the easiest folds
    return Ensemble(_models(result, ids, "models", n_jobs))


def _models(result: Table, ids: list[int], what: str, n_jobs: int = -1) -> list[Model]:
    plan = plan_of(result, what)
    thetas = run_again(result, ids, what, n_jobs, stacklevel=4)
    made = []
    for i, theta in zip(ids, thetas):
        row = result._row_of(i)
        if int(result.columns["state"][row]) == State.DIVERGED:
            raise SpecError(
                f"{what}: trial {i} DIVERGED, so it has no parameters to predict with; "
                "result.best() lists those that did not"
            )
        (block,) = plan.blocks(np.array([i]), results=False)
        made.append(model_of(block.problem, theta, _facts_of_trial(result, i, row)))
    return made


def _facts_of_trial(result: Table, i: int, row: int) -> dict[str, Any]:
    """Return what is told of a trial: its axes and figures, in plain Python."""
    figures = {name: as_python(result.columns[name][row]) for name in result.metrics}
    measured = {
        name: value
        for name, value in figures.items()
        if isinstance(value, float) and math.isfinite(value) and name not in result.step_columns
    }
    return {"trial_id": int(i), "params": result._params(row), "metrics": measured}
