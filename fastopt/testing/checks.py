"""The checks, one a function: each raises where an optimizer differs from what is promised."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import math
import numbers
import pickle
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np

from fastopt.arena import flatten
from fastopt.checkpoint import load, save
from fastopt.classes.common import BINDINGS
from fastopt.code.uncompilable import in_two_lines
from fastopt.compile import kernel
from fastopt.errors import HyperparameterError
from fastopt.optimizer import Optimizer
from fastopt.rules import Real, Rule
from fastopt.rules.base import begin
from fastopt.rules.clocks import rewind
from fastopt.testing.subject import Subject

# Around the widths of SIMD blocks and of the blocks that sums are cut in; the last one is shared
# among threads.
SIZES = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127, 129, 1023, 1025, 4097)
LARGE = 40_003
STEPS = 3
DTYPES = (np.float32, np.float64)


def _numbers(n: int, seed: int, dtype: Any = np.float64) -> np.ndarray:
    """Return ``n`` numbers of both signs, none of them zero, the first ones those of fewer."""
    at = np.arange(n) + 1000.0 * seed
    return ((1.25 + np.sin(at)) * np.where(np.sin(7.0 * at) > 0.0, 1.0, -1.0)).astype(dtype)


def _stepped(subject: Subject, n: int, dtype: Any, **options: Any) -> list[bytes]:
    """Return parameter and slots after some steps."""
    p = _numbers(n, 0, dtype)
    opt = subject.make(p, **options)
    for t in range(STEPS):
        opt.step(_numbers(n, t + 1, dtype))
    return _bytes_of(opt)


def _bytes_of(opt: Optimizer) -> list[bytes]:
    """Return everything a step may change, tensor by tensor."""
    found = []
    for segment, piece in (pair for group in opt._groups for pair in group.pieces):
        slots = (piece.of(slot) for slot in segment.slots.values())
        found += [segment.clock.tobytes(), piece.array.tobytes(), *(a.tobytes() for a in slots)]
    return found


def _arrays(dtype: Any = np.float64) -> dict[str, np.ndarray]:
    shapes = {"w": (5, 7), "b": (), "e": (0, 3), "c": (33,)}
    made = enumerate(shapes.items())
    return {name: np.asarray(_numbers(math.prod(s), k, dtype).reshape(s)) for k, (name, s) in made}


def _grads(t: int, dtype: Any = np.float64) -> dict[str, np.ndarray]:
    return {k: np.asarray(a * (t + 1) - 0.5, dtype) for k, a in _arrays(dtype).items()}


def _run(opt: Optimizer, steps: range = range(STEPS), dtype: Any = np.float64) -> Optimizer:
    """Step an optimizer over :func:`_arrays` as a dict."""
    for t in steps:
        opt.step(_grads(t, dtype))
    return opt


def _same(found: Any, expected: Any, what: str) -> None:
    if found != expected:
        raise AssertionError(what)


def _numbers_of(what: str, found: Any, length: int | None = None) -> tuple[float, ...]:
    """Return what a function of a rule made, if it is a tuple of (so many) numbers."""
    is_tuple = isinstance(found, tuple) and len(found) > 0
    if not is_tuple or not all(isinstance(x, numbers.Real) for x in found):
        raise AssertionError(f"{what} {found!r}, and not a tuple of numbers")
    if length not in (None, len(found)):
        raise AssertionError(f"{what} {found!r}, and not {length} numbers")
    return found


def check_row(subject: Subject) -> None:
    """Check that the row agrees with itself: lr first, defaults in range, a clock that counts."""
    rule = subject.rule
    h = subject.h
    _same(next(iter(rule.hyper)), "lr", "lr is not the first hyperparameter: schedules multiply it")
    clock = _numbers_of("clock0 returns", rule.clock0(h))
    _same(clock[0], 0.0, "the first number of clock0 counts the steps, and is not 0")
    for t in range(1, 4):
        made = rule.tick(h, clock)
        if not (isinstance(made, tuple) and len(made) == 2):
            raise AssertionError(f"tick returns {made!r}, and not (clock, c)")
        clock = _numbers_of("tick returns as clock", made[0], len(clock))
        c = _numbers_of("tick returns as coefficients", made[1])
        _same(clock[0], float(t), f"after {t} steps the clock counts {clock[0]}")
        _same([math.isfinite(x) for x in c], [True] * len(c), f"a coefficient is not finite: {c}")
    if len(set(rule.slots)) != len(rule.slots):
        raise AssertionError(f"two slots have one name: {rule.slots}")
    x = tuple(0.75 + k for k in range(1 + len(rule.slots)))
    _numbers_of("update returns", rule.update(c, 1.0, x), len(x))
    _check_places(rule, h, clock)


def _check_places(rule: Rule, h: tuple[float, ...], clock: tuple[float, ...]) -> None:
    """Check that powers and what accumulates are in the clock where the row says, nothing else."""
    for name in (*rule.powers, *rule.corrected.values()):
        _same(name in rule.hyper, True, f"{name!r} is no hyperparameter")
    spans = [*((name, k, 2) for name, k in rule.powers.items())]
    spans += [(name, k, 1) for name, k in rule.accumulates.items()]
    for name, place, width in spans:
        fits = isinstance(place, int) and 0 < place <= len(clock) - width
        _same(fits, True, f"{name!r} is not at {place} of {len(clock)} numbers")
    places = sorted(k + i for _, k, width in spans for i in range(width))
    what = f"powers and accumulates tell of the numbers {places} of a clock of {len(clock)}"
    _same(places, list(range(1, len(clock))), f"{what}, the first of which counts")
    again = np.array([clock])
    rewind(rule, h, again)
    _same(bool(np.allclose(again, clock, 1e-12, 1e-15)), True, f"powers are {again}, not {clock}")


def check_factor(subject: Subject) -> None:
    """Check that the first coefficient scales the gradient: unscaling and clipping go there."""
    rule = subject.rule
    h = subject.h
    _, c = rule.tick(h, rule.clock0(h))
    x = tuple(0.75 + k for k in range(1 + len(rule.slots)))
    scaled = rule.update((0.25 * c[0], *c[1:]), 4.0, x)
    _same(scaled, rule.update(c, 1.0, x), "a quarter of it and four times the gradient differ")


def check_formula(subject: Subject) -> None:
    """Compare the kernel with the three functions in plain Python, element by element."""
    rule, n = subject.rule, 67
    h, p = subject.h, _numbers(n, 0)
    clock: Any = rule.clock0(h)
    start = [p.tolist(), *(_begun(source, h, p) for source in rule.starts[1:])]
    x = list(zip(*start))
    opt = subject.make(p)
    for t in range(STEPS):
        g = _numbers(n, t + 1)
        opt.step(g)
        clock, c = rule.tick(rule.vectors(h) if rule.vectors else h, clock)
        if rule.measure is not None and rule.trust is not None:
            pairs = [rule.measure(c, *at) for at in zip(g.tolist(), x)]
            c = rule.trust(c, tuple(map(sum, zip(*pairs))), n)
        x = [rule.update(c, *at) for at in zip(g.tolist(), x)]
    ((segment, piece),) = opt._groups[0].pieces
    arrays = (piece.array, *(piece.of(slot) for slot in segment.slots.values()))
    for name, array, wanted in zip(("p", *rule.slots), arrays, zip(*x)):
        size = np.maximum(np.abs(wanted), np.abs(np.array(wanted)).max() * 1e-3)
        error = np.abs(array - np.array(wanted))  # a slot may be zero altogether
        worst = float(np.divide(error, size, out=error, where=error != 0.0).max())
        if not worst < 1e-12:
            raise AssertionError(f"{name} differs by {worst:.1e} of its size from the functions")


def _typed(update: Callable) -> Callable:
    def run(c: Any, g: Any, x: Any) -> Any:
        return update(c, g, x)

    return run


def check_widths(subject: Subject) -> None:
    """Check that of float32 numbers the update makes float32: a literal in it would make float64.

    That loop takes three times as long, and rounds otherwise than its twins in other loops.
    """
    rule = subject.rule
    _, c = rule.tick(subject.h, rule.clock0(subject.h))
    one = np.float32(0.75)
    made = kernel(_typed, rule.update)
    with in_two_lines():
        made((one,) * len(c), one, (one,) * (1 + len(rule.slots)))
    (signature,) = made.nopython_signatures
    kinds = [str(kind) for kind in signature.return_type]
    _same(kinds, ["float32"] * len(kinds), f"update makes {', '.join(kinds)} of float32 numbers")


def _begun(source: int, h: tuple[float, ...], p: np.ndarray) -> list[float]:
    slot = np.empty_like(p)
    begin(source, h, p, slot)
    return slot.tolist()


def check_in_place(subject: Subject) -> None:
    """Check that parameters are updated where they are, and gradients only read."""
    for dtype in DTYPES:
        p, g = _numbers(65, 0, dtype), _numbers(65, 1, dtype)
        before, read = p.copy(), g.copy()
        opt = subject.make([p, before.copy()])
        for _ in range(2):  # the first of ADOPT only looks
            opt.step([g, None])
        _same(opt.param_groups[0]["params"][0] is p, True, "the parameter is another array")
        _same(bool((p != before).any()), True, "two steps change nothing")
        _same(g.tobytes(), read.tobytes(), "the gradient was written")
        _same(bool(np.isfinite(p).all()), True, f"two steps in {np.dtype(dtype)} are not finite")
        resting = opt.param_groups[0]["params"][1]
        _same(resting.tobytes(), before.tobytes(), "a parameter without gradient moved")


def check_descent(subject: Subject) -> None:
    """Check that 100 steps at the defaults, from one, lower the sum of squares."""
    p = np.ones(8)
    opt = subject.make(p)
    for _ in range(100):
        opt.step(2.0 * p)
    _same(bool((p * p).sum() < 8.0), True, f"the sum of squares went from 8 to {(p * p).sum()}")


def check_sizes(subject: Subject) -> bool | None:
    """Compare each element of arrays of every size with that of many; not with sums."""
    if not subject.is_elementwise:
        return False
    for dtype in DTYPES:
        width, many = np.dtype(dtype).itemsize, _stepped(subject, LARGE, dtype)
        for n in SIZES:
            few = _stepped(subject, n, dtype)
            for a, b in zip(few[1:], many[1:]):
                _same(a, b[: n * width], f"of {n} elements in {np.dtype(dtype)} one differs")
    return None


def check_threads(subject: Subject) -> None:
    """Compare one thread with all of them, bit for bit."""
    before = numba.get_num_threads()
    for dtype in DTYPES:
        all_of_them = _stepped(subject, LARGE, dtype)
        try:
            numba.set_num_threads(1)
            _same(_stepped(subject, LARGE, dtype), all_of_them, "one thread makes other bits")
        finally:
            numba.set_num_threads(before)


def check_neighbours(subject: Subject) -> bool | None:
    """Check that a gradient of NaN spoils its element and no other; not with sums."""
    if not subject.is_elementwise:
        return False
    p, clean = _numbers(33, 0), _numbers(33, 0)
    g = _numbers(33, 1)
    subject.make(clean).step(g)
    g[16] = np.nan
    subject.make(p).step(g)
    others = np.arange(33) != 16
    _same(p[others].tobytes(), clean[others].tobytes(), "NaN of one element reaches another")
    return None


def _into_arena(opt: Optimizer, grads: Mapping[str, np.ndarray]) -> None:
    buffer: Any = opt._groups[0].params
    for name, g in grads.items():
        buffer.grads[name][...] = g


NAMES = list(_arrays())
FORMS: dict[str, tuple[Callable, Callable]] = {
    "a list": (list, lambda opt, grads: [grads[name] for name in NAMES]),
    "groups": (
        lambda arrays: [{"params": [a]} for a in arrays],
        lambda opt, grads: [[grads[name]] for name in NAMES],
    ),
    "an arena": (lambda arrays: flatten(dict(zip(NAMES, arrays))), _into_arena),
}
"""How parameters may be given, and their gradients."""


def check_forms(subject: Subject) -> None:
    """Compare arrays in a list, groups and an arena with those in a dict, bit for bit."""
    for dtype in DTYPES:
        expected = _bytes_of(_run(subject.make(_arrays(dtype)), dtype=dtype))
        for form, (of_params, of_grads) in FORMS.items():
            opt = subject.make(of_params(list(_arrays(dtype).values())))
            for t in range(STEPS):
                opt.step(of_grads(opt, _grads(t, dtype)))
            _same(_bytes_of(opt), expected, f"{form} and a dict differ")


def check_state(subject: Subject) -> None:
    """Check that through a state dict and a file it goes on bit for bit."""
    opt = _run(subject.make(_arrays()))
    fresh = subject.make({name: a.copy() for name, a in opt._groups[0].params.items()})
    fresh.load_state_dict(opt.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        save(opt, Path(folder) / "x.safetensors")
        loaded = subject.make(_arrays())
        load(loaded, Path(folder) / "x.safetensors")
    more = range(STEPS, 2 * STEPS)
    expected = _bytes_of(_run(opt, more))
    _same(_bytes_of(_run(fresh, more)), expected, "after load_state_dict it goes another way")
    _same(_bytes_of(_run(loaded, more)), expected, "after fastopt.load it goes another way")


def check_copies(subject: Subject) -> bool | None:
    """Check that copied and pickled it goes on bit for bit, if a module has the class."""
    if not subject.is_importable:
        return False
    opt, more = _run(subject.make(_arrays())), range(STEPS, 2 * STEPS)
    copies = copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))
    expected = _bytes_of(_run(opt, more))
    for twin, how in zip(copies, ("copied", "pickled")):
        _same(_bytes_of(_run(twin, more)), expected, f"{how} it goes another way")
    return None


def check_refusals(subject: Subject) -> None:
    """Check that an option out of its range is refused by name, and nothing is changed."""
    options = inspect.signature(subject.cls).parameters
    kinds: Mapping[str, Any] = subject.rule.hyper
    for name, kind in ((n, k) for n, k in kinds.items() if n in options):
        below = [kind.low - 1.0, math.nan, math.inf] if isinstance(kind, Real) else [2]
        for bad in (*below, "what", None, 1j, [0.5]):
            p = _numbers(5, 0)
            before = p.tobytes()
            try:
                subject.make(p, **{name: bad})
            except HyperparameterError as error:
                _same(name in str(error), True, f"{name}={bad!r} is refused without its name")
            else:
                raise AssertionError(f"{name}={bad!r} is taken; its range is {kind.range}")
            _same(p.tobytes(), before, f"{name}={bad!r} was refused after a parameter was written")


def check_maximize(subject: Subject) -> bool | None:
    """Compare going up with going down on the negative, where there is the option."""
    if "maximize" not in inspect.signature(subject.cls).parameters:
        return False
    down, up = _numbers(33, 0), _numbers(33, 0)
    subject.make(down).step(_numbers(33, 1))
    subject.make(up, maximize=True).step(-_numbers(33, 1))
    _same(up.tobytes(), down.tobytes(), "maximize=True on -g is another step than on g without")
    return None


def check_torch(subject: Subject) -> bool | None:
    """Compare tensors of torch with arrays, bit for bit, if torch is installed."""
    if subject.cls not in BINDINGS or importlib.util.find_spec("torch") is None:
        return False
    from fastopt.torch.testing import stepped

    for dtype in DTYPES:
        p, grads = _numbers(1025, 0, dtype), [_numbers(1025, t + 1, dtype) for t in range(STEPS)]
        found = stepped(subject.cls, p.copy(), grads)
        opt = subject.make(p)
        for g in grads:
            opt.step(g)
        for tensor in found:
            _same(tensor, p.tobytes(), f"torch's tensors of {np.dtype(dtype)} go another way")
    return None


CHECKS: dict[str, Callable[[Subject], bool | None]] = {
    "the row agrees with itself": check_row,
    "the first coefficient scales the gradient": check_factor,
    "float32 stays float32": check_widths,
    "the kernel is the formula": check_formula,
    "writes in place": check_in_place,
    "goes down": check_descent,
    "every size": check_sizes,
    "threads change no bit": check_threads,
    "NaN stays where it is": check_neighbours,
    "every form of parameters": check_forms,
    "state goes on": check_state,
    "copies go on": check_copies,
    "refuses by name": check_refusals,
    "maximize is its mirror": check_maximize,
    "torch has the same bits": check_torch,
}
"""By what they say of an optimizer that passes."""
