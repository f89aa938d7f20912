"""Processes at the end of pipes: what they answer, and what comes of their deaths."""

import os
import pickle
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, CancelledError, wait

import pytest

from sweeps.common.interrupt import CHILDREN
from sweeps.common.workers import Worker
from sweeps.running.processes import Processes

# Raises an exception of a class that no other process knows.
ODD = "(_ for _ in ()).throw(type('Odd', (Exception,), {})('why'))"


def test_calls_and_deaths():
    with Processes(1) as pool:
        assert pool.submit(divmod, 7, 2).result() == (3, 1)
        assert pool.submit(int, "ff", base=16).result() == 255
        # An OSError of the call's own is not the end of a pipe.
        with pytest.raises(FileNotFoundError):
            pool.submit(open, "no such file").result()
        with pytest.raises(RuntimeError, match="Odd: why"):
            pool.submit(eval, ODD).result()
        with pytest.raises(TypeError, match="cannot pickle"):
            pool.submit(threading.Lock).result()
        first = pool.submit(os.getpid).result()
        lost = pool.submit(signal.raise_signal, signal.SIGKILL)
        second = pool.submit(os.getpid)
        with pytest.raises(BrokenExecutor):
            lost.result()
        assert second.result() not in (first, os.getpid())
    assert not CHILDREN


def test_what_runs_and_waits_is_dropped_at_the_end():
    pool = Processes(1)
    running, waiting = pool.submit(time.sleep, 600), pool.submit(os.getpid)
    began = time.monotonic()
    while not pool._workers and time.monotonic() - began < 60:
        time.sleep(0.01)
    pool.shutdown(cancel_futures=True)
    assert not wait([running, waiting], 0).not_done
    assert isinstance(running.exception(), BrokenExecutor)
    with pytest.raises(CancelledError):
        waiting.result()
    with pytest.raises(CancelledError):
        pool.submit(os.getpid).result()


def test_a_worker_that_is_killed_while_it_sends_is_missed():
    """Nobody reads, so 10 MB fill the pipe and wait."""
    worker = Worker()
    try:
        worker._pipe.send_bytes(pickle.dumps((bytes, (10**7,), {})))
        assert worker._pipe.poll(60)
        worker.kill()
        with pytest.raises((EOFError, OSError)):
            worker._pipe.recv_bytes()
    finally:
        worker.reap()
