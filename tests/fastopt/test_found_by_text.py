"""What a function finds by a text, through another function or in a wrapper is read, too."""

from __future__ import annotations

import contextvars
import enum
import importlib
import inspect
import operator
import os
import re
import sys
import threading
import types
import weakref

import numpy as np
import pytest

from fastopt.code.fingerprint import fingerprint
from fastopt.code.frozen import fingerprint_and_warn
from fastopt.compile import kernel
from fastopt.errors import CodeWarning
from tests.helpers.compiled import call_template
from tests.helpers.importing import IMPORTING

K, NAME, PATH = 2.0, "K", "module_found_by_text"
module = types.ModuleType(PATH)
module.K = 2.0
sys.modules[PATH] = module
holder = types.SimpleNamespace(deep=module)
take, take_deep = operator.attrgetter("K"), operator.attrgetter("deep.K")


def raise_global():
    globals()["K"] += 1.0


def raise_module():
    module.K += 1.0


def read_of(m):
    return m.K


def read_by(m, name):
    return getattr(m, name)


def read_all(names):
    return names["K"]


def alias(c):
    import module_found_by_text as short  # type: ignore[import-not-found]

    return read_of(short)


def member(c):
    from module_found_by_text import K as short

    return short


class Mode(enum.Enum):
    LOW = 1


class Thing:
    rate = 2.0


def more_of(thing, name="rate"):
    return lambda: setattr(thing, name, getattr(thing, name) + 1.0)


def is_now(name, change):
    return lambda: globals().update({name: change(globals()[name])})


Mode.rate = 2.0
thing, local, variable = Thing(), threading.local(), contextvars.ContextVar("v", default=2.0)
local.rate = 2.0
reference, proxy = weakref.ref(thing), weakref.proxy(thing)
view = memoryview(bytearray(b"\2"))
pattern, dtype = re.compile("a"), np.dtype("f8", metadata={"k": 2.0})
universal = np.frompyfunc(lambda x: x * K, 1, 1)

FOUND = {
    "getattr": (lambda c: getattr(module, NAME), raise_module),
    "getattr in a helper": (lambda c: read_by(module, "".join(["K"])), raise_module),
    "handed to a helper": (lambda c: read_of(module), raise_module),
    "handed on by its names": (lambda c: read_all(module.__dict__), raise_module),
    "vars": (lambda c: vars(module)["".join(NAME)], raise_module),
    "imported under another name": (alias, raise_module),
    "imported member": (member, raise_module),
    "attrgetter": (lambda c: take(module), raise_module),
    "attrgetter of a path": (lambda c: take_deep(holder), raise_module),
    "static": (lambda c: inspect.getattr_static(module, NAME), raise_module),
    "sys.modules": (lambda c: sys.modules[PATH].K, raise_module),
    "sys.modules of this": (lambda c: sys.modules[__name__].K, raise_global),
    "import_module": (lambda c: importlib.import_module(PATH).K, raise_module),
    "__import__": (lambda c: __import__("module_found_by_text").K, raise_module),
    "globals": (lambda c: globals()["K"], raise_global),
    "globals by a name": (lambda c: globals()[NAME], raise_global),
    "eval": (lambda c: eval("1.0 + K * 2.0"), raise_global),
    "frame": (lambda c: sys._getframe().f_globals["K"], raise_global),
    "environment": (
        lambda c: float(os.environ.get("FOUND_BY_TEXT", "2")),
        lambda: os.environ.update(FOUND_BY_TEXT="3"),
    ),
    "attribute of an enumeration": (lambda c: Mode.rate, more_of(Mode)),
    "reference": (lambda c: reference().rate, more_of(thing)),
    "proxy": (lambda c: proxy.rate, more_of(thing)),
    "of a thread": (lambda c: local.rate, more_of(local)),
    "of a context": (lambda c: variable.get(), lambda: variable.set(variable.get() + 1.0)),
    "memory": (lambda c: view[0], lambda: view.__setitem__(0, view[0] + 1)),
    "pattern": (
        lambda c: len(pattern.match("aa")[0]),
        is_now("pattern", lambda _: re.compile("a+")),
    ),
    "metadata": (
        lambda c: dtype.metadata["k"],
        is_now("dtype", lambda _: np.dtype("f8", metadata={"k": 3.0})),
    ),
    "frompyfunc": (lambda c: universal(1.0), raise_global),
}


@pytest.mark.parametrize(("function", "change"), FOUND.values(), ids=FOUND)
def test_a_fingerprint_sees_what_is_found(function, change, monkeypatch):
    monkeypatch.delenv("FOUND_BY_TEXT", raising=False)
    value, before = function({}), fingerprint(function)
    assert fingerprint(function) == before
    change()
    assert function({}) > value
    assert fingerprint(function) != before


def test_a_function_that_is_put_into_another_package_is_read(monkeypatch):
    monkeypatch.setattr(inspect, "found_by_text", lambda: K, raising=False)
    before = fingerprint(lambda c: inspect.found_by_text())
    raise_global()
    assert fingerprint(lambda c: inspect.found_by_text()) != before


def test_a_kernel_follows_a_name_in_a_text():
    def scaled(x):
        return x * getattr(module, NAME)

    before = kernel(call_template, scaled)
    seen = before(2.0)
    raise_module()
    assert kernel(call_template, scaled)(2.0) == 2.0 * module.K > seen == before(2.0)


def test_what_is_made_as_it_runs_is_named(monkeypatch):
    monkeypatch.setattr("fastopt.code.frozen._warned", set())
    with pytest.warns(CodeWarning, match="what modules finds as it runs"):
        fingerprint_and_warn(lambda c: sys.modules["".join(["o", "s"])])
    with pytest.warns(CodeWarning, match="what __import__ finds as it runs"):
        fingerprint_and_warn(lambda c: __import__(c["name"]))


PROGRAM = """
from importing_module import direct, by_helper, by_text, in_try
from fastopt.compile import fingerprint
functions = direct, by_helper, by_text, in_try
before = [fingerprint(f) for f in functions]
assert [f({}) for f in functions] == [%s] * 4
assert before == [fingerprint(f) for f in functions]  # or a store would refuse its own sweep
print(*before)
"""


def test_what_is_imported_as_it_runs_is_known_before_it_runs(python, tmp_path):
    """A store was asked by fingerprints of before the first run: it knew of no import."""
    (tmp_path / "importing_module.py").write_text(IMPORTING)
    printed = []
    for k in (1.0, 2.0, 1.0):
        (tmp_path / "imported_as_it_runs.py").write_text(f"K = {k}")
        done = python(PROGRAM % k, (tmp_path,), PYTHONDONTWRITEBYTECODE="1")
        printed.append(done.stdout.split())
    assert printed[0] == printed[2]
    assert all(a != b for a, b in zip(printed[0], printed[1], strict=True))
