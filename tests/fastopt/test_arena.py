"""The arena: what goes in comes out, on aligned memory, and views stay views."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fastopt
from fastopt import ArrayError, ArrayTypeError, flatten
from fastopt.machine.arrays import address

SHAPES = [(), (1,), (15,), (16,), (17,), (0,), (3, 5), (2, 0), (4, 4, 4), (1000,)]


def arrays(dtype=np.float32, shapes=SHAPES):
    rng = np.random.default_rng(0)
    return {f"a{k}": np.asarray(rng.normal(size=s), dtype) for k, s in enumerate(shapes)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("structure", [dict, list, tuple])
def test_views_hold_the_values_and_the_layout_is_aligned(dtype, structure):
    given = arrays(dtype)
    values = list(given.values())
    buffer = flatten(given if structure is dict else structure(values))
    names = tuple(given) if structure is dict else tuple(range(len(values)))
    assert (buffer.names, buffer.dtype) == (names, dtype)
    for name, a, offset in zip(names, values, buffer.offsets):
        view, grad = buffer.params[name], buffer.grads[name]
        np.testing.assert_array_equal(view, a, strict=True)
        np.testing.assert_array_equal(grad, np.zeros_like(a), strict=True)
        assert offset * a.itemsize % 64 == 0
        if a.size:
            assert address(view) % 64 == 0
            assert address(view) - address(buffer.flat) == offset * a.itemsize
            assert np.shares_memory(grad, buffer.flat_grad)
            assert not np.shares_memory(view, a)
    assert buffer.flat.nbytes % 64 == 0


def test_no_element_is_shared_and_padding_is_zero():
    buffer = flatten(arrays())
    for k, view in enumerate(buffer.params.values(), start=1):
        view[...] = k
    for k, view in enumerate(buffer.params.values(), start=1):
        assert (view == k).all()
    used = sum(view.size for view in buffer.params.values())
    assert np.count_nonzero(buffer.flat) == used < buffer.flat.size


def test_strides_and_byte_order_do_not_matter_for_a_copy():
    a = np.arange(12.0).reshape(3, 4)
    buffer = flatten({"t": a.T, "s": a[:, ::2], "big": a.astype(">f8")})
    np.testing.assert_array_equal(buffer.params["t"], a.T)
    np.testing.assert_array_equal(buffer.params["s"], a[:, ::2])
    np.testing.assert_array_equal(buffer.params["big"], a)
    assert buffer.flat.dtype.isnative


def test_zero_grad():
    buffer = flatten(arrays())
    buffer.flat_grad[:] = 3.0
    buffer.zero_grad()
    assert not buffer.flat_grad.any()


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({}, ArrayError, "no arrays"),
        ([], ArrayError, "no arrays"),
        (np.ones(3), ArrayTypeError, "dict or a list.*ndarray"),
        ([np.ones(3), [1.0]], ArrayTypeError, r"arrays\[1\].*list"),
        ([np.ones(3), np.ones(3, np.float32)], ArrayTypeError, r"arrays\[1\].*float32.*float64"),
        ({"w": np.ones(3, int)}, ArrayTypeError, r"arrays\['w'\] has dtype int64"),
        ({"w": np.ma.ones(3)}, ArrayTypeError, "MaskedArray"),
    ],
)
def test_refused(given, error, text):
    with pytest.raises(error, match=text):
        flatten(given)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
@pytest.mark.parametrize("structure", [dict, lambda a: list(a.values())])
def test_a_copy_has_views_of_its_own_buffer(duplicate, structure):
    buffer = flatten(structure(arrays()))
    buffer.flat_grad[:] = 2.0
    other = duplicate(buffer)
    name = buffer.names[-1]
    other.params[name][...] = 9.0
    other.grads[name][...] = 8.0
    assert np.count_nonzero(other.flat == 9.0) == buffer.params[name].size
    assert np.count_nonzero(other.flat_grad == 8.0) == buffer.params[name].size
    assert not (buffer.flat == 9.0).any()
    assert (other.grads[buffer.names[0]] == 2.0).all()


@pytest.mark.parametrize("cls", [fastopt.SGD, fastopt.Adam, fastopt.AdamW])
def test_padding_stays_zero_through_training(cls):
    buffer = flatten(arrays())
    opt = cls(buffer, lr=0.1, weight_decay=0.1)
    used = np.zeros(buffer.flat.size, bool)
    for offset, view in zip(buffer.offsets, buffer.params.values()):
        used[offset : offset + view.size] = True
    for _ in range(3):
        for grad in buffer.grads.values():
            grad[...] = 1.0
        opt.step()
    assert not buffer.flat[~used].any()
    assert not buffer.flat_grad[~used].any()
    assert buffer.flat[used].all()


@pytest.mark.parametrize("n", [7, 5000])
def test_slots_of_an_arena_are_aligned(n):
    opt = fastopt.Adam(flatten([np.ones(n)]), amsgrad=True)
    for a in opt._groups[0].segments[0].slots.values():
        assert address(a) % 64 == 0


def test_repr_says_how_large():
    assert repr(flatten([np.ones(3), np.ones(9)])) == "Buffer(2 tensors, 24 elements, float64)"


def assign(title, value):
    return lambda buffer: setattr(buffer, title, value(getattr(buffer, title)))


def put(title, key, value):
    return lambda buffer: getattr(buffer, title).__setitem__(key, value)


# Each of these trained nothing, or something else, without a word.
REPLACED = {
    "an attribute": assign("flat", np.copy),
    "its gradients": assign("flat_grad", np.ones_like),
    "all views": assign("grads", dict),
    "a gradient": put("grads", "b", np.ones(4, np.float32)),
    "a gradient of one number": put("grads", "s", np.array(1.0, np.float32)),
    "a parameter": put("params", "w", np.ones((2, 3), np.float32)),
    "a new one": put("grads", "new", np.ones(2, np.float32)),
    "one fewer": lambda buffer: buffer.grads.pop("b"),
    "another name": lambda buffer: buffer.grads.update(c=buffer.grads.pop("b")),
}
USES = {
    "a step": lambda buffer: fastopt.Adam(buffer).step(),
    "a step tensor by tensor": lambda buffer: fastopt.LAMB(buffer).step(),
    "clipping": lambda buffer: fastopt.clip_grad_norm_(buffer, 1.0),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("replace", REPLACED.values(), ids=REPLACED)
def test_memory_that_a_step_would_not_see_is_refused(replace, use):
    shapes = {"w": (2, 3), "b": (4,), "s": ()}
    buffer = flatten({name: np.ones(shape, np.float32) for name, shape in shapes.items()})
    before = buffer.flat, buffer.flat.copy()

    def replace_and_use():
        replace(buffer)
        use(buffer)

    with pytest.raises(ArrayError, match=r"of (a|the) Buffer"):
        replace_and_use()
    assert np.array_equal(*before)


def test_what_is_written_in_place_may_be_assigned_to_itself():
    buffer = flatten({"w": np.zeros(3)})
    buffer.grads["w"] += 2.0
    buffer.flat_grad *= 2.0
    fastopt.SGD(buffer, lr=1.0).step()
    assert buffer.params["w"].tolist() == [-4.0, -4.0, -4.0]


@pytest.mark.parametrize("cls", [fastopt.SGD, fastopt.LAMB])
def test_the_order_of_the_views_does_not_matter(cls):
    """Each is where it was made, though a program may have taken one out and put it back."""
    runs = []
    for is_turned in (False, True):
        buffer = flatten({"w": np.ones(20), "b": np.full(3, 2.0)})
        if is_turned:
            for views in (buffer.params, buffer.grads):
                views["w"] = views.pop("w")
        opt = cls(buffer, lr=0.1)
        buffer.grads["w"][...], buffer.grads["b"][...] = 1.0, 3.0
        opt.step()
        opt, buffer = copy.deepcopy((opt, buffer))
        opt.step()
        runs.append([buffer.params[name].tolist() for name in "wb"])
    assert runs[0] == runs[1]
