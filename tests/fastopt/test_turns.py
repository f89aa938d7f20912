"""What several processes want at once is compiled by one of them, whatever becomes of that one."""

import collections
import os
import signal
import subprocess
import sys
import time

import numba
import numpy as np
import pytest

from fastopt.code import turns
from fastopt.code.cache import KernelCache
from fastopt.code.turns import Turns
from tests.conftest import ROOT

fcntl = pytest.importorskip("fcntl")

# All come to the kernel within a millisecond; it takes some 0.3 s.
AT_ONCE = """
import sys, time
from pathlib import Path
import numpy as np
from fastopt.compile import kernel
from fastopt.norms import scaled
k, a = kernel(scaled), np.full(9, 4.0)
Path(f"ready{sys.argv[1]}").touch()
while not Path("go").exists():
    time.sleep(0.001)
k(a, np.array([0.5]))
print(a[0], sum(k.stats.cache_misses.values()))
"""

# By the system's own call, on the bytes of which the tests ask.
HOLDER = """
import fcntl, sys, time
file = open("turns", "ab")
fcntl.lockf(file, fcntl.LOCK_EX, 1, 7)
print("held", flush=True)
time.sleep(60)
"""


def test_of_processes_that_come_at_once_one_compiles(tmp_path):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-c", AT_ONCE]
    kinds = {"env": env, "cwd": tmp_path, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([*run, str(i)], **kinds) for i in range(3)]
    while len(list(tmp_path.glob("ready*"))) < 3 and not any(c.poll() for c in children):
        time.sleep(0.01)
    (tmp_path / "go").touch()
    said = [child.communicate(timeout=200)[0].split() for child in children]
    assert sorted(said) == [["2.0", "0"], ["2.0", "0"], ["2.0", "1"]]
    (journal,) = tmp_path.rglob("turns")
    names = [path.name for path in tmp_path.rglob("*.nbc")]
    assert journal.read_text().splitlines() == names
    assert len(names) == 1


@pytest.fixture
def holder(tmp_path):
    """A process that has the seventh turn."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.communicate()


def seconds(call, *given):
    begun = time.monotonic()
    call(*given)
    return time.monotonic() - begun


def never():
    return False


def test_who_is_killed_holds_nobody_up(tmp_path, holder):
    mine = Turns(tmp_path)
    assert seconds(mine.take, 8, never) < turns.PATIENCE  # another one's turn is no obstacle
    holder.kill()
    assert seconds(mine.take, 7, never) < turns.PATIENCE
    assert mine._patient


def test_who_is_stopped_is_waited_for_once(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.3)
    holder.send_signal(signal.SIGSTOP)
    mine = Turns(tmp_path)
    assert seconds(mine.take, 7, never) >= 0.3
    monkeypatch.setattr(turns, "PATIENCE", 1e9)
    mine.take(7, never)
    mine.give_back(7)


def test_what_is_done_is_not_waited_for(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 1e9)
    answers = iter([False, False, True])
    Turns(tmp_path).take(7, lambda: next(answers))
    assert not list(answers)


def test_where_there_are_no_locks_nobody_waits(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(turns, "PATIENCE", 1e9)
    monkeypatch.setattr(fcntl, "lockf", no_locks)
    mine = Turns(tmp_path)
    mine.take(7, never)
    mine.give_back(7)
    gone = Turns(tmp_path / "none")
    gone.take(7, never)
    gone.note("lost")


def test_what_cannot_be_compiled_is_another_ones_turn(monkeypatch):
    """A turn is given back for every one that is taken, though the kernel raises."""
    held = collections.Counter()
    monkeypatch.setattr(Turns, "take", lambda self, place, _: held.update([place]))
    monkeypatch.setattr(Turns, "give_back", lambda self, place: held.subtract([place]))
    from fastopt.compile import kernel

    made = kernel(failing)
    assert isinstance(made._cache, KernelCache)
    for given in (np.ones(2), "text"):
        with pytest.raises(numba.TypingError):
            made(given)
    assert len(held) == 2
    assert not +held


def failing():
    return lambda x: x.there_is_no_such_thing
