"""Ctrl-C at those moments of compiling at which an exception did harm that lasted, or was lost."""

import signal

import pytest
from numba.core.codegen import JITCodeLibrary

from fastopt.code.signals import signals_held
from fastopt.code.turns import Turns
from fastopt.compile import kernel

PRESSED = """
import gc, signal
from concurrent.futures import ThreadPoolExecutor
from llvmlite.binding import ffi
from numba.core.typing.context import BaseContext
from fastopt.compile import compilations, inlinable, kernel

owner, name, pressed = {owner}, {name!r}, []
does = owner[name] if isinstance(owner, dict) else getattr(owner, name)

def do_and_press(*args):
    done = does(*args)
    if not pressed:
        pressed.append(name)
        signal.raise_signal(signal.SIGINT)
    return done

def put(function):
    owner.update({{name: function}}) if isinstance(owner, dict) else setattr(owner, name, function)

@inlinable
def successor(x):
    return x + 1

@inlinable
def predecessor(x):
    return x - 1

put(do_and_press)
try:
    kernel(lambda f: lambda x: f(x), successor)(3)
    raise AssertionError("nothing was raised")
except KeyboardInterrupt:
    assert pressed and not compilations(), "after the end"
put(does)
gc.collect()
with ThreadPoolExecutor(1) as pool:  # which waits for good where a lock was kept
    print(pool.submit(kernel(lambda f: lambda x: f(x), predecessor), 3).result())
"""


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        # LLVM has taken a module and llvmlite has not noted it yet: it was freed twice.
        ("ffi.lib._fntab", "LLVMPY_LinkModules"),
        ("ffi.lib._fntab", "LLVMPY_AddModule"),
        # Numba registers what it can compile: it lacked the rest of that for good.
        ("BaseContext", "insert_function"),
        # A finalizer: what it raises is thrown away.
        ("ffi.ObjectRef", "__del__"),
        # A lock is taken, and the block not yet begun that gives it back.
        ("type(ffi.lib._lock)", "__enter__"),
    ],
)
@pytest.mark.timeout(60)
def test_at(owner, name, python):
    assert python(PRESSED.format(owner=owner, name=name)).stdout == "2\n"


def test_while_another_process_compiles(tmp_path, monkeypatch):
    turns = Turns(tmp_path)
    monkeypatch.setattr(turns, "_is_ours", lambda place: False)
    with pytest.raises(KeyboardInterrupt), signals_held():
        turns.take(3, lambda: bool(signal.raise_signal(signal.SIGINT)))


def test_handlers_are_there_again():
    before = signal.getsignal(signal.SIGINT)
    called = []
    signal.signal(signal.SIGINT, lambda *args: called.append(args))
    try:
        with signals_held(), signals_held():
            signal.raise_signal(signal.SIGINT)
            assert not called
        assert len(called) == 1
        signal.raise_signal(signal.SIGINT)
        assert len(called) == 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_while_llvm_optimizes(monkeypatch):
    """No machine code is made of what was optimized by then."""
    optimize, made = JITCodeLibrary._optimize_final_module, []

    def optimize_and_press(self):
        optimize(self)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(JITCodeLibrary, "_optimize_final_module", optimize_and_press)
    monkeypatch.setattr(JITCodeLibrary, "_finalize_final_module", made.append)
    with pytest.raises(KeyboardInterrupt):
        kernel(lambda: lambda x: x + 12345)(1)
    assert not made
