"""Whatever kind of thing holds a number that is read, its change is a change of code."""

from __future__ import annotations

import contextlib
import enum
import functools
import importlib
import sys
import types
from collections import defaultdict

import numba
import numpy as np
import pytest
import torch
from numba.experimental import jitclass, structref
from numba.extending import overload_attribute, overload_method

from fastopt.code import origins
from fastopt.code.fingerprint import fingerprint
from fastopt.code.frozen import fingerprint_and_warn
from fastopt.compile import kernel
from fastopt.errors import CodeWarning
from sweeps import problems, sweep
from tests.helpers.compiled import call_template

K = 2.0
module = types.ModuleType("constants_of_a_user")
module.K = 2.0


def raise_global():
    globals()["K"] += 1.0


def raise_module():
    module.K += 1.0


# What Numba makes of a function: a copy of a kernel's must be made anew, or it stays what it was.


@numba.guvectorize("(n)->(n)")
def many(a, found):
    for i in range(len(a)):
        found[i] = a[i] * K


@numba.guvectorize(["void(float64[:], float64[:])"], "(n)->(n)")
def many_typed(a, found):
    for i in range(len(a)):
        found[i] = a[i] * K


@numba.cfunc("float64(float64)")
def callback(x):
    return x * K


@numba.stencil(neighborhood=((-1, 1),), cval=0.0)
def neighbours(a):
    return (a[-1] + a[1]) * K


class Parent:
    def scaled(self, x):
        return x * self.rate * K


@jitclass([("rate", numba.float64)])
class Line(Parent):
    more: float

    def __init__(self, rate):
        self.rate, self.more = rate, 1.0

    @property
    def twice(self):
        return 2.0 * K

    @staticmethod
    def fixed(x):
        return x * K

    def again(self):
        return Line(self.rate)


def through(ufunc):
    def call(x):
        found = np.empty(1)
        ufunc(np.full(1, x), found)
        return found[0]

    return call


class Meta(type):
    @property
    def rate(cls):
        return K


class Rates(metaclass=Meta):
    pass


def with_module(x, m=module):
    return x * m.K


COMPILED = {
    "guvectorize": (through(many), raise_global),
    "guvectorize of a type": (through(many_typed), raise_global),
    "cfunc": (lambda x: callback(x), raise_global),
    "stencil": (lambda x: neighbours(np.full(3, x))[1], raise_global),
    "method of a jitclass": (lambda x: Line(1.0).scaled(x), raise_global),
    "jitclass that makes itself": (lambda x: Line(x).again().scaled(1.0), raise_global),
    "property of a jitclass": (lambda x: x * Line(1.0).twice, raise_global),
    "static method of a jitclass": (lambda x: Line(1.0).fixed(x), raise_global),
    "property of a class of classes": (lambda x: x * Rates.rate, raise_global),
    "module as a default": (with_module, raise_module),
    "getattr": (lambda x: x * getattr(module, "K"), raise_module),  # noqa: B009
}


@pytest.mark.parametrize(("function", "change"), COMPILED.values(), ids=COMPILED)
def test_a_kernel_is_what_its_parts_are_now(function, change):
    before = kernel(call_template, function)
    seen = before(2.0)
    assert kernel(call_template, function) is before
    change()
    after = kernel(call_template, function)
    assert after(2.0) > seen == before(2.0)


def test_landscapes_take_classes_of_numbas_and_follow_them():
    problem = problems.landscape(lambda x: Line(1.0).scaled(x) + callback(x), start=(2.0,))
    for _ in range(2):
        result = sweep(problem, {"lr": [0.0]}, optimizer="sgd", steps=1, progress=False)
        assert result.to_frame()["train_loss"].tolist() == [4.0 * K]
        raise_global()


# What Numba finds by a type alone is not copied: it is said, and told apart in the next process.


@structref.register
class PairType(numba.types.StructRef):
    pass


class Pair(structref.StructRefProxy):
    def __new__(cls, a):
        return structref.StructRefProxy.__new__(cls, a)


structref.define_proxy(Pair, PairType, ["a"])


@overload_method(PairType, "scaled_pair")
def scaled_pair(self, x):
    return lambda self, x: self.a * x * K


@overload_attribute(numba.types.Array, "rate_of_array")
def rate_of_array(array):
    return lambda array: K


BY_TYPE = {
    "scaled_pair": lambda x: Pair(1.0).scaled_pair(x),
    "rate_of_array": lambda x: x * np.ones(1).rate_of_array,
}


@pytest.mark.parametrize(("name", "function"), BY_TYPE.items(), ids=BY_TYPE)
def test_what_is_found_by_a_type_is_named(name, function, monkeypatch):
    monkeypatch.setattr("fastopt.code.frozen._warned", set())
    with pytest.warns(CodeWarning, match=name):
        before = fingerprint_and_warn(function)
    monkeypatch.setattr("fastopt.code.frozen._warned", set())
    with pytest.warns(CodeWarning, match=name):
        made = kernel(call_template, function)
    assert made(2.0) == 2.0 * K
    raise_global()
    assert fingerprint(function) != before


# Plain Python: transformers, metrics, and callables.


class Mode(enum.Enum):
    LOW = 1

    def rate(self):
        return K


class Table(dict):
    pass


class Vector(np.ndarray):
    pass


def attributed(c):
    return attributed.rate


@functools.singledispatch
def dispatched(c):
    return 0.0


@dispatched.register
def _of_a_dict(c: dict):
    return K


@contextlib.contextmanager
def managed(c):
    yield K


@torch.no_grad()
def without_gradients(c):
    return K


attributed.rate = 2.0
table, vector = Table(), np.ones(2).view(Vector)
table.rate = vector.rate = 2.0
default = defaultdict(lambda: K)
filled = np.ma.array([1.0, 2.0], mask=[False, True], fill_value=2.0)
held = [module]
bits = torch.full((2,), 2.0, dtype=torch.bfloat16)
conjugated = torch.full((2,), 2.0 + 1j).conj()
sparse = torch.full((2,), 2.0).to_sparse()


class ByName:
    def __reduce__(self):
        return "by_name"


by_name = ByName()
by_name.rate = 2.0


def is_more(thing):
    return lambda: setattr(thing, "rate", thing.rate + 1.0)


PLAIN = {
    "attribute of a function": (attributed, is_more(attributed)),
    "method of an enumeration": (lambda c: Mode.LOW.rate(), raise_global),
    "attribute of a dict": (lambda c: table.rate, is_more(table)),
    "attribute of an array": (lambda c: vector.rate, is_more(vector)),
    "default of a dict": (lambda c: default.default_factory(), raise_global),
    "fill value": (lambda c: filled.filled()[1], lambda: setattr(filled, "fill_value", 3.0)),
    "module in a list": (lambda c: held[0].K, raise_module),
    "module in a namespace": (lambda c: types.SimpleNamespace(m=module).m.K, raise_module),
    "dispatched by type": (dispatched, raise_global),
    "managed": (lambda c: managed(c).__enter__(), raise_global),
    "decorated by another package": (without_gradients, raise_global),
    "bfloat16 tensor": (lambda c: float(bits[0]), lambda: bits.add_(1.0)),
    "conjugated tensor": (lambda c: conjugated[0].real.item(), lambda: conjugated.add_(1.0)),
    "sparse tensor": (lambda c: sparse.to_dense()[0].item(), lambda: sparse.mul_(2.0)),
    "object that pickles by name": (lambda c: by_name.rate, is_more(by_name)),
}


@pytest.mark.parametrize(("function", "change"), PLAIN.values(), ids=PLAIN)
def test_a_fingerprint_sees_what_a_callable_reads(function, change):
    value, before = function({}), fingerprint(function)
    assert fingerprint(function) == before
    change()
    assert function({}) > value
    assert fingerprint(function) != before


IMPORTS = """
def sibling(c):
    from .constants import K
    return K
def package(c):
    from . import constants
    return constants.K
def above(c):
    from ..constants import K
    return K
def absolute(c):
    from outer.inner import constants
    return constants.K
"""


def test_modules_that_a_function_imports_are_read(tmp_path, monkeypatch):
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").touch()
        (folder / "constants.py").write_text("K = 1.0")
    (inner / "functions.py").write_text(IMPORTS)
    monkeypatch.syspath_prepend(tmp_path)
    functions = importlib.import_module("outer.inner.functions")
    for name in ("sibling", "package", "above", "absolute"):
        function = getattr(functions, name)
        value, before = function({}), fingerprint(function)
        path = "outer.constants" if name == "above" else "outer.inner.constants"
        sys.modules[path].K += 1.0
        assert function({}) > value
        assert fingerprint(function) != before


def test_what_is_found_by_a_name_made_as_it_runs_is_named():
    with pytest.warns(CodeWarning, match="what eval finds as it runs"):
        fingerprint_and_warn(lambda c: eval("K"))


INSTALLED = """
from numba import njit
from . import constants
from .constants import K
def plain(x):
    return x * K
@njit
def compiled(x):
    return plain_of_numbas(x) * K
@njit
def plain_of_numbas(x):
    return x
def line(x):
    return plain(x) + compiled(x) + x * constants.K
def loss(theta, X, y, aux, grad):
    grad[:] = line(1.0)
    return line(theta[0])
"""


def test_functions_of_an_installed_package_are_those_of_its_files(tmp_path, monkeypatch):
    """As `pip install .` puts them there, with a constant in another file."""
    places = ((f"{tmp_path}/", "installed"), *origins._places())
    monkeypatch.setattr(origins, "_places", lambda: places)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    folder = tmp_path / "package_of_a_user"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "functions.py").write_text(INSTALLED)
    how = {"optimizer": "sgd", "steps": 1, "progress": False}
    for k in (1.0, 2.0):
        (folder / "constants.py").write_text(f"K = {k}")
        for name in [name for name in sys.modules if name.startswith("package_of_a_user")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        module = importlib.import_module("package_of_a_user.functions")
        landscape = problems.landscape(module.line, start=(1.0,))
        custom = problems.custom(module.loss, np.ones(1), np.ones((1, 1)), np.ones(1))
        for problem, more in ((landscape, {}), (custom, {"batch_size": 1})):
            result = sweep(problem, {"lr": [0.0]}, **how, **more)
            assert result.to_frame()["train_loss"].tolist() == [3.0 * k]
        assert kernel(call_template, module.line)(1.0) == 3.0 * k
