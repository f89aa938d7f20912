"""Every option of every class with everything that it may not be, and every place of an array.

The bad values are made from the rows of the rules (tests/helpers/bad_values.py). Each is refused by
its right error, whose message has the name, what was found and what is allowed, and not a byte
of anything is changed.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

import fastopt
import fastopt.torch
from fastopt.classes.common import BINDINGS
from fastopt.errors import ArrayError, ArrayTypeError, HyperparameterError, shortened
from fastopt.rules.clocks import HAIR
from tests.helpers.bad_values import bad_options, bad_shared
from tests.helpers.makers import everything

CLASSES = [cls for cls in BINDINGS if cls.__module__.startswith("fastopt.")]
every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def options_of(cls):
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters}


def check_refusal(act, name, bad, allowed):
    """``act`` raises one error that says what is wrong with which option."""
    with pytest.raises(HyperparameterError) as caught:
        act()
    text = str(caught.value)
    found = bad[()] if isinstance(bad, np.ndarray) and bad.ndim == 0 else bad
    assert name in text, (name, bad)
    assert shortened(found) in text, (name, bad, text)
    assert allowed in text, (name, bad, text)
    assert len(text) < 1000


def test_there_are_as_many_classes_as_in_the_package():
    made = {name for name in fastopt.classes.__all__ if getattr(fastopt, name) in BINDINGS}
    assert {cls.__name__ for cls in CLASSES} == made
    assert len(CLASSES) > 20


@every_class
def test_a_bad_option_of_an_optimizer_over_arrays(cls, counted):
    w = np.array([1.0, 2.0])
    before = w.tobytes()
    cases = bad_options(cls, options_of(cls)) + bad_shared()
    for name, options, bad, allowed in cases:
        check_refusal(lambda options=options: cls({"w": w}, **options), name, bad, allowed)
        assert w.tobytes() == before
    counted(len(cases))


@every_class
def test_a_bad_option_of_an_optimizer_over_tensors(cls, counted):
    w = torch.nn.Parameter(torch.ones(2))
    made = getattr(fastopt.torch, cls.__name__)
    # An lr a hair below zero is what torch's LinearLR ends at.
    cases = [
        case
        for case in bad_options(cls, options_of(made))
        if case[0] != "lr" or not isinstance(case[2], float) or not -HAIR <= case[2] < 0
    ]
    for name, options, bad, allowed in cases:
        check_refusal(lambda options=options: made([w], **options), name, bad, allowed)
        assert torch.equal(w.detach(), torch.ones(2))
    counted(len(cases))


@every_class
def test_a_bad_option_that_is_set_between_two_steps(cls, counted):
    """In the second group: the first must not be stepped before it is seen."""
    opt = cls([{"params": np.ones(2)}, {"params": np.ones(3)}])
    group = opt.param_groups[1]
    good, before = dict(group), everything(opt)
    # What equals the option that is there, such as 0 for False, is no change to be looked at.
    cases = [
        case
        for case in bad_options(cls, options_of(cls))
        if not (isinstance(case[2], int | float | np.generic) and case[1].items() <= good.items())
    ]
    for name, options, bad, allowed in cases:
        group.update(options)
        check_refusal(lambda: opt.step([np.ones(2), np.ones(3)]), name, bad, allowed)
        assert everything(opt) == before
        group.update(good)
    assert opt.steps == 0
    counted(len(cases))


# ---- arrays ----


def read_only(a):
    a.flags.writeable = False
    return a


def unaligned(dtype):
    size = np.dtype(dtype).itemsize
    return np.zeros(6 * size + 1, np.uint8)[1:].view(dtype)


def bad_arrays(dtype):
    """Arrays of six elements that no kernel may be given, by what is wrong, with their error."""
    wrong = {
        "a list": [1.0] * 6,
        "a tuple": (1.0,) * 6,
        "None": None,
        "a number": 1.0,
        "a scalar": np.dtype(dtype).type(1),
        "text": "weights",
        "bytes": b"123456",
        "a memoryview": memoryview(np.ones(6, dtype)),
        "a tensor": torch.ones(6),
        "a matrix": np.ones((1, 6), dtype).view(np.matrix),
        "masked": np.ma.ones(6, dtype),
        "records": np.ones(6, dtype).view([("a", dtype)]),
        "objects": np.ones(6, object),
        "texts": np.array(["a"] * 6),
        "dates": np.zeros(6, "M8[s]"),
    }
    others = ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "g", "F", "D", "G")
    wrong |= {f"dtype {code}": np.ones(6, code) for code in others}
    laid_out = {
        "byte order": np.ones(6, np.dtype(dtype).newbyteorder()),
        "strided": np.ones(12, dtype)[::2],
        "reversed": np.ones(6, dtype)[::-1],
        "a column": np.ones((6, 2), dtype)[:, 1],
        "Fortran": np.ones((2, 3), dtype, order="F"),
        "broadcast": np.broadcast_to(np.ones(1, dtype), (6,)),
        "unaligned": unaligned(dtype),
        "overlapping itself": np.lib.stride_tricks.as_strided(
            np.ones(9, dtype), (6,), (np.dtype(dtype).itemsize // 2,)
        ),
    }
    return wrong, laid_out, {"read-only": read_only(np.ones(6, dtype))}


PLACES = {
    "an array": lambda a: fastopt.AdamW(a),
    "a list": lambda a: fastopt.AdamW([OTHER, a]),
    "a dict": lambda a: fastopt.AdamW({"o": OTHER, "w": a}),
    "a group": lambda a: fastopt.AdamW([{"params": OTHER}, {"params": [a]}]),
    "a group added later": lambda a: fastopt.AdamW(OTHER).add_param_group({"params": {"w": a}}),
    "gradient of a list": lambda a: opt_of_list().step([np.ones(3), a]),
    "gradient of a dict": lambda a: opt_of_dict().step({"o": np.ones(3), "w": a}),
    "gradients to clip": lambda a: fastopt.clip_grad_norm_([np.ones(3), a], 0.1),
    "gradients to clip by value": lambda a: fastopt.clip_grad_value_([np.ones(3), a], 0.1),
    "gradients to measure": lambda a: fastopt.global_norm([OTHER, a]),
}
OTHER = np.ones(3)
ONLY_READ = ("gradient of a list", "gradient of a dict", "gradients to measure")
NO_GRADIENT = ("gradient of a list", "gradient of a dict", "gradients to clip", *(
    "gradients to clip by value", "gradients to measure"
))  # fmt: skip


def opt_of_list():
    return fastopt.AdamW([OTHER, np.ones(6)])


def opt_of_dict():
    return fastopt.AdamW({"o": OTHER, "w": np.ones(6)})


def bytes_of(a):
    if isinstance(a, np.ma.MaskedArray):
        return a.data.tobytes(), a.mask.tobytes()
    return a.tobytes() if isinstance(a, np.ndarray) else bytes(str(a), "utf-8")


@pytest.mark.parametrize("place", PLACES)
def test_a_bad_array(place, counted):
    act, before, cases = PLACES[place], OTHER.tobytes(), 0
    for dtype in (np.float32, np.float64):
        *wrong, unwritable = bad_arrays(dtype)
        tables = wrong if place in ONLY_READ else (*wrong, unwritable)
        for name, a in ((name, a) for table in tables for name, a in table.items()):
            if a is None and place in NO_GRADIENT:
                continue  # a parameter without a gradient rests
            kept = bytes_of(a)
            with pytest.raises((ArrayError, ArrayTypeError)) as caught:
                act(a)
            text = str(caught.value)
            # Which of the arrays, and what to do about it.
            assert "[1]" in text or "['w']" in text or place == "an array", (name, text)
            assert ". Pass" in text or ". Convert" in text or "shape" in text or "must be" in text
            assert OTHER.tobytes() == before, name
            assert bytes_of(a) == kept, name
            cases += 1
    counted(cases)
