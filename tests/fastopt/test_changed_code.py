"""What runs, is loaded or is reused was made from what the user's program says at that moment."""

from __future__ import annotations

import ctypes
import enum
import functools
import importlib
import shutil
import sys
import threading
import types
import warnings
from collections import namedtuple

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from numba.extending import intrinsic, overload, register_jitable

from fastopt.code import frozen as freezing
from fastopt.code.fingerprint import is_settled
from fastopt.compile import fingerprint, frozen, inlinable, jitable, kernel
from fastopt.embedding import embed, hyper
from fastopt.errors import CodeWarning, CompileError
from fastopt.rules import RULES
from sweeps import problems, sweep
from sweeps.store.identity import describe
from tests.conftest import ROOT
from tests.fastopt.test_compile import COMPILED
from tests.helpers.compiled import call_template

K, POWER = 3.0, 2
NUMBERS, MANY = np.array([1.0, 2.0]), np.ones(200_000)
PAIR = (1.0, (2.0, 3.0))
Point = namedtuple("Point", "x y")
point = Point(1.0, 2.0)


class Config:
    K = 2.0


class Rate:
    def __init__(self, k):
        self.k = k


config, rate = types.SimpleNamespace(K=5.0), Rate(2.0)
outer = types.ModuleType("outer")
outer.inner = types.ModuleType("outer.inner")
outer.inner.K = 7.0


class Level(enum.IntEnum):
    LOW = 1


@njit
def deepest(x):
    return x * K


@njit(fastmath=True)
def deep(x):
    return deepest(x) + 1.0


@njit("float64(float64)")
def typed(x):
    return x * K


def plain(x):
    return deepest(x) * K


outer.inner.plain = plain


@register_jitable
def registered(x):
    return x * K


def overloaded(x):
    return 0.0 * x


@overload(overloaded)
def _overloaded(x):
    return lambda x: x * K


@intrinsic
def multiplied(typing, x):
    def codegen(context, builder, signature, args):
        return builder.fmul(args[0], context.get_constant(numba.types.float64, K))

    return numba.types.float64(numba.types.float64), codegen


@numba.vectorize
def elementwise(x):
    return x * K


@jitable
def marked(x):
    return x * K


def repeated(n):
    return 1.0 if n <= 0.0 else K * repeated(n - 1.0)


def swapped(x):
    return x


def with_default(x, a=NUMBERS):
    return x * a[1]


halved = functools.partial(lambda a, x: a * x * K, 0.5)


def closure():
    c = 1.0

    def f(x):
        return x * c

    def change():
        nonlocal c
        c += 1.0

    return f, change


closed, change_cell = closure()


def is_now(name, change):
    def act():
        globals()[name] = change(globals()[name])

    return act


more = is_now("K", lambda k: k + 1.0)
SIBLINGS = {
    "global": (lambda x: x * K, more),
    "plain helper's": (lambda x: plain(x), more),
    "njit helper's helper's": (lambda x: deep(x), more),
    "typed njit helper's": (lambda x: typed(x), more),
    "register_jitable's": (lambda x: registered(x), more),
    "our jitable's": (lambda x: marked(x), more),
    "overload's": (lambda x: overloaded(x), more),
    "intrinsic's": (lambda x: multiplied(x), more),
    "vectorize's": (lambda x: elementwise(x), more),
    "recursive helper's": (lambda x: repeated(x), more),
    "partial's": (lambda x: halved(x), more),
    "function of a module's": (lambda x: outer.inner.plain(x), more),
    "array": (lambda x: x * NUMBERS[0], lambda: NUMBERS.__setitem__(0, NUMBERS[0] + 1.0)),
    "large array": (lambda x: x * MANY[9], lambda: MANY.__setitem__(9, MANY[9] + 1.0)),
    "default": (lambda x: with_default(x), lambda: NUMBERS.__setitem__(1, NUMBERS[1] + 1.0)),
    "tuple": (lambda x: x * PAIR[1][1], is_now("PAIR", lambda p: (1.0, (2.0, p[1][1] + 1.0)))),
    "named tuple": (lambda x: x * point.y, is_now("point", lambda p: Point(p.x, p.y + 1.0))),
    "enum": (lambda x: x**Level.LOW.value, is_now("Level", lambda _: enum.IntEnum("L", "A LOW"))),
    "class attribute": (lambda x: x * Config.K, lambda: setattr(Config, "K", Config.K + 1.0)),
    "attribute": (lambda x: x * rate.k, lambda: setattr(rate, "k", rate.k + 1.0)),
    "namespace": (lambda x: x * config.K, lambda: setattr(config, "K", config.K + 1.0)),
    "nested module": (
        lambda x: x * outer.inner.K,
        lambda: setattr(outer.inner, "K", outer.inner.K + 1.0),
    ),
    "cell": (closed, change_cell),
    "helper redefined": (lambda x: plain(x), is_now("plain", lambda _: lambda x: 77.0 * x)),
    "njit redefined": (lambda x: deep(x), is_now("deep", lambda _: njit(lambda x: 78.0 * x))),
    "code replaced": (
        lambda x: swapped(x),
        lambda: setattr(swapped, "__code__", (lambda x: 79.0 * x).__code__),
    ),
}


@pytest.mark.parametrize(("function", "change"), SIBLINGS.values(), ids=SIBLINGS)
def test_a_kernel_is_what_its_functions_are_now(function, change):
    """Numba keeps what it read when it compiled, in the kernel and in every function it calls."""
    before = kernel(call_template, function)
    seen = before(2.0)
    assert kernel(call_template, function) is before
    change()
    after = kernel(call_template, function)
    assert after(2.0) != seen
    assert before(2.0) == seen
    assert kernel(call_template, function) is after


MODULE = """
import numpy as np
from numba import njit
K = {k}.0
class Own:
    K = {k}.0
@njit
def helper(x):
    return K * x
def plain(x):
    return x * {k}.0
"""
PROGRAM = (
    COMPILED
    + """
import warnings
import numpy as np
from numba import njit
import package.constants
import package.constants as short
from package.constants import K, helper, plain
from fastopt.errors import SpecError
from sweeps import problems, sweep
warnings.simplefilter("error")
array = np.full(3, K)
@njit
def own_helper(x):
    return array[1] * x
def digits(x, own=K):
    total = 0.0
    for value in (K, own, array[0], package.constants.K, short.K, short.Own.K,
                  helper(x), plain(x), short.helper(x), short.plain(x), own_helper(x)):
        total = 10.0 * total + value
    return total
def line(x):
    return x * digits(1.0), (digits(1.0),)
def loss(theta, X, y, aux, grad):
    grad[:] = 0.0
    return digits(1.0) + 0.0 * theta[0]
def found(problem, store):
    how = {"optimizer": "sgd", "steps": 1, "progress": False}
    how |= {"batch_size": 1} if hasattr(problem, "X") else {}
    try:
        return sweep(problem, {"lr": [0.0]}, store=store, **how)
    except SpecError as error:  # the store holds the sweep of other code
        assert "code" in str(error)
for store in (None, "store"):
    for k, problem in enumerate((problems.landscape(line, start=(1.0,)),
                    problems.custom(loss, np.ones(1), np.ones((1, 1)), np.ones(1)))):
        result = found(problem, store and store + str(k))
        print(result and int(result.to_frame()["train_loss"][0]))
print(bool({"stretching", "losing"} & set(compiled.names)))
"""
)


def write(folder, k):
    (folder / "package" / "constants.py").write_text(MODULE.format(k=k))
    shutil.rmtree(folder / "package" / "__pycache__", ignore_errors=True)  # Python's own: same size


def test_edited_modules_are_noticed_in_the_next_process(python, tmp_path):
    """By the disk cache and by the store: each digit is a place that the constant is read from."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "program.py").write_text(PROGRAM)
    for k, stored in ((1, "1" * 11), (2, "None"), (1, "1" * 11)):
        write(tmp_path, k)
        done = python("import program", (tmp_path,), PYTHONDONTWRITEBYTECODE="1")
        *printed, compiles = done.stdout.split()
        assert printed == [*[str(k) * 11] * 2, *[stored] * 2]
    assert compiles == "False"  # both versions are kept


def test_sweeps_follow_a_reload_and_a_prompt(tmp_path, monkeypatch):
    """One program: a module reloaded, a cell of a notebook run again, with and without a store."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write(tmp_path, 1)
    importlib.invalidate_caches()
    module = importlib.import_module("package.constants")
    cell = compile("def shown(x):\n    return x * k + module.K * x", "<ipython-input-1>", "exec")
    names = {"k": 1.0, "module": module, "__name__": "__main__"}
    exec(cell, names)

    shown = names["shown"]

    def function(x):
        return 100.0 * shown(x) + 10.0 * module.helper(x) + module.Own.K * x

    found = []
    problem = problems.landscape(function, start=(1.0,))
    for store in (None, tmp_path / "store"):
        write(tmp_path, 1)
        importlib.reload(module)
        names["k"] = 1.0
        for k in (1.0, 2.0):
            names["k"] = k
            result = sweep(
                problem, {"lr": [0.0]}, optimizer="sgd", steps=1, progress=False,
                store=store and store / str(k),
            )  # fmt: skip
            found.append(round(result.to_frame()["train_loss"][0]))
            write(tmp_path, 2)
            importlib.reload(module)
    sys.modules.pop("package.constants")
    assert found == [211, 422] * 2


def test_a_store_knows_a_changed_function(tmp_path):
    """The same folder, first with one constant and then with another: never the old number."""
    scale = 1.0

    def line(x):
        return scale * x, (scale,)

    problem = problems.landscape(line, start=(1.0,))
    before = describe(problem)
    scale = 2.0
    assert describe(problem) != before
    assert describe(frozen(problem)) == describe(problem)


def test_a_rule_of_a_user_is_what_it_is_now():
    rate = 1.0

    @inlinable
    def update(c, g, x):
        return (x[0] - rate * c[0] * g,)

    plain = RULES["sgd"]
    RULES["of a user"] = plain.using(name="of a user", update=update)
    try:
        results = []
        for rate in (1.0, 2.0):  # noqa: B007
            step = embed("of a user").step
            p = np.array([10.0])
            run = kernel(call_template, step)
            run(hyper("of a user", lr=1.0), np.zeros(1), np.ones(1), (p,))
            results.append(p[0])
    finally:
        del RULES["of a user"]
    assert results[0] != results[1]


# Callables: nothing is compiled, and the same fingerprint tells whether a stored result holds.


class Objective:
    offset = 1.0

    def __init__(self, weights):
        self.weights = weights

    def __call__(self, config):
        return self.offset + sum(self.weights.values())

    def method(self, config):
        return self(config)


objective = Objective({"a": 1.0})
LISTED = [1.0, {"deep": [2.0]}]
CALLABLES = {
    "object": (objective, lambda: objective.weights.update(a=objective.weights["a"] + 1.0)),
    "class attribute": (objective, lambda: setattr(Objective, "offset", Objective.offset + 1.0)),
    "bound method": (objective.method, lambda: objective.weights.update(b=len(objective.weights))),
    "partial": (functools.partial(plain, NUMBERS), lambda: NUMBERS.__iadd__(1.0)),
    "list": (lambda c: LISTED, lambda: LISTED[1]["deep"].append(1)),
    "lru_cache": (functools.lru_cache(lambda c: K), more),
    "module inside": (lambda c: outer.inner.K, SIBLINGS["nested module"][1]),
}


@pytest.mark.parametrize(("function", "change"), CALLABLES.values(), ids=CALLABLES)
def test_a_fingerprint_sees_what_a_callable_reads(function, change):
    before = describe(function) if callable(function) else fingerprint(function)
    assert describe(function) == before
    change()
    assert describe(function) != before


DIFFERENT = [
    (lambda x: x.real, lambda x: x.imag),
    (lambda x: x in {1.0, 2.0}, lambda x: x in {1.0, 3.0}),
    (lambda x: x + 0.0, lambda x: x - -0.0),
    (lambda x: x * 1, lambda x: x * 1.0),
    (lambda x: x * 1, lambda x: x * True),
    (lambda x, a=1.0: x * a, lambda x, a=2.0: x * a),
    (lambda x, *, a=1.0: x * a, lambda x, *, a=2.0: x * a),
    (lambda x: np.sin(x), lambda x: np.cos(x)),
    (lambda x: (lambda y: y + 1.0)(x), lambda x: (lambda y: y + 2.0)(x)),
]


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_functions_that_look_alike_are_told_apart(a, b):
    assert fingerprint(a) != fingerprint(b)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_values_have_one_fingerprint_if_they_print_the_same(a, b):
    def reads(value):
        return lambda: value

    assert (fingerprint(reads(a)) == fingerprint(reads(b))) == (repr(a) == repr(b))


def test_what_reads_itself_has_a_fingerprint():
    loop: list = [1.0]
    loop.append(loop)
    other: list = [2.0]
    other.append(other)
    assert fingerprint(loop) != fingerprint(other)


def test_copies_are_settled_and_keep_their_fingerprint():
    copy = frozen(plain)
    assert is_settled(copy)
    assert not is_settled(plain)
    assert fingerprint(copy) == fingerprint(plain)
    assert frozen(copy) is copy


def test_functions_made_by_exec_are_a_users_though_they_have_no_module():
    names = {"K": 2.0}
    exec("def own(x):\n    return K * x", names)
    assert names["own"].__module__ is None
    assert kernel(call_template, names["own"])(1.0) == 2.0
    names["K"] = 3.0
    assert kernel(call_template, names["own"])(1.0) == 3.0


def test_functions_made_by_exec_are_loaded_from_disk(python, tmp_path):
    program = """
from fastopt.compile import kernel
from tests.fastopt.test_changed_code import call_template
names = {}
exec("def own(x):\\n    return 2.0 * x", names)
made = kernel(call_template, names["own"])
print(made(1.0), bool(made.stats.cache_hits))
"""
    runs = [python(program, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    assert [done.stdout.split() for done in runs] == [["2.0", "False"], ["2.0", "True"]]


PRINTS = """
import dataclasses, types
from fastopt.code.fingerprint import fingerprint
from fastopt.rules import RULES
from sweeps import problems
from sweeps.engine import lanes, trial

made = problems.digits(hidden=(8,)), problems.rosenbrock(), *RULES.values()
made += tuple(dict(enumerate(vars(module).values())) for module in (lanes, trial))
for each in made:
    held = each if isinstance(each, dict) else vars(each)
    for name, value in held.items():
        if isinstance(value, types.FunctionType):
            print(value.__module__, name, fingerprint(value))
"""


def test_where_the_packages_lie_is_nothing_that_they_do(python, tmp_path):
    """Another clone, or another environment, goes on with a store; workers run the same code."""
    for name in ("fastopt", "sweeps"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    here, there = python(PRINTS).stdout, python(PRINTS, (tmp_path,)).stdout
    assert len(here.splitlines()) > 100
    assert here == there


def test_our_own_functions_are_not_copied():
    problem = problems.iris(hidden=(2,))
    assert frozen(problem) is problem
    assert all(frozen(rule) is rule for rule in RULES.values())


absolute = ctypes.CDLL(None).abs
with_lock = types.SimpleNamespace(K=1.0, lock=threading.Lock())


def reads_objmode(x):
    with numba.objmode(y="float64"):
        y = float(K)
    return x * y


UNSEEN = {
    "address": (lambda x: absolute(1) * x, "abs, called by its address"),
    "objmode": (reads_objmode, "objmode, in which Python may read anything"),
    "lock": (lambda c: with_lock, "an object of _thread.lock"),
}


@pytest.mark.parametrize(("function", "name"), UNSEEN.values(), ids=UNSEEN)
def test_what_cannot_be_looked_into_is_named_once(function, name, monkeypatch):
    monkeypatch.setattr(freezing, "_warned", set())
    with pytest.warns(CodeWarning, match=name):
        describe(function)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        describe(function)


def unknown(x):
    return float(str(x).upper())


def test_what_numba_does_not_know_is_named_in_two_lines():
    with pytest.raises(CompileError) as caught:
        sweep(
            problems.landscape(lambda x: unknown(x), start=(1.0,), name="f"), {"lr": [0.0]}, steps=1
        )
    text = str(caught.value)
    assert len(text.splitlines()) == 2
    assert "`return float(str(x).upper())` of unknown (test_changed_code.py, line" in text


DISABLED = """
import numpy as np
import fastopt
from numba import njit
from sweeps import problems, sweep
@njit
def helper(x):
    return 3.0 * x
def line(x):
    return helper(x) * x, (2.0 * helper(x),)
problem = problems.landscape(line, start=(1.0,))
result = sweep(problem, {"lr": [0.1]}, optimizer="sgd", steps=1, progress=False)
p = np.ones(1)
fastopt.SGD(p, lr=0.25).step(np.ones(1))
print(round(result.to_frame()["train_loss"][0], 12), p[0])
"""


def test_a_disabled_jit_compiles_what_cannot_run_otherwise(python):
    assert python(DISABLED, NUMBA_DISABLE_JIT="1").stdout.split() == ["0.48", "0.75"]
