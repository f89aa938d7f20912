"""Before anything is imported: how threads wait, where pictures are drawn, what Ctrl-C does."""

import os
import signal
import sys
import threading

import pytest

os.environ["MPLBACKEND"] = "Agg"
# Threads of OpenMP spin while they wait, on cores that other workers of pytest need: with them
# asleep, a test of kernels takes 0.07 s of CPU time instead of 0.92 s on a busy machine. Benchmarks
# wait as programs do: torch's fused step of 160 small tensors took 10 ms instead of 0.8, ours 0.33
# instead of 0.18.
if "--benchmark-enable" not in sys.argv:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# A shell's job in the background ignores Ctrl-C, and so would all that tests of it start.
is_main = threading.current_thread() is threading.main_thread()
if is_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _pictures_are_closed():
    """Close what a test drew: pyplot keeps figures, and warns of more than twenty."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
