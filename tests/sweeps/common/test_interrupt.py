"""Ctrl-C, SIGTERM and kill -9 at any moment: nothing is lost, nothing is left behind."""

import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tests.conftest import ROOT
from tests.helpers.needs import needs_fork

# Adam on the ellipse, a kernel that other tests compile too: 0.4 ms a trial, 20 ms a chunk.
COMMON = """
    import functools, multiprocessing, os, random, signal, sys, threading, time
    from pathlib import Path
    import pandas as pd
    import pyarrow.parquet
    from sweeps import logspace, problems, sweep
    from sweeps.engine import chunks
    from sweeps.common.interrupt import CHILDREN, interruptible

    chunks.LEAST = chunks.MOST = 20_000_000
    times, n = int(sys.argv[1]), int(sys.argv[2])
    random.seed(times)

    def run(store=None, **more):
        space = {"lr": logspace(1e-3, 1e-1, n)}
        options = {"steps": 100_000, "n_jobs": 2, "progress": False, "store": store, **more}
        return sweep(problems.ellipse(), space, **options)

    @functools.cache
    def uninterrupted():
        return run().to_frame()

    def finished(store):
        return len(list(Path(store).glob("parts/*.parquet")))

    def same_in_the_end(store):
        result = run(store)
        assert not result.info["interrupted"] and len(result) == n
        pd.testing.assert_frame_equal(result.to_frame(), uninterrupted(), check_exact=True)
        strange = [p for p in Path(store).rglob("*") if p.is_file() and "draft" in p.name]
        assert not strange, strange
        assert not CHILDREN and not multiprocessing.active_children()
"""

PRESSED = """
    slowest = 0.0
    before = set(threading.enumerate())

    def strays():
        new = set(threading.enumerate()) - before
        return [t.name for t in new if not t.name.startswith("fastopt-sweep") and t is not timer]

    def press():
        pressed.append(time.monotonic())
        os.kill(os.getpid(), random.choice([signal.SIGINT, signal.SIGTERM]))

    for executor in sys.argv[3].split() * times:
        store = f"store of {executor}"
        have, pressed = finished(store), []
        # With processes the first second or more is their start: those moments count, too.
        latest = 6.0 if executor in ("processes", "loky") else 0.4
        timer = threading.Timer(random.uniform(0.0, latest), press)
        timer.start()
        try:
            with interruptible():
                result = run(store, executor=None if executor == "None" else executor)
                while not pressed:
                    time.sleep(0.01)
            assert result.info["interrupted"] == (len(result) < n)
        except KeyboardInterrupt:  # it came while the sweep was not running
            pass
        back = time.monotonic() - pressed[0]
        timer.join()
        slowest = max(slowest, back)
        assert finished(store) >= have
        assert not CHILDREN and not multiprocessing.active_children()
        end = time.monotonic() + 2.0  # a thread of loky's lives some 0.1 s longer
        while strays() and time.monotonic() < end:
            time.sleep(0.01)
        assert not strays(), strays()
    for executor in set(sys.argv[3].split()):
        same_in_the_end(f"store of {executor}")
    print(slowest)
"""

# Ctrl-C at a line of ours, by number: every so many of them, or all.
LINES = """
    import contextlib
    from sweeps.common import interrupt
    from sweeps.running import dispatch

    chunks.LEAST = chunks.MOST = 60_000
    executors, stride = sys.argv[3].split(), int(sys.argv[4])

    def tracer(at, seen):
        # Not in handlers of signals, which Python enters one at a time.
        def trace(frame, event, argument):
            path = frame.f_code.co_filename
            if "/sweeps/" not in path or frame.f_code.co_name in ("_defer", "handle"):
                return None
            if event == "line":
                seen[0] += 1
                if seen[0] == at:
                    sys.settrace(None)
                    signal.raise_signal(signal.SIGINT)
            return trace
        return trace

    def pressed_at(line, store, executor):
        seen = [0]
        sys.settrace(tracer(line, seen))
        with contextlib.suppress(KeyboardInterrupt):
            result = run(store, executor=executor, steps=100)
            assert result.info["interrupted"] == (len(result) < n)
        sys.settrace(None)
        return seen[0]

    def same_at_last(store):
        pd.testing.assert_frame_equal(run(store, steps=100).to_frame(), whole, check_exact=True)

    whole = run(steps=100).to_frame()
    before = set(threading.enumerate())
    moments = []
    for executor in executors:
        executor = None if executor == "None" else executor
        lines = pressed_at(0, f"all {executor}", executor)
        assert lines > 10 * stride
        moments += [(executor, line) for line in range(1 + times % stride, lines, stride)]
    for executor, line in moments:
        store = None if line % 2 else f"{line} {executor}"
        pressed_at(line, store, executor)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert not interrupt._NOW.deferred
        assert not dispatch._HERE
        assert not CHILDREN and not multiprocessing.active_children()
        new = {t.name for t in set(threading.enumerate()) - before}
        assert all(name.startswith("fastopt-sweep") for name in new), (line, new)
        if store and Path(store).exists():
            assert not list(Path(store).rglob("*.draft")), line
            same_at_last(store)
"""

# Ctrl-C while LLVM asks for the machine code of a kernel, which Python's callback answers.
LOADED = """
    from llvmlite.binding.executionengine import ExecutionEngine

    find, pressed = ExecutionEngine._find_module_ptr, []

    def find_and_press(self, address):
        if sys._getframe(1).f_code.co_name == "_raw_object_cache_getbuffer":
            pressed.append(address)
            signal.raise_signal(signal.SIGINT)
        return find(self, address)

    ExecutionEngine._find_module_ptr = find_and_press
    try:
        assert run(steps=100).info["interrupted"]
    except KeyboardInterrupt:
        pass
    ExecutionEngine._find_module_ptr = find
    assert pressed and not run(steps=100).info["interrupted"]
"""

KILLED = """
    from sweeps.running import jobs

    run_chunk = jobs.run_chunk

    def noted(*args, **options):
        # One byte a chunk that is begun in the store, by whichever process.
        with open("begun", "ab", buffering=0) as file:
            file.write(b".")
        return run_chunk(*args, **options)

    jobs.run_chunk = noted

    shards = int(sys.argv[3])

    def attempt(shard, parts, seconds):
        # Nothing has run here, so the child inherits no thread, and no lock that one might hold.
        child = os.fork()
        if child == 0:
            run("store", shard=shard)
            os._exit(0)
        end = time.monotonic() + 60
        while finished("store") < parts and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        return os.waitpid(child, 0)[1] == signal.SIGKILL

    have = 0
    for k in range(times):
        # Before the first chunk of a run, or when it has stored some; each chunk takes 20 ms.
        shard = k % shards, shards
        assert attempt(shard, have + random.randint(0, 4), random.uniform(0.0, 0.04))
        now = finished("store")
        assert now >= have
        have = now
    assert have
    same_in_the_end("store")
    again = Path("begun").stat().st_size - finished("store")
    assert 0 <= again <= times * 2, again  # workers
    print(again)
"""

TWICE = """
    with interruptible():
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)
    print("still here")
"""


@pytest.fixture
def scenario(tmp_path):
    """Run a scenario in a process and a folder of its own."""

    def run(code, *args):
        return subprocess.run(
            [
                sys.executable,
                "-c",
                textwrap.dedent(COMMON) + textwrap.dedent(code),
                *map(str, args),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=1500,
            cwd=tmp_path,
        )

    return run


@pytest.mark.parametrize(
    ("executors", "times", "n"),
    [
        ("None threads None threads processes", 1, 2000),
        pytest.param("None", 30, 20_000, marks=pytest.mark.soak),
        pytest.param("threads", 30, 20_000, marks=pytest.mark.soak),
        pytest.param("processes", 20, 20_000, marks=pytest.mark.soak),
        pytest.param("loky", 10, 20_000, marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(1600)
def test_ctrl_c_at_random_moments(scenario, executors, times, n, counted):
    done = scenario(PRESSED, times, n, executors)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 5.0, "slow to stop"
    counted(times * len(executors.split()))


@pytest.mark.parametrize(
    ("executors", "stride"),
    [
        ("None threads", 300),
        pytest.param("None", 3, marks=pytest.mark.soak),
        pytest.param("threads", 3, marks=pytest.mark.soak),
        pytest.param("processes", 40, marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(1600)
def test_ctrl_c_at_any_line(scenario, executors, stride):
    done = scenario(LINES, 5, 60, executors, stride)
    assert done.returncode == 0, done.stderr


@needs_fork
@pytest.mark.parametrize(
    ("times", "n", "shards"),
    [
        (3, 2000, 1),
        pytest.param(50, 20_000, 1, marks=pytest.mark.soak),
        pytest.param(50, 20_000, 2, marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(1600)
def test_killed_at_random_moments(scenario, times, n, shards, counted):
    """Each kill costs each worker one chunk at most."""
    done = scenario(KILLED, times, n, shards)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0, "no kill ever cost a chunk"
    counted(times)


def test_ctrl_c_while_llvm_asks_for_code(scenario):
    done = scenario(LOADED, 0, 60)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr


def test_the_second_signal_ends_at_once(scenario):
    done = scenario(TWICE, 0, 0)
    assert (done.returncode, done.stdout) == (130, "")


SPEC = """
[problem]
name = "ellipse"

[space]
lr = { logspace = [1e-3, 1e-1, 20000] }

[sweep]
steps = 100000
"""


def test_the_command_says_how_to_go_on(tmp_path):
    """SIGTERM after the first stored chunk; the printed command, on less work, ends the sweep."""
    spec, store = tmp_path / "long.toml", tmp_path / "a folder"
    spec.write_text(SPEC)
    command = [
        sys.executable,
        "-m",
        "sweeps.cli.commands",
        "sweep",
        str(spec),
        "--store",
        str(store),
    ]
    options = {
        "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "cwd": ROOT, "text": True,
        "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
    }  # fmt: skip
    with subprocess.Popen(command, **options) as process:
        try:
            end = time.monotonic() + 120
            while not list(store.glob("parts/*.parquet")) and time.monotonic() < end:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "Interrupted" in out
    assert shlex.split(err.splitlines()[-1]) == command
    assert list(store.glob("parts/*.parquet"))
    assert not [path for path in store.rglob("*") if "draft" in path.name]
