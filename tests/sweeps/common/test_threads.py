"""Threads that are kept: no more of them than tasks at once, whatever becomes of a task."""

from __future__ import annotations

import textwrap
import threading

import pytest

from sweeps.common.threads import KeptThreads


@pytest.fixture
def kept():
    threads = KeptThreads("kept")
    yield threads
    threads.shutdown()
    assert not alive()


def alive():
    return [thread for thread in threading.enumerate() if thread.name.startswith("kept")]


def test_tasks_one_after_the_other_share_a_thread(kept):
    """Their callers go on before the thread is back at its queue."""
    assert [kept.submit(pow, 2, k).result() for k in range(2000)] == [2**k for k in range(2000)]
    assert len(alive()) == 1


def test_tasks_at_once_have_a_thread_each(kept):
    together = threading.Barrier(5)
    for _ in range(3):
        waiting = [kept.submit(together.wait) for _ in range(4)]
        together.wait()
        for future in waiting:
            future.result()
    assert len(alive()) == 4


def test_errors_arrive_and_the_thread_goes_on(kept):
    def fail():
        raise KeyboardInterrupt("of the task")

    with pytest.raises(KeyboardInterrupt, match="of the task"):
        kept.submit(fail).result()
    kept.submit(pow, 2, 3).cancel()  # too late or not
    assert kept.submit(str, 1).result() == "1"
    assert len(alive()) <= 2  # the task may not be cancelled, and not be done


def test_a_program_ends_while_a_thread_works(python):
    """What is submitted is finished first."""
    code = """
        import time
        from sweeps.common.threads import KeptThreads
        threads = KeptThreads("kept")
        threads.submit(lambda: (time.sleep(0.2), print("done", flush=True)))
    """
    assert python(textwrap.dedent(code)).stdout == "done\n"
