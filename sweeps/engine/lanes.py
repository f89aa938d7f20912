"""A block of trials side by side: whole runs on a landscape, one trial a SIMD lane.

Every step is a handful of short loops over the lanes - tick the clocks, update each coordinate,
evaluate, record - which LLVM turns into vector code for any elementwise rule and any function of
scalars. Between two events (the end of a trial, a point of a curve) nothing branches: a trial that
has ended or diverged keeps computing in its lane and nobody reads it, and a block whose trials
have all ended stops. A lane reads and writes its own column of the state only, so a trial has the
same bits in any lane, in any company.

What knows the function and the rule is one function, the stretch of steps between two events. The
kernel that runs the blocks takes its address, and is compiled once for each dtype: with stretches
inside, a user's new function took 13 s to compile.

Measured with Rosenbrock, Adam and float64: blocks of 16, 32 and 64 lanes are equally fast, and one
loop over everything is a tenth slower than the short ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import from_dtype, types

from fastopt.compile import addressed, jitable
from fastopt.machine.calls import Callee, Callees, call, unpacked, words_of
from fastopt.rules import Rule
from sweeps.engine.callees import NUMBERS as FLAT
from sweeps.engine.callees import scale, tuple_type
from sweeps.engine.lane_records import NUMBERS, WHOLES, WIDTH, H, Lanes, LaneWatch
from sweeps.engine.lane_state import (
    clipping,
    comparing,
    handle_events,
    load_block,
    numbers_in,
    pause,
    resume,
    scaling,
)
from sweeps.engine.queue import DONE, STOP, fetch_add, peek
from sweeps.engine.records import SETTINGS
from sweeps.engine.stretches import (
    adapted_lane,
    at_array,
    at_scalars,
    beginning,
    stretching,
    ticking,
)
from sweeps.problems.landscapes import Landscape


class LaneLinks(NamedTuple):
    """Addresses of what the kernel and a stretch call, and the words of the constants."""

    factor: int  # of a schedule
    scale: int
    clip: int
    compare: int
    begin: int
    tick: int
    stretch: int
    words: np.ndarray


class StretchInputs(NamedTuple):
    """What a stretch of steps reads of its trials."""

    bounds: np.ndarray
    optima: np.ndarray
    watch: LaneWatch
    settings: np.ndarray
    schedule: np.ndarray
    links: LaneLinks
    varies: bool  # whether the schedule of some lane changes
    clips: bool  # whether some lane's gradient is clipped
    alike: bool  # whether all lanes have one clock


@jitable
def scratch(t):
    """Allocate what a worker needs for any block of the trials ``t``."""
    x = np.zeros((t.sizes.rows + 2, t.start.shape[1] * WIDTH), t.start.dtype)
    v = np.zeros(H + (t.h.shape[1] + t.sizes.clock) * WIDTH)
    return Lanes(x, v, np.empty(1, WHOLES))


@jitable
def item(b, s, control, t, links):
    """Run block ``b`` to the end or the pause of its trials; return whether it got there."""
    varies, clips, alike = load_block(b, s, t)
    inputs = StretchInputs(
        t.bounds, t.optima, t.watch, t.settings, t.schedule, links, varies, clips, alike
    )
    step = resume(b, s, t)
    if step < 0:
        if varies:  # what starts from the learning rate starts from that of the first step
            scheduled = links.factor, numbers_in(s.v), s.r[0], t.settings, t.schedule, 0.0
            call(links.scale, None, scheduled)
        call(links.begin, None, (s,))
        step = call(links.stretch, 0, (s, inputs, -1, 0))
    following = handle_events(s, t, step)
    while following >= 0:
        if peek(control, STOP) != 0:
            return False
        step = call(links.stretch, 0, (s, inputs, step, following))
        following = handle_events(s, t, step)
    if t.kept.counters.shape[0]:
        pause(b, s, t, step)
    filled = 0
    for k in range(WIDTH):
        filled += t.lanes[b * WIDTH + k] >= 0
    fetch_add(control, DONE, filled - 1)  # the queue counts the item itself as one
    return True


def parts() -> tuple:
    """Return the two functions of :func:`sweeps.engine.queue.workers` that run blocks of lanes."""
    return scratch, item


def powers_of(rule: Rule) -> list[int]:
    """Return which hyperparameters decide, with the step, what a clock is; none if more does.

    >>> from fastopt.rules import RULES
    >>> powers_of(RULES["adam"]), powers_of(RULES["nadam"]), powers_of(RULES["sgd"])
    ([1, 2], [], [])
    """
    hyper = list(rule.hyper)
    return [] if rule.accumulates else [hyper.index(name) for name in rule.powers]


@functools.cache
def stretch_of(
    value_and_grad: Callable, constants: Any, dim: int, bounded: bool, rule: Rule
) -> tuple[Any, Any, Any]:
    """Return the (lazily compiled) beginning and tick of a rule, and its stretch of a function.

    ``constants`` is the Numba type of what the function takes besides; ``dim`` is 0 for functions
    of an array.
    """
    evaluate = at_scalars(value_and_grad, dim) if dim else at_array(value_and_grad)
    h = rule.pack()
    clock = rule.clock0(h)
    sizes = dim, len(h), len(clock), len(rule.tick(h, clock)[1])
    powers = powers_of(rule)
    common = tuple(k in powers for k in range(len(h)))
    adapt = adapted_lane(rule.measure, rule.trust)
    own = rule.update, rule.answer, len(rule.starts)
    return (
        addressed(beginning, rule.clock0, rule.starts, len(h)),
        addressed(ticking, rule.tick, len(h), len(clock), common),
        addressed(stretching, evaluate, unpacked(constants), adapt, *own, *sizes, bounded),
    )


@functools.cache
def of_stretch(begin: Any, tick: Any, stretch: Any, dtype: Any) -> Callees:
    """Return all callees of a stretch over coordinates of this Numba type."""
    flat, table, none = types.Array(dtype, 1, "C"), types.Array(dtype, 2, "C"), types.none
    whole, real, numbers = types.int64, types.float64, types.Array(types.float64, 2, "C")
    settings, watch = types.Array(from_dtype(SETTINGS), 1, "C"), tuple_type(LaneWatch)
    v, r = from_dtype(NUMBERS), from_dtype(WHOLES)
    block = types.NamedTuple([table, FLAT, types.Array(r, 1, "C")], Lanes)
    inputs = types.NamedTuple(
        [
            table,
            numbers,
            watch,
            settings,
            numbers,
            tuple_type(LaneLinks),
            types.boolean,
            types.boolean,
            types.boolean,
        ],
        StretchInputs,
    )
    return Callees(
        scale(),
        Callee(addressed(scaling), none, (whole, v, r, settings, numbers, real)),
        Callee(addressed(clipping), none, (flat, v, whole)),
        Callee(addressed(comparing), whole, (flat, v, r, numbers, watch, real)),
        Callee(begin, none, (block,)),
        Callee(tick, none, (FLAT, flat, types.boolean)),
        Callee(stretch, whole, (block, inputs, whole, whole), 2.0),
    )


def callees_of(problem: Landscape, rule: Rule) -> Callees:
    """Return what the kernel and a stretch of this problem and rule call."""
    dim = 0 if problem.vector else problem.dim
    constants, bounded = numba.typeof(problem.aux), problem.bounds is not None
    own = stretch_of(problem.value_and_grad, constants, dim, bounded, rule)
    return of_stretch(*own, from_dtype(problem.dtype))


def linked(callees: Iterable[Callees], problem: Landscape) -> LaneLinks:
    """Compile what is not compiled yet; return what the kernel takes beside the trials."""
    (own,) = callees
    return LaneLinks._make((*own.addresses, words_of(problem.aux)))
