"""What the kernel of trials calls: functions of the problem, the rule and its own, compiled apart.

Linked by address, so that a sweep compiles each problem once and each rule once, not each pair.
Every function has one signature for all problems and rules of a dtype:

* ``loss(theta, X, y, words, grad, work, seed, step) -> loss``, the last two of them for problems
  that draw; ``evaluate(theta, X, y, words, grad, work) -> (loss, accuracy)``;
  ``init(theta, words, seed)``; ``score(theta, X, y, words, work, outputs, out)``, for problems with
  metrics of their own. ``words`` describe the constants of the problem.
* ``begin(h, scale, clock, x, n)`` and ``advance(h, scale, clock, grad, x)``, where ``scale`` is the
  schedule's factor of the first and of the next step; ``answer(h, x, out)``, for rules that
  evaluate elsewhere than at ``x[0]``. Rows of ``x`` are parameters and slots.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, get_type_hints

import numba
import numpy as np
from numba import from_dtype, types

from fastopt.compile import inlinable, kernel
from fastopt.machine.access import load, store, take
from fastopt.machine.calls import Callee, Callees, unpacked, words_of
from fastopt.machine.loops import contained
from fastopt.rules import Rule
from fastopt.rules.base import initial_value
from fastopt.schedules import WIDTH, factor
from sweeps.engine.data_order import reorder, rows_of
from sweeps.engine.monitoring import clipping, measuring_gradients, measuring_moves
from sweeps.engine.multipliers import rescaling
from sweeps.engine.penalties import penalizing, shrinking
from sweeps.engine.records import COUNTERS, SETTINGS, Watch
from sweeps.problems.base import DataProblem

PAIR = types.UniTuple(types.float64, 2)
NUMBERS, WORDS = types.Array(types.float64, 1, "C"), types.Array(types.int64, 1, "C")
KINDS = {int: types.int64, float: types.float64, bool: types.boolean, np.ndarray: WORDS}


class Links(NamedTuple):
    """Addresses of what the kernel calls, and the words of the problem's constants."""

    scale: int
    order: int
    record: int
    clip: int
    note_gradient: int
    note_move: int
    penalize: int
    shrink: int
    rescale: int
    loss: int
    evaluate: int
    init: int
    score: int  # 0 for problems without metrics of their own
    begin: int
    advance: int
    answer: int  # 0 for rules that evaluate where they take gradients
    words: np.ndarray
    penalised: np.ndarray  # where the weights of each layer begin and end in the parameters


class ProblemFunctions(NamedTuple):
    """The functions of a problem, compiled, and the words they take for its constants."""

    loss: Any
    evaluate: Any
    init: Any
    score: Any  # None for problems without metrics of their own
    words: np.ndarray


def tuple_type(kind: type) -> Any:
    """Return the Numba type of a named tuple of numbers, and of words."""
    return types.NamedTuple([KINDS[hint] for hint in get_type_hints(kind).values()], kind)


@inlinable
def at_lr(h, scale):
    """Return the hyperparameters with the learning rate, their first, scaled."""
    return (h[0] * scale,) + h[1:]  # noqa: RUF005


def scaling():
    """Template of the schedules' factor."""
    return lambda kind, step, a: factor(kind, step, a)


def scale() -> Callee:
    """Return the schedules' factor: ``(kind, step, parameters) -> factor``."""
    real = types.float64
    return Callee(kernel(scaling), real, (types.int64, real, types.UniTuple(real, WIDTH)), 1.7)


def ordering():
    """Template of :func:`reorder`."""
    return lambda order, kind, seed, epoch: reorder(order, kind, seed, epoch)


def losing(loss_and_grad, unpack):
    """Template of ``loss``."""

    def loss(theta, X, y, words, grad, work, seed, step):
        return np.float64(loss_and_grad(theta, X, y, unpack(words), grad, work))

    return loss


def drawing(loss_and_grad, unpack):
    """Template of ``loss`` of problems that draw."""

    def loss(theta, X, y, words, grad, work, seed, step):
        return np.float64(loss_and_grad(theta, X, y, unpack(words), grad, work, seed, step))

    return loss


def evaluating(evaluate, unpack):
    """Template of ``evaluate``."""

    def both(theta, X, y, words, grad, work):
        loss, accuracy = evaluate(theta, X, y, unpack(words), grad, work)
        return np.float64(loss), np.float64(accuracy)

    return both


def initializing(init, unpack):
    """Template of ``init``."""

    def begin(theta, words, seed):
        init(theta, unpack(words), seed)

    return begin


def scoring(score, unpack):
    """Template of ``score``."""

    def all_metrics(theta, X, y, words, work, outputs, out):
        score(theta, X, y, unpack(words), work, outputs, out)

    return all_metrics


def beginning(clock0, starts, n_hyper):
    """Template of ``begin``: set clock and slots to what they are at a first step so scaled."""
    like, like_h = (0,) * len(starts), (0,) * n_hyper

    def begin(h, scale, clock, table, n):
        hyper, x = at_lr(load(h, like_h), scale), rows_of(table, like, n)
        for k in range(1, len(x)):
            for j in range(n):
                x[k][j] = initial_value(starts[k], hyper, x[0][j])
        store(clock, clock0(hyper))

    return begin


def advancing(step, n_slots, n_hyper):
    """Template of ``advance``: one step, the learning rate being ``scale`` times what it was."""
    like, like_h = (0,) * n_slots, (0,) * n_hyper

    def advance(h, scale, clock, grad, table):
        hyper, x = at_lr(load(h, like_h), scale), rows_of(table, like, grad.size)
        step(hyper, clock, grad, x)

    return advance


def answering(answer, n_slots, n_hyper):
    """Template of ``answer``: write the parameters to evaluate with."""
    like, like_h = (0,) * n_slots, (0,) * n_hyper

    def at(h, table, out):
        hyper, x = load(h, like_h), rows_of(table, like, out.size)
        for j in range(out.size):
            out[j] = answer(hyper, take(x, j))

    return at


@functools.cache
def compiled(
    loss_and_grad: Callable,
    evaluate: Callable,
    init: Callable,
    score: Callable | None,
    draws: bool,
    constants: Any,
) -> tuple[Any, Any, Any, Any]:
    """Return the (lazily compiled) functions of a problem with constants of this Numba type."""
    unpack = unpacked(constants)
    return (
        kernel(drawing if draws else losing, loss_and_grad, unpack),
        kernel(evaluating, evaluate, unpack),
        kernel(initializing, init, unpack),
        None if score is None else kernel(scoring, score, unpack),
    )


def functions_of(problem: DataProblem) -> ProblemFunctions:
    """Return the functions of a problem, to be called with arrays like its own."""
    functions = problem.loss_and_grad, problem.evaluate, problem.init, problem.score
    return ProblemFunctions(
        *compiled(*functions, problem.draws, numba.typeof(problem.aux)), words_of(problem.aux)
    )


@functools.cache
def of_problem(loss: Any, evaluate: Any, init: Any, score: Any, X: Any, y: Any) -> Callees:
    """Return a problem's functions for data of these Numba types."""
    flat = types.Array(X.dtype, 1, "C")
    data = flat, X, y, WORDS, flat, flat
    scored = flat, X, y, WORDS, flat, types.Array(X.dtype, 2, "C"), NUMBERS
    return Callees(
        Callee(loss, types.float64, (*data, types.uint64, types.int64), 6.0),
        Callee(evaluate, PAIR, data, 1.5),
        Callee(init, types.none, (flat, WORDS, types.uint64)),
        None if score is None else Callee(score, types.none, scored, 1.5),
    )


@functools.cache
def of_rule(rule: Rule, dtype: Any) -> Callees:
    """Return a rule's functions for parameters of this Numba type."""
    flat, table = types.Array(dtype, 1, "C"), types.Array(dtype, 2, "C")
    slots, hyper = len(rule.starts), len(rule.hyper)
    begin = kernel(beginning, rule.clock0, rule.starts, hyper)
    advance, none = kernel(advancing, contained(rule), slots, hyper), types.none
    answer = None
    if rule.answer is not None:
        answer = Callee(kernel(answering, rule.answer, slots, hyper), none, (NUMBERS, table, flat))
    return Callees(
        Callee(begin, none, (NUMBERS, types.float64, NUMBERS, table, types.int64)),
        Callee(advance, none, (NUMBERS, types.float64, NUMBERS, flat, table), 1.0),
        answer,
    )


@functools.cache
def of_engine(recording: Callable, dtype: Any, used: frozenset[str]) -> Callees:
    """Return what the kernel of trials does beside descending.

    They depend on the dtype at most; in the kernel they took half of the time to compile it. Those
    of :data:`OPTIONAL` that are not used are left out.
    """
    flat, whole, real = types.Array(dtype, 1, "C"), types.int64, types.float64
    table, curves = types.Array(real, 2, "C"), types.Array(real, 3, "C")
    counters, settings, none = from_dtype(COUNTERS), from_dtype(SETTINGS), types.none
    watched = counters, NUMBERS, settings, tuple_type(Watch), table, curves
    taken = {
        "clip": (flat, real),
        "note_gradient": (counters, NUMBERS, flat, whole),
        "note_move": (counters, flat, flat),
        "penalize": (flat, flat, real, WORDS),
        "shrink": (types.Array(dtype, 2, "C"), real, WORDS),
        "rescale": (flat, types.Array(dtype, 2, "C"), flat),
    }
    return Callees(
        scale(),
        Callee(kernel(ordering), none, (WORDS, whole, whole, whole)),
        Callee(kernel(recording), whole, (whole, whole, *watched)),
        *(
            Callee(kernel(template), none, taken[name]) if name in used else None
            for name, template in OPTIONAL.items()
        ),
    )


OPTIONAL: dict[str, Callable] = {
    "clip": clipping,
    "note_gradient": measuring_gradients,
    "note_move": measuring_moves,
    "penalize": penalizing,
    "shrink": shrinking,
    "rescale": rescaling,
}
"""Name in :class:`Links` -> template of what only some trials do, in their order there."""


def callees_of(
    recording: Callable, problem: DataProblem, rule: Rule, used: frozenset[str] = frozenset()
) -> tuple[Callees, ...]:
    """Return what the kernel calls, of :data:`OPTIONAL` what is in use, in the order of links."""
    *functions, _ = functions_of(problem)
    X, y = numba.typeof(problem.X), numba.typeof(problem.y)
    return of_engine(recording, X.dtype, used), of_problem(*functions, X, y), of_rule(rule, X.dtype)


def linked(callees: Iterable[Callees], problem: DataProblem) -> Links:
    """Compile what is not compiled yet; return all links."""
    addresses = itertools.chain.from_iterable(some.addresses for some in callees)
    return Links._make((*addresses, functions_of(problem).words, problem.penalised))
