"""What the kernel of trials calls: functions of the problem, the rule and its own, compiled apart.

Linked by address, so that a sweep compiles each problem once and each rule once, not each pair.
Every function has one signature for all problems and rules:

* ``loss(theta, X, y, words, grad, work, seed, step) -> loss``, the last two of them for problems
  that draw; ``evaluate(theta, X, y, words, grad, work) -> (loss, accuracy)``;
  ``init(theta, words, seed)``; ``score(theta, X, y, words, work, outputs, out)``, for problems with
  metrics of their own. ``words`` describe the constants of the problem.
* ``begin(h, scale, clock, grad, x)`` and ``advance(h, scale, clock, grad, x)``, where ``scale`` is
  the schedule's factor of the first and of the next step; ``answer(h, out, x)``, for rules that
  evaluate elsewhere than at ``x[0]``. Rows of ``x`` are parameters and slots.

Arrays of the trial's dtype, and targets, are handed over raw, see
:func:`fastopt.machine.calls.viewed`: the kernel is one for all dtypes and kinds of targets.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, get_type_hints

import numba
import numpy as np
from numba import from_dtype, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import load_item, make_array, store_item

from fastopt.compile import addressed, inlinable, jitable, kernel
from fastopt.machine.access import load, store, take
from fastopt.machine.calls import RAW, Callee, Callees, viewed, words_of
from fastopt.machine.loops import contained
from fastopt.rules import Rule
from fastopt.rules.base import initial_value
from fastopt.schedules import WIDTH, factor
from sweeps.engine.data_order import reorder, rows_of
from sweeps.engine.monitoring import clipping, measuring_gradients, measuring_moves, stretching
from sweeps.engine.multipliers import rescaling
from sweeps.engine.penalties import penalizing, shrinking
from sweeps.engine.records import COUNTERS, SETTINGS, Watch
from sweeps.problems.base import DataProblem

PAIR = types.UniTuple(types.float64, 2)
NUMBERS, WORDS = types.Array(types.float64, 1, "C"), types.Array(types.int64, 1, "C")
FLAT, TABLE = types.Array(RAW, 1, "C"), types.Array(RAW, 2, "C")
KINDS = {int: types.int64, float: types.float64, bool: types.boolean, np.ndarray: WORDS}


class Links(NamedTuple):
    """Addresses of what the kernel calls, and the words of the problem's constants."""

    scale: int
    order: int
    record: int
    stretch: int
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


@functools.cache
def slots_begun(starts: tuple[int, ...]) -> Any:
    """Return ``begin(h, x, low, high, step)``: fill slots with what they hold before a first step.

    In columns ``low``, ``low + step``, ... of ``x``, whose first row are parameters. As a loop that
    asked at run time what each slot starts from, it took a rule twice as long to compile.
    """

    @intrinsic
    def begin(typingctx, h, x, low, high, step):
        def codegen(context, builder, signature, args):
            kind, ends = signature.args[1], zip(args[2:], signature.args[2:])
            table = make_array(kind)(context, builder, args[1])
            low, high, step = (context.cast(builder, end, own, types.intp) for end, own in ends)
            hyper = [
                context.cast(builder, number, h.dtype, kind.dtype)
                for number in cgutils.unpack_tuple(builder, args[0])
            ]
            zero = context.get_constant(kind.dtype, 0.0)
            with cgutils.for_range_slice(builder, low, high, step) as (j, _):
                first, *slots = (
                    cgutils.get_item_pointer(
                        context, builder, kind, table, [low.type(k), j], wraparound=False
                    )
                    for k in range(len(starts))
                )
                p = load_item(context, builder, kind, first)
                for source, slot in zip(starts[1:], slots, strict=True):
                    value = initial_value(source, hyper, p) or zero  # a number of LLVM's, or 0.0
                    store_item(context, builder, kind, value, slot)
            return context.get_dummy_value()

        return types.void(h, x, low, high, step), codegen

    return begin


def scaling():
    """Template of the schedules' factor."""
    return lambda kind, step, a: factor(kind, step, a)


def scale() -> Callee:
    """Return the schedules' factor: ``(kind, step, parameters) -> factor``."""
    real = types.float64
    return Callee(addressed(scaling), real, (types.int64, real, types.UniTuple(real, WIDTH)), 1.7)


def ordering():
    """Template of :func:`reorder`."""
    return lambda order, kind, seed, epoch: reorder(order, kind, seed, epoch)


def losing(loss_and_grad, view):
    """Template of ``loss``."""

    def loss(theta, X, y, words, grad, work, seed, step):
        return np.float64(loss_and_grad(*view((theta, X, y, words, grad, work))))

    return loss


def drawing(loss_and_grad, view):
    """Template of ``loss`` of problems that draw."""

    def loss(theta, X, y, words, grad, work, seed, step):
        return np.float64(loss_and_grad(*view((theta, X, y, words, grad, work)), seed, step))

    return loss


def evaluating(evaluate, view):
    """Template of ``evaluate``."""

    def both(theta, X, y, words, grad, work):
        loss, accuracy = evaluate(*view((theta, X, y, words, grad, work)))
        return np.float64(loss), np.float64(accuracy)

    return both


def seeing(function, view, n):
    """Template of a function that sees what of its ``n`` arguments it is given raw as what it is.

    Their number is written out: what is called by address takes no tuple of any length.
    """
    return {
        2: lambda a, b: function(*view((a, b))),
        3: lambda a, b, c: function(*view((a, b, c))),
        4: lambda a, b, c, d: function(*view((a, b, c, d))),
        7: lambda a, b, c, d, e, f, g: function(*view((a, b, c, d, e, f, g))),
    }[n]


def beginning(clock0, starts, n_hyper, view):
    """Template of ``begin``: set clock and slots to what they are at a first step so scaled."""
    like_h, begin_slots = (0,) * n_hyper, slots_begun(starts)

    def begin(h, scale, clock, grad, table):
        hyper, (g, x) = at_lr(load(h, like_h), scale), view((grad, table))
        begin_slots(hyper, x, 0, g.size, 1)
        store(clock, clock0(hyper))

    return begin


def advancing(step, n_slots, n_hyper, view):
    """Template of ``advance``: one step, the learning rate being ``scale`` times what it was."""
    like, like_h = (0,) * n_slots, (0,) * n_hyper

    def advance(h, scale, clock, grad, table):
        g, whole = view((grad, table))
        step(at_lr(load(h, like_h), scale), clock, g, rows_of(whole, like, g.size))

    return advance


def answering(answer, n_slots, n_hyper, view):
    """Template of ``answer``: write the parameters to evaluate with."""
    like, like_h = (0,) * n_slots, (0,) * n_hyper

    def at(h, out, table):
        theta, whole = view((out, table))
        hyper, x = load(h, like_h), rows_of(whole, like, theta.size)
        for j in range(theta.size):
            theta[j] = answer(hyper, take(x, j))

    return at


@functools.cache
def compiled(
    loss_and_grad: Callable,
    evaluate: Callable,
    init: Callable,
    score: Callable | None,
    draws: bool,
    constants: Any,
    X: Any,
    y: Any,
) -> tuple[Any, Any, Any, Any]:
    """Return the (lazily compiled) functions of a problem with arrays of these Numba types.

    Traces call them, too, from Python.
    """
    flat, table = of_dtype(X.dtype)
    data = viewed(flat, X, y, constants, flat, flat)
    scored = viewed(flat, X, y, constants, flat, table, None)
    return (
        kernel(drawing if draws else losing, loss_and_grad, data),
        kernel(evaluating, evaluate, data),
        kernel(seeing, init, viewed(flat, constants, None), 3),
        None if score is None else kernel(seeing, score, scored, 7),
    )


def of_dtype(dtype: Any) -> tuple[Any, Any]:
    """Return the Numba types of parameters and of rows of them."""
    return types.Array(dtype, 1, "C"), types.Array(dtype, 2, "C")


def functions_of(problem: DataProblem) -> ProblemFunctions:
    """Return the functions of a problem, to be called with raw arrays."""
    functions = problem.loss_and_grad, problem.evaluate, problem.init, problem.score
    data = map(numba.typeof, (problem.aux, problem.X, problem.y))
    return ProblemFunctions(*compiled(*functions, problem.draws, *data), words_of(problem.aux))


@functools.cache
def of_problem(loss: Any, evaluate: Any, init: Any, score: Any) -> Callees:
    """Return a problem's functions."""
    data = FLAT, TABLE, TABLE, WORDS, FLAT, FLAT
    scored = FLAT, TABLE, TABLE, WORDS, FLAT, TABLE, NUMBERS
    return Callees(
        Callee(loss, types.float64, (*data, types.uint64, types.int64), 6.0),
        Callee(evaluate, PAIR, data, 1.5),
        Callee(init, types.none, (FLAT, WORDS, types.uint64)),
        None if score is None else Callee(score, types.none, scored, 1.5),
    )


@functools.cache
def of_rule(rule: Rule, dtype: Any) -> Callees:
    """Return a rule's functions for parameters of this Numba type."""
    flat, table = of_dtype(dtype)
    slots, hyper, view = len(rule.starts), len(rule.hyper), viewed(flat, table)
    begin = addressed(beginning, rule.clock0, rule.starts, hyper, view)
    advance, none = addressed(advancing, contained(rule), slots, hyper, view), types.none
    stepped, answer = (NUMBERS, types.float64, NUMBERS, FLAT, TABLE), None
    if rule.answer is not None:
        at = addressed(answering, rule.answer, slots, hyper, view)
        answer = Callee(at, none, (NUMBERS, FLAT, TABLE))
    return Callees(Callee(begin, none, stepped), Callee(advance, none, stepped, 1.0), answer)


@functools.cache
def of_engine(recording: Callable, dtype: Any, used: frozenset[str]) -> Callees:
    """Return what the kernel of trials does beside descending.

    They depend on the dtype at most; in the kernel they took half of the time to compile it. Those
    of :data:`OPTIONAL` that are not used are left out.
    """
    whole, real = types.int64, types.float64
    _, table = of_dtype(real)
    counters, settings, none = from_dtype(COUNTERS), from_dtype(SETTINGS), types.none
    watched = counters, NUMBERS, settings, tuple_type(Watch), table, types.Array(real, 3, "C")
    seen = dict(zip((FLAT, TABLE), of_dtype(dtype)))

    def optional(template: Callable, taken: tuple) -> Callee:
        view = viewed(*map(seen.get, taken))
        return Callee(addressed(seeing, jitable(template()), view, len(taken)), none, taken)

    return Callees(
        scale(),
        Callee(addressed(ordering), none, (WORDS, whole, whole, whole)),
        Callee(addressed(recording), whole, (whole, whole, *watched)),
        *(optional(*made) if name in used else None for name, made in OPTIONAL.items()),
    )


OPTIONAL: dict[str, tuple[Callable, tuple]] = {
    "stretch": (stretching, (FLAT, types.float64)),
    "clip": (clipping, (FLAT, types.float64)),
    "note_gradient": (
        measuring_gradients,
        (from_dtype(COUNTERS), NUMBERS, FLAT, types.int64),
    ),
    "note_move": (measuring_moves, (from_dtype(COUNTERS), FLAT, FLAT)),
    "penalize": (penalizing, (FLAT, FLAT, types.float64, WORDS)),
    "shrink": (shrinking, (TABLE, types.float64, WORDS)),
    "rescale": (rescaling, (FLAT, TABLE, FLAT)),
}
"""Name in :class:`Links` -> template of what only some trials do, and what it takes, in order."""


def callees_of(
    recording: Callable, problem: DataProblem, rule: Rule, used: frozenset[str] = frozenset()
) -> tuple[Callees, ...]:
    """Return what the kernel calls, of :data:`OPTIONAL` what is in use, in the order of links."""
    *functions, _ = functions_of(problem)
    dtype = from_dtype(problem.dtype)
    return of_engine(recording, dtype, used), of_problem(*functions), of_rule(rule, dtype)


def linked(callees: Iterable[Callees], problem: DataProblem) -> Links:
    """Compile what is not compiled yet; return all links."""
    addresses = itertools.chain.from_iterable(some.addresses for some in callees)
    return Links._make((*addresses, functions_of(problem).words, problem.penalised))
