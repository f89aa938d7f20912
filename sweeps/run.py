"""``sweep()``: check, plan, run, collect."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, overload

from fastopt.errors import SpecError, shortened
from sweeps import store as stores
from sweeps.engine.chunks import chunk_size
from sweeps.engine.plan import Plan
from sweeps.engine.run_blocks import Problem, worker_count
from sweeps.engine.tables import Parts
from sweeps.pruned import PrunedResult
from sweeps.pruning import Pruner, as_pruner
from sweeps.pruning.race import Played, Race, share_of_steps
from sweeps.results import SweepResult
from sweeps.running.check import SETTINGS, check
from sweeps.running.collect import Collector
from sweeps.running.estimate import Estimate, estimate_of, refuse_too_large
from sweeps.running.executors import check_executor
from sweeps.running.reducers import Reducer, ReducingCollector
from sweeps.running.runner import run_chunks
from sweeps.running.shards import parse_shard

PLACES = ("pruner", "store", "shard", "executor", "reduce", "progress")
"""Keywords of sweep() that say which trials run, and where; :data:`SETTINGS` say what they are."""

LOCAL = ("threads", "processes", "loky")
"""Executors whose workers share the memory of this machine."""

Axes: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Pruned: TypeAlias = Pruner | str | Mapping[str, Any]
Answer = TypeVar("Answer")


# The first says all that there is; the others what a pruner and a reducer make of it.
@overload
def sweep(
    problem: Problem,
    space: Axes,
    *,
    optimizer: str = "adam",
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    schedule: str = "constant",
    shuffle: str = "epoch",
    hidden: int | Sequence[int] | str | None = None,
    clip_norm: float | None = None,
    init_scale: float = 1.0,
    patience: int | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    restore_best: bool = False,
    seed_mode: str = "common",
    stop_at_target: bool = False,
    target: float | None = None,
    metric: str | None = None,
    mode: str | None = None,
    diverge_above: float = math.inf,
    eval_every: int | str | None = None,
    curves: bool = False,
    measure: Sequence[str] = (),
    pruner: None = None,
    store: str | os.PathLike[str] | None = None,
    shard: str | tuple[int, int] | None = None,
    executor: Any = None,
    reduce: None = None,
    n_jobs: int = -1,
    progress: bool = True,
    **hyper: Any,
) -> SweepResult: ...
@overload
def sweep(problem: Problem, space: Axes, *, pruner: Pruned, **options: Any) -> PrunedResult: ...
@overload
def sweep(
    problem: Problem, space: Axes, *, reduce: Reducer[Parts], **options: Any
) -> SweepResult: ...
@overload
def sweep(problem: Problem, space: Axes, *, reduce: Reducer[Answer], **options: Any) -> Answer: ...
def sweep(
    problem: Problem,
    space: Axes,
    *,
    optimizer: str = "adam",
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    schedule: str = "constant",
    shuffle: str = "epoch",
    hidden: int | Sequence[int] | str | None = None,
    clip_norm: float | None = None,
    init_scale: float = 1.0,
    patience: int | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    restore_best: bool = False,
    seed_mode: str = "common",
    stop_at_target: bool = False,
    target: float | None = None,
    metric: str | None = None,
    mode: str | None = None,
    diverge_above: float = math.inf,
    eval_every: int | str | None = None,
    curves: bool = False,
    measure: Sequence[str] = (),
    pruner: Any = None,
    store: str | os.PathLike[str] | None = None,
    shard: str | tuple[int, int] | None = None,
    executor: Any = None,
    reduce: Reducer[Any] | None = None,
    n_jobs: int = -1,
    progress: bool = True,
    **hyper: Any,
) -> Any:
    r"""Train one model for every point of a grid, each a whole run inside a compiled kernel.

    Parameters
    ----------
    problem : DataProblem or Landscape
        What to train; see :mod:`sweeps.problems`. A landscape takes ``steps``; batches, epochs and
        shuffles mean nothing to it. Its trials also have axes for where they start, one for each
        coordinate (``start_x``, ...), and more results: ``distance`` to the nearest optimum,
        ``path_length`` and the final coordinates. Its steps are counted from 0, the start.
    space : dict or list of dict
        Axes by name, each with its values; a dict is their product, a list of dicts the union of
        products. Any hyperparameter of the optimizers can be an axis, and so can ``optimizer``,
        ``batch_size``, ``epochs``, ``steps``, ``seed``, ``schedule``, ``shuffle``, ``hidden``,
        ``clip_norm``, ``init_scale``, ``patience`` and the parameters of schedules. ``beta1`` sets
        the momentum of optimizers that have no beta1; ``betas`` are pairs of both betas.
    optimizer : str
        Name in :data:`fastopt.rules.RULES`.
    epochs, steps : int, optional
        Length of a trial, in passes over the training rows or in minibatch steps; one of the two.
    batch_size : int
        Rows a step; at most all of them. The last batch of an epoch may be smaller.
    seed : int
        Decides initial parameters and the order of the rows; see ``seed_mode``.
    schedule : str
        Name in :data:`fastopt.schedules.SCHEDULES`; its length defaults to the trial's.
    shuffle : {"epoch", "once", "none", "replacement"}
        New order every epoch, one order for all epochs, the order given, or drawing with
        replacement.
    hidden : int, tuple of int or str, optional
        Hidden layers of a network, in place of the problem's own: one width for all of them, or
        all widths, ``(32, 16)`` or ``"32-16"``.
    clip_norm : float, optional
        Largest norm of a minibatch gradient; a longer one is scaled to it before the step, as by
        :func:`fastopt.clip_grad_norm_`. 0 or None: no clipping.
    init_scale : float
        Multiplies the initial parameters, drawn or fixed.
    patience : int, optional
        A trial ends after so many checks in a row whose ``metric`` is not better than the best
        one before: ``COMPLETE``, with fewer ``steps`` than planned. 0 or None: it goes on.
    l1, l2 : float
        Penalties of the weights W (not of biases): trials minimise the mean loss
        :math:`+ \lambda_1 \lVert W \rVert_1 + \frac{\lambda_2}{2} \lVert W \rVert_2^2`. The losses
        that are reported leave them out, so that they can be compared. ``l1`` is a proximal step of
        ``lr * l1`` after the optimizer's, exact for plain SGD, which leaves zeros; other
        optimizers shrink weights as much, as decoupled weight decay does. So momentum, whose steps
        are :math:`1 / (1 - \beta)` times as long, ends where SGD does with ``l1`` times
        :math:`1 - \beta`.
    restore_best : bool
        Trials end with the parameters of their best check, by ``metric``, not with the last ones.
    seed_mode : {"common", "independent"}
        Trials with one seed share their random numbers, which makes comparisons paired; or each
        trial draws its own, from the seed and all that the trial is: its settings, not its number,
        so it has the same bits alone, in any part of the grid and in any larger grid.
    stop_at_target : bool
        A trial ends at the first check that reaches the target: ``COMPLETE``, and ``steps`` (in the
        frame ``steps_taken``, if ``steps`` is an axis) equals ``steps_to_target``.
    target : float, optional
        ``steps_to_target`` is the first check at which ``metric`` is at least as good.
    metric : str, optional
        What trials are ranked by: ``train_loss``, ``train_accuracy``, the same of ``val`` and
        ``test`` rows, or a metric of the problem, such as ``val_f1``. By default ``val_loss`` if
        there are validation rows, else ``train_loss``. At checks, ``train_loss`` is the mean
        minibatch loss since the previous check. For landscapes: ``train_loss`` (the value of the
        function, looked at after every step), ``best_loss``, ``distance`` or ``path_length``.
    mode : {"min", "max"}, optional
        Whether smaller or larger is better: by default ``"max"`` for accuracies, ``"min"`` else.
    diverge_above : float
        A trial whose minibatch loss exceeds this, or is not finite, stops as ``DIVERGED``.
    eval_every : int or "log", optional
        Steps between checks; an epoch by default. ``"log"``: at steps 1, 2, ..., 8, 10, 12, 15, 18,
        22, ..., about ten a decade. The end of a trial is always a check. Landscapes are checked
        for the points of curves and for patience (their target is looked for at every step), by
        default about 1 000 times at most.
    curves : bool
        Record the metrics at every check (the value and the coordinates of a landscape), for
        :meth:`SweepResult.curves`.
    measure : sequence of {"grad_norm", "grad_variance", "update_norm"}
        More columns of the frame and of curves. Over the steps since the previous check:
        ``grad_norm`` is the mean norm of the minibatch gradients g before clipping, ``update_norm``
        that of the steps taken, and ``grad_variance`` the variance across k minibatches,
        :math:`\frac{1}{k - 1} \sum_t \frac{B_t}{B} \lVert g_t - \bar g \rVert^2`, of
        :math:`B_t` rows each, B being the batch size; NaN for one minibatch. It has the expectation
        :math:`\sigma^2 / B` where parameters stand still (``lr=0``). The norms of a landscape are
        those of its gradient there and of its last step.
    pruner : Pruner, str or dict, optional
        Stops trials that lose against others: :class:`sweeps.SuccessiveHalving`,
        :class:`sweeps.Hyperband`, :class:`sweeps.ASHA`, :class:`sweeps.MedianStopping`, a name in
        :data:`sweeps.pruning.PRUNERS`, or a dict of a ``name`` and arguments. Those that go on do
        so where they paused. The result is a :class:`sweeps.PrunedResult`. A store keeps every
        rung; what is kept of paused trials is in the memory of this process, or on its way to a
        worker. Neither ``shard`` nor ``reduce``, which leave trials out of the comparison.
    store : path-like, optional
        Folder to keep the sweep in. Each finished chunk is written at once, and the same call goes
        on where it stopped, whatever stopped it; with more values on the axes, only new trials run.
    shard : (i, n) or "i/n", optional
        Run and return only chunks ``i``, ``i + n``, ``i + 2 n``, ...: one of ``n`` jobs that share
        a store and need no coordinator. The same call without it runs what is left and returns all.
    executor : str or object, optional
        Where trials run; by default in one parallel kernel of this process, the fastest on one
        machine, or with a store on threads, each with a chunk. ``"threads"``, ``"processes"`` or
        ``"loky"``: so many workers here. ``"dask"``: the workers of the current dask client, or of
        the scheduler at an address such as ``"tcp://10.0.0.1:8786"``. Or any object with ``submit``
        of :mod:`concurrent.futures`, which is not shut down. Results are the same, bit for bit.
    reduce : Reducer, optional
        What to keep of sweeps too large for memory, :class:`sweeps.KeepBest` or
        :func:`sweeps.histogram`: each chunk is folded into it and forgotten. The answer is then
        the reducer's: a result of the best trials, or a DataFrame of counts. With a store, that
        keeps the fold of each chunk and no trials.
    n_jobs : int
        Worker threads or processes, of which each runs one trial at a time; -1 for all cores.
        Results do not depend on it, bit for bit.
    progress : bool
        Show progress on stderr when that is a terminal, and below the cell of a notebook.
    **hyper
        Hyperparameters with one value for all trials.

    Returns
    -------
    SweepResult
        One row a finished trial. After Ctrl-C it holds the trials finished by then, and
        ``result.info["interrupted"]`` is true.

    Raises
    ------
    SpecError
        An axis, name or option is unknown, empty or makes no sense, a model does not fit in
        memory, or the results do not or, with a store, on its disk.
    HyperparameterError
        A hyperparameter is not finite or out of its range.
    StoreError
        The store cannot be written: missing, read-only or full. What is in it stays.
    ExecutorError
        The executor does not work, or its workers run other versions.
    CompileError
        A function of the problem, or a helper that it calls, is none that Numba can compile.

    Warns
    -----
    SweepWarning
        Trials FAILED, because the workers that ran them died or raised an exception each time; the
        column ``error`` of the result says why. Or a setting has no effect: a keyword beside an
        axis of its name, an axis that means nothing to some of the optimizers or schedules beside
        it, what another setting switches off (``nesterov`` without momentum, a seed where nothing
        is drawn), two values of an axis that come to the same trial, a target out of reach.

    Examples
    --------
    >>> from sweeps import geomspace, problems, sweep
    >>> result = sweep(
    ...     problems.iris(hidden=(8,)),
    ...     {"lr": geomspace(1e-3, 1e-1, 3), "seed": range(2)},
    ...     optimizer="adam", epochs=5, metric="test_accuracy", mode="max",
    ... )
    >>> result.to_frame().shape[0]
    6
    """
    began, given = time.perf_counter(), locals()
    workers = worker_count(n_jobs)
    plan = check(problem, space, {**{name: given[name] for name in SETTINGS}, **hyper}, 2)
    share_of_chunks = parse_shard(shard, store)
    if reduce is None:
        here = executor is None or (isinstance(executor, str) and executor in LOCAL)
        refuse_too_large(plan, store, workers if here else 1)
    if pruner is None:
        collector = _collector(plan, store, executor, reduce, share_of_chunks)
    else:
        collector = _race(plan, as_pruner(pruner), store, executor, reduce=reduce, shard=shard)
    made = run_chunks(collector, workers, executor, began=began, progress=progress)
    if isinstance(made, Played):
        return PrunedResult(SweepResult(*made.parts), made.places, made.rounds)
    return SweepResult(*made) if isinstance(made, Parts) else made


def estimate(problem: Problem, space: Axes, *, n_jobs: int = -1, **options: Any) -> Estimate:
    """Check a sweep without running it, and estimate its time, memory and disk.

    Parameters
    ----------
    problem, space, n_jobs, **options
        As for :func:`sweep`.

    Returns
    -------
    Estimate
        ``n_trials``, ``n_steps`` (training steps of all trials), ``seconds`` (by the cost model,
        without compilation), ``bytes`` (of results in memory), ``disk`` (bytes in a store),
        ``n_chunks`` and ``training`` (bytes of data, and of models while they are trained).

    Raises
    ------
    SpecError, HyperparameterError
        As :func:`sweep` would.

    Examples
    --------
    >>> from sweeps import estimate, problems
    >>> found = estimate(problems.ellipse(), {"lr": [0.1, 0.01]}, optimizer="sgd", steps=50)
    >>> found.n_trials, found.n_steps
    (2, 100)
    """
    settings = {name: value for name, value in options.items() if name not in PLACES}
    plan, pruner = check(problem, space, settings), options.get("pruner")
    parse_shard(options.get("shard"), options.get("store"))
    if options.get("executor") is not None:
        check_executor(options["executor"])
    share = 1.0 if pruner is None else share_of_steps(plan, as_pruner(pruner))
    return estimate_of(plan, worker_count(n_jobs), share)


def _collector(
    plan: Plan,
    store: str | os.PathLike[str] | None,
    executor: Any,
    reduce: Reducer[Any] | None,
    shard: tuple[int, int],
) -> Collector:
    if store is not None:
        if reduce is not None:
            return stores.FoldWriter(plan, reduce, store, shard)
        return stores.StoreWriter(plan, store, shard)
    # Where nothing is sent, launches bound memory only, and the fewer the better.
    size = None if executor is None else chunk_size(plan)
    return Collector(plan, size) if reduce is None else ReducingCollector(plan, reduce, size)


def _race(
    plan: Plan, pruner: Pruner, store: str | os.PathLike[str] | None, executor: Any, **given: Any
) -> Race:
    """Return the collector of a pruned sweep, which compares all trials of a round."""
    for name, value in given.items():
        if value is not None:
            raise SpecError(
                f"a pruner compares all trials of a round, so {name}={shortened(value)}, which "
                "leaves some out, does not go with it: give one of them"
            )
    race = Race(plan, pruner, chunk_size(plan) if store is None and executor is not None else None)
    if store is not None:
        race.keep_in(stores.StoredRounds(plan, store, pruner, race.max_resources))
    return race
