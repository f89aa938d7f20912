"""A step is one transaction: threads take turns, forks wait, steps inside of steps are refused.

What threads and forks do is tried in processes of their own, with a limit: a hang, a fault or an
abort is what is looked for. Numbers are whole, so that any order of the steps gives the same bits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

import fastopt
import fastopt.torch
from fastopt.errors import FastoptError, ReentryError

COMMON = """
    import os, random, signal, sys, threading, time, warnings
    import numba
    import numpy as np
    import torch
    import fastopt
    import fastopt.torch
    from fastopt.errors import FastoptError

    warnings.simplefilter("ignore")  # forks of a process with threads are the test
    ROUNDS, LARGE = int(sys.argv[1]), 600_000  # parallel under workqueue, too
    random.seed(0)

    def together(*workers):
        failed = []
        def guarded(work):
            try:
                work()
            except BaseException as error:
                failed.append(error)
        threads = [threading.Thread(target=guarded, args=(work,)) for work in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed, failed

    def warm():
        for n in (100, LARGE):
            for dtype in (np.float32, np.float64):
                fastopt.SGD(np.zeros(n, dtype)).step(np.ones(n, dtype))
                q = torch.nn.Parameter(torch.from_numpy(np.zeros(n, dtype)))
                q.grad = torch.ones_like(q)
                fastopt.torch.SGD([q]).step()

    sys.setswitchinterval(1e-5)
    warm()
"""

TWO_THREADS = """
    for k in range(ROUNDS):
        n = LARGE if k % 4 == 0 else 1000
        params = [np.zeros(n, np.float32), np.zeros(7), np.zeros(50, np.float32)]
        opt = fastopt.SGD(params, lr=1.0, momentum=1.0)
        def work(ones):
            def run():
                for _ in range(10):
                    opt.step(ones)
            return run
        # Momentum 1 and equal gradients: after t steps -(1 + ... + t), in any order.
        grads = [[np.ones_like(p) for p in params] for _ in range(2)]
        together(*map(work, grads))
        assert opt.steps == 20
        for p in params:
            assert (p == -210).all(), p

        q = [torch.nn.Parameter(torch.zeros(n)), torch.nn.Parameter(torch.zeros(3).double())]
        for p in q:
            p.grad = torch.ones_like(p)
        adapter = fastopt.torch.SGD(q, lr=1.0, momentum=1.0)
        def steps():
            for _ in range(10):
                adapter.step()
        together(steps, steps)
        for p in q:
            assert (p == -210).all(), p
"""

MOVING = """
    for k in range(ROUNDS):
        n = LARGE if k % 4 == 0 else 1000
        p, g = np.zeros(n), np.ones(n)
        opt = fastopt.SGD([p], lr=1.0)
        stop = threading.Event()
        def move():
            while not stop.is_set():
                for a in (p, g):
                    a.resize(n + random.randrange(5000), refcheck=False)
                    time.sleep(0)
                    a.resize(n, refcheck=False)
                p.setflags(write=False)
                time.sleep(0)
                p.setflags(write=True)
                time.sleep(1e-4)  # whole for a while, or 100 000 steps are refused before ten run
        def until_ten(step_once):
            # What moves at each of three looks is refused, which changes nothing.
            def run():
                done = 0
                try:
                    while done < 10:
                        try:
                            step_once()
                            done += 1
                        except FastoptError:
                            time.sleep(0)
                finally:
                    stop.set()
            return run
        together(move, until_ten(lambda: opt.step([g])))
        assert (p == -10).all() and opt.steps == 10, p

        q = torch.nn.Parameter(torch.zeros(n))
        q.grad = torch.ones(n)
        adapter = fastopt.torch.SGD([q], lr=1.0)
        stop = threading.Event()
        def move():
            # Not `q.grad = ...`: torch itself crashes when one thread sets what another reads.
            while not stop.is_set():
                q.data = torch.full((n,), 100.0)
                time.sleep(0)
                q.grad.data = torch.ones(n)
                time.sleep(1e-4)
        together(move, until_ten(adapter.step))
        values = set(q.tolist())
        assert len(values) == 1 and 90 <= values.pop() <= 100, q
"""

FORKS = """
    params = [np.zeros(1000, np.float32), np.zeros(7)]
    opt = fastopt.SGD(params, lr=1.0)
    q = [torch.nn.Parameter(torch.zeros(1000)), torch.nn.Parameter(torch.zeros(3).double())]
    for p in q:
        p.grad = torch.ones_like(p)
    adapter = fastopt.torch.SGD(q, lr=1.0)
    grads = [np.ones_like(p) for p in params]

    def step():
        opt.step(grads)
        adapter.step()

    def whole():
        "Tell whether no step is half done."
        for arrays in (params, [p.detach().numpy() for p in q]):
            assert len({float(v) for a in arrays for v in a}) == 1, arrays
        assert params[0][0] == -opt.steps

    def busy():
        while not stop.is_set():
            step()
            fastopt.AdamW(np.ones(5)).step(np.ones(5))  # made anew: kernels are looked up

    stop = threading.Event()
    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for k in range(ROUNDS):
            time.sleep(random.random() * 0.01)
            child = os.fork()
            if not child:
                signal.alarm(20)
                whole()
                step()
                fastopt.Lion(np.ones(5)).step(np.ones(5))  # compiled, or loaded, in the child
                whole()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()  # or the process would never end
        thread.join()
    whole()
"""

# Ctrl-C at any moment of a step: it was taken or it was not, and the next one goes on from there.
INTERRUPTED = """
    def interrupt(*_):
        raise KeyboardInterrupt

    def nadam(start):
        q = torch.nn.Parameter(start[::2])  # with holes: copied back after each step
        q.grad = torch.ones_like(q)
        return q, fastopt.torch.NAdam([q])

    q, adapter = nadam(torch.ones(14, dtype=torch.float64))
    expected = [adapter.step() or q[0].item() for _ in range(2000)]
    signal.signal(signal.SIGALRM, interrupt)
    for k in range(20 * ROUNDS):
        p, g = np.zeros(7), np.ones(7)
        opt = fastopt.SGD(p, lr=1.0, momentum=1.0, schedule=(None, lambda t: 1.0)[k % 2])
        q, adapter = nadam(torch.ones(14, dtype=torch.float64))
        for step in (lambda: opt.step(g), adapter.step):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 4e-4))
                for _ in range(1000):
                    step()
            except KeyboardInterrupt:
                pass
            signal.setitimer(signal.ITIMER_REAL, 0)
            together(step)  # a thread that finds a lock taken waits for ever
        assert (p == -(opt.steps * (opt.steps + 1) // 2)).all(), (p, opt.steps)
        steps = int(adapter.state[q]["step"])
        assert np.allclose(q.detach(), expected[steps - 1], rtol=1e-14), (q, steps)
"""

SCENARIOS = {
    **({"forks": FORKS} if hasattr(os, "fork") else {}),
    "threads": TWO_THREADS + MOVING,
    **({"interrupts": INTERRUPTED} if hasattr(signal, "setitimer") else {}),
}


def run(scenarios, layer, rounds):
    script = "".join(map(textwrap.dedent, (COMMON, *scenarios)))
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(rounds)],
        env=environment,
        timeout=280 + 30 * rounds,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_every_result_is_that_of_some_order_of_the_steps(layer):
    """All in one process: it takes longer to start than to run."""
    run(SCENARIOS.values(), layer, rounds=8)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("layer", ["workqueue", "omp"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_result_is_that_of_some_order_of_the_steps_100_rounds(scenario, layer):
    run([SCENARIOS[scenario]], layer, rounds=100)


def test_a_schedule_that_steps_is_refused_and_nothing_is_changed():
    p = np.ones(3)

    def schedule(t):
        opt.step(np.full(3, 100.0))
        return 1.0

    opt = fastopt.SGD(p, lr=1.0, schedule=schedule)
    with pytest.raises(ReentryError, match="from inside a step"):
        opt.step(np.ones(3))
    np.testing.assert_array_equal(p, 1.0)
    assert opt.steps == 0


@pytest.mark.parametrize("change", ["load_state_dict", "add_param_group"])
def test_a_schedule_that_changes_its_optimizer_is_refused(change):
    p = np.ones(3)

    def schedule(t):
        if change == "load_state_dict":
            opt.load_state_dict(saved)
        else:
            opt.add_param_group({"params": np.ones(2)})
        return 1.0

    opt = fastopt.SGD(p, lr=1.0, schedule=schedule)
    saved = opt.state_dict()
    with pytest.raises(ReentryError):
        opt.step(np.ones(3))
    np.testing.assert_array_equal(p, 1.0)
    assert len(opt.param_groups) == 1


class Stepping(float):
    """A learning rate that steps when it is compared, as a property might."""

    def __eq__(self, other):
        if self.optimizer.steps < 5:
            self.optimizer.step(np.ones(3))
        return float(self) == float(other)

    __hash__ = None


def test_an_option_that_steps_gives_an_order_or_an_error():
    p = np.ones(3)
    opt = fastopt.SGD(p, lr=1.0)
    opt.step(np.ones(3))
    option = Stepping(1.0)
    option.optimizer = opt
    opt.param_groups[0]["lr"] = option
    with contextlib.suppress(FastoptError, RecursionError):
        opt.step(np.ones(3))
    np.testing.assert_array_equal(p, 1.0 - opt.steps)


def test_hooks_that_step_are_steps_of_their_own():
    """As in torch: a hook runs before, or after, the step."""

    def trained(cls):
        p = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
        p.grad = torch.full((3,), 0.5, dtype=torch.float64)
        optimizer, inside = cls([p], lr=0.1), []

        def hook(optimizer, args, kwargs):
            if not inside:
                inside.append(1)
                optimizer.step()
                optimizer.state[p]["exp_avg"].data = torch.zeros(3, dtype=torch.float64)
                inside.pop()

        optimizer.register_step_pre_hook(hook)
        optimizer.register_step_post_hook(hook)
        for _ in range(3):
            optimizer.step()
        return p.detach(), float(optimizer.state[p]["step"])

    (ours, count), (theirs, other) = trained(fastopt.torch.Adam), trained(torch.optim.Adam)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-15)
    assert count == other == 9


def test_a_closure_may_move_what_it_likes():
    p = np.ones(4)
    opt = fastopt.SGD(p, lr=1.0)
    g = np.ones(4)
    opt.step(g)

    def closure():
        p.resize(9000, refcheck=False)
        p.resize(4, refcheck=False)
        return opt.step(g)

    opt.step(g, closure)
    np.testing.assert_array_equal(p, -2.0)
