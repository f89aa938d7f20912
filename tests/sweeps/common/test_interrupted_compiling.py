"""Ctrl-C at those moments of compiling at which an exception did harm that lasted."""

# LLVM has taken a module and llvmlite has not noted it yet: it was freed twice.
GIVEN = """
import gc, signal
from llvmlite.binding import ffi
from numba import njit
from sweeps.common.interrupt import deferred_interrupts, immediate_interrupts

for name in ("LLVMPY_LinkModules", "LLVMPY_AddModule") * 3:
    give, pressed = getattr(ffi.lib, name), []

    def give_and_press(*args):
        given = give(*args)
        if not pressed:
            pressed.append(name)
            signal.raise_signal(signal.SIGINT)
        return given

    ffi.lib._fntab[name] = give_and_press
    inner = njit(lambda x: x + 1)
    try:
        with deferred_interrupts(), immediate_interrupts():
            njit(lambda x: inner(x))(3)
        raise AssertionError("nothing was raised")
    except KeyboardInterrupt:
        pass
    ffi.lib._fntab[name] = give
    assert pressed
    gc.collect()
print(njit(lambda x: 2 * x)(3))
"""

# Numba registers what it can compile: it lacked the rest of that for good.
REGISTERED = """
import signal
from numba import njit
from numba.core.typing.templates import BaseRegistryLoader
from sweeps.common.interrupt import deferred_interrupts, immediate_interrupts

registrations, pressed = BaseRegistryLoader.new_registrations, []

def press_and_register(self, name):
    for item in registrations(self, name):
        if not pressed:
            pressed.append(name)
            signal.raise_signal(signal.SIGINT)
        yield item
    pressed.append("to the end")

BaseRegistryLoader.new_registrations = press_and_register
try:
    with deferred_interrupts(), immediate_interrupts():
        njit(lambda x: x + 1)(3)
    raise AssertionError("nothing was raised")
except KeyboardInterrupt:
    assert pressed[1] == "to the end"
"""


def test_a_module_is_given_to_llvm(python):
    assert python(GIVEN).stdout.strip() == "6"


def test_numba_registers_what_it_can_compile(python):
    python(REGISTERED)
