"""Threads and forks: no layer may abort, hang or change a bit.

Each scenario runs in a process of its own, since what is at stake is the process itself: under
``workqueue`` a second thread in a parallel region aborts it, and GNU OpenMP kills a forked child
that enters its parent's pool.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tests.helpers.layers import environment_of
from tests.helpers.needs import needs_fork

COMMON = """
    import os, sys, threading
    import numba
    import numpy as np
    from fastopt import AdamW, clip_grad_norm_
    from fastopt.machine.threads import COSTLY

    N, STEPS = 520_000, 10
    assert N > COSTLY and numba.get_num_threads() == 2

    def train(seed, threads=2):
        numba.set_num_threads(threads)
        rng = np.random.default_rng(seed)
        w = rng.normal(size=N).astype(np.float32)
        opt = AdamW(w, lr=0.01, nonfinite="raise")
        for _ in range(STEPS):
            g = 2 * w
            clip_grad_norm_(g, 1.0)
            opt.step(g)
        return w

    def serial(seed):
        result = train(seed, threads=1)
        numba.set_num_threads(2)
        return result
"""

TWO_THREADS = """
    train(0)  # compiled, and the layer launched, before the race starts
    results = {}
    barrier = threading.Barrier(2)

    def work(seed):
        barrier.wait()
        results[seed] = train(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for seed in (1, 2):
        np.testing.assert_array_equal(results[seed], serial(seed))
    assert numba.threading_layer() == os.environ["NUMBA_THREADING_LAYER"]
"""

FIRST_LAUNCH_BY_TWO_THREADS = TWO_THREADS.replace("    train(0)", "    serial(0)").replace(
    "and the layer launched, ", ""
)

FORKED_CHILD = """
    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)  # fork of a process with threads: the test
    expected = train(3)
    assert numba.threading_layer() == os.environ["NUMBA_THREADING_LAYER"]

    def in_child(then):
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            return
        np.testing.assert_array_equal(train(3), expected)
        then()
        os._exit(0)

    in_child(lambda: in_child(lambda: None))  # a child, and a child of the child
    np.testing.assert_array_equal(train(3), expected)  # the parent goes on in parallel
    np.testing.assert_array_equal(serial(3), expected)
"""


@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
@pytest.mark.parametrize(
    "scenario",
    [TWO_THREADS, FIRST_LAUNCH_BY_TWO_THREADS, pytest.param(FORKED_CHILD, marks=needs_fork)],
    ids=["two threads", "first launch by two threads", "forked child"],
)
def test_survives_with_the_same_bits(layer, scenario):
    script = textwrap.dedent(COMMON) + textwrap.dedent(scenario)
    environment = {**os.environ, **environment_of(layer)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        timeout=240,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
