"""Compiling in several processes: who compiles what, and what becomes of those that fail."""

import itertools
import os
import pickle
import signal
import textwrap
import threading
import time
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba import types

from fastopt import compile as compiling
from fastopt.code.cache import private_folder
from fastopt.compile import compilations, kernel, recipe_of
from fastopt.errors import CompileError, ExecutorError
from fastopt.machine.calls import Callee
from fastopt.rules import RULES
from sweeps import problems, sweep
from sweeps.cli.spec import read_spec
from sweeps.common.interrupt import CHILDREN
from sweeps.common.pickling import pack, unpack
from sweeps.common.workers import Worker
from sweeps.engine import ahead
from sweeps.engine.run_blocks import runner
from sweeps.running.check import check

N = 4
WORDS = (types.int64,)
BLOCK = SimpleNamespace(callees=())
numbers = itertools.count()


def adding(more):
    """Template of a function that takes some 30 ms to compile."""
    return lambda x: x + more


def failing(more):
    """Template of what Numba cannot compile."""
    return lambda x: x.no_such_thing + more


class Last:
    """Stands for a function that takes this process until other processes have had their turn."""

    overloads = ()
    _cache = None

    def __init__(self, ended):
        self.ended = ended

    def compile(self, arguments):
        assert self.ended.wait(120)


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """Return functions that no process has compiled, in a cache of their own."""
    name = f"fastopt-kernels-{os.geteuid()}" if os.name == "posix" else "fastopt-kernels"
    folder = private_folder(tmp_path / name)
    for module in (compiling, ahead):
        monkeypatch.setattr(module, "cache_folder", lambda: folder)
    monkeypatch.setattr(ahead, "START", 0.1)
    monkeypatch.setattr(ahead, "_user_modules", list)  # the templates are of this one
    made = [kernel(adding, next(numbers)) for _ in range(N)]
    return [Callee(each, types.int64, WORDS) for each in made]


@pytest.fixture
def compile_all(functions, monkeypatch):
    """Return ``compile_all()``: let another process have all it takes; return how many it made."""
    ended, lead = threading.Event(), ahead._Team._lead

    def lead_to_the_end(team, worker):
        try:
            lead(team, worker)
        finally:
            ended.set()

    def run():
        wanted = [*functions, Callee(Last(ended), types.int64, WORDS, 99.0)]
        monkeypatch.setattr(ahead._Team, "_lead", lead_to_the_end)
        monkeypatch.setattr(ahead, "needed", lambda block: wanted)
        return ahead.compile_together([BLOCK], 2)

    return run


def outcomes(functions):
    """Call all functions; return what they add, and how many this process had to compile."""
    known = len(compilations())
    added = [callee.kernel(0) for callee in functions]
    return added, len(compilations()) - known


def expected(functions):
    return [recipe_of(callee.kernel).parts[0] for callee in functions]


def test_another_process_compiles_and_this_one_loads(functions, compile_all):
    known = compilations()
    assert compile_all() == N
    assert compilations() == known
    assert outcomes(functions) == (expected(functions), 0)
    assert not CHILDREN


def die(payload):
    os.kill(os.getpid(), signal.SIGKILL)


def do_nothing(payload):
    """Compile nothing, as where the disk is full nothing is kept."""


def refuse(payload):
    raise ValueError("why not")


@pytest.mark.parametrize("instead", [die, do_nothing, refuse])
def test_what_another_process_fails_to_do_is_done_here(
    functions, compile_all, monkeypatch, instead
):
    monkeypatch.setattr(ahead, "_compile", instead)
    known = len(compilations())
    assert compile_all() == 0
    assert len(compilations()) - known == N
    assert outcomes(functions) == (expected(functions), 0)
    assert not CHILDREN


def sleep(payload):
    time.sleep(600)


def test_a_process_that_hangs_is_given_up(functions, monkeypatch):
    """What it was at, whoever calls it compiles."""
    monkeypatch.setattr(ahead, "_compile", sleep)
    monkeypatch.setattr(ahead, "PATIENCE", 0.3)
    monkeypatch.setattr(
        ahead, "needed", lambda block: [*functions, Callee(slow, None, WORDS, 99.0)]
    )
    begun = threading.Event()
    slow = Last(begun)
    ask = Worker.ask

    def asked(worker, call):
        if pickle.loads(call)[0] is sleep:
            begun.set()
        return ask(worker, call)

    monkeypatch.setattr(Worker, "ask", asked)
    assert ahead.compile_together([BLOCK], 2) == 0
    assert not CHILDREN
    assert outcomes(functions) == (expected(functions), 1)


def test_what_cannot_be_sent_is_compiled_here(functions, compile_all, monkeypatch):
    def unsendable(thing):
        raise ExecutorError("an open file")

    monkeypatch.setattr(ahead, "pack", unsendable)
    assert compile_all() == 0
    assert outcomes(functions) == (expected(functions), 0)


def test_processes_that_cannot_be_started_are_done_without(functions, monkeypatch):
    def no_more(*_, **__):
        raise BlockingIOError("too many processes")

    monkeypatch.setattr(ahead, "Worker", no_more)
    monkeypatch.setattr(ahead, "needed", lambda block: functions)
    assert ahead.compile_together([BLOCK], 2) == 0
    assert outcomes(functions) == (expected(functions), 0)


@pytest.mark.parametrize(
    ("seconds", "workers", "processes"),
    [((7.0, 6.0, 1.5, 0.5), 2, 2), ((7.0, 6.0, 1.5, 0.5), 64, 5), ((1.5, 0.5), 2, 1), ((), 2, 1)],
)
def test_each_process_has_something_to_do_beside_the_longest(
    seconds, workers, processes, monkeypatch
):
    monkeypatch.setattr(ahead, "START", 2.0)
    callees = [Callee(None, None, (), each) for each in seconds]
    assert ahead.process_count(callees, workers) == processes


def no_process(*_, **__):
    raise AssertionError("a process was started")


@pytest.mark.parametrize("reason", ["one worker", "little to do", "no folder", "all compiled"])
def test_no_process_is_started_for_nothing(functions, monkeypatch, reason):
    monkeypatch.setattr(ahead, "Worker", no_process)
    monkeypatch.setattr(ahead, "needed", lambda block: functions)
    if reason == "little to do":
        monkeypatch.setattr(ahead, "START", 0.5 * N)
    if reason == "no folder":
        monkeypatch.setattr(ahead, "cache_folder", lambda: None)
    if reason == "all compiled":
        outcomes(functions)
    assert ahead.compile_together([BLOCK], 1 if reason == "one worker" else 2) == 0


def test_an_error_is_raised_and_ends_the_processes(functions, monkeypatch):
    wrong = Callee(kernel(failing, next(numbers)), types.int64, WORDS, 9.0)
    monkeypatch.setattr(ahead, "needed", lambda block: [*functions, wrong])
    with pytest.raises(CompileError, match="no_such_thing"):
        ahead.compile_together([BLOCK], 2)
    assert not CHILDREN


def test_ctrl_c_ends_the_processes(functions, monkeypatch):
    class Interrupted(Last):
        def compile(self, arguments):
            assert len(CHILDREN) == 1
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("compiling went on")

    slow = Callee(Interrupted(None), types.int64, WORDS, 9.0)
    monkeypatch.setattr(ahead, "needed", lambda block: [*functions, slow])
    with pytest.raises(KeyboardInterrupt):
        ahead.compile_together([BLOCK], 2)
    assert not CHILDREN


def name_of(payload):
    """Return what a kernel that was sent is called here, and the types it is compiled for."""
    recipe, arguments = unpack(payload)
    return recipe.make().py_func.__qualname__, repr(arguments)


def bowl(x, y):
    return STEEPNESS * x * x + y * y


STEEPNESS = 3.0

SWEPT = {
    "network": (problems.iris(hidden=(4,)), {"epochs": 1, "clip_norm": 1.0}),
    "landscape": (problems.rosenbrock(), {"steps": 1}),
    "the user's": (problems.landscape(bowl, start=(1.0, 1.0)), {"steps": 1}),
}


def test_what_is_sent_is_the_same_there():
    """Otherwise another process would compile what nobody asks for."""
    every, sent = {"optimizer": list(RULES)}, {}
    for problem, how in SWEPT.values():
        plan = check(problem, every, how)
        for block in plan.blocks(plan.space.every_value(), results=False):
            for callee in itertools.chain.from_iterable(block.callees):
                name = callee.kernel.py_func.__qualname__, repr(callee.arguments)
                sent[name] = pack((recipe_of(callee.kernel), callee.arguments))
    worker = Worker()
    try:
        for name, payload in sent.items():
            answer = worker.ask(pickle.dumps((name_of, (payload,), {})))
            assert pickle.loads(answer) == (True, name)
    finally:
        worker.reap()
    assert len(sent) > 2 * len(RULES)


SPEC = """
[problem]
name = "ellipse"
[sweep]
steps = 9
[space]
optimizer = ["sgd", "adam"]
lr = [0.1, 0.01]
"""

COLD = """
    from fastopt.compile import cache_folder, compilations
    from sweeps import sweep
    from sweeps.cli.spec import read_spec
    from sweeps.engine import ahead

    ahead.START = 0.5
    result = read_spec(PATH).call(sweep, progress=False, executor=EXECUTOR)
    print(*result.columns["train_loss"].tolist())
    files = len(list(cache_folder().glob("*.nbc")))
    print(files, result.info["compiled"], len(compilations()))
"""

WARM = """
    from sweeps.cli.commands import app

    app(["cache", "warm", PATH, "--jobs", "1"], standalone_mode=False)
"""


def test_a_sweep_compiles_nothing_twice_and_has_the_same_bits(python, tmp_path):
    """As what this process compiles alone, or finds; what is missing is compiled ahead."""
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC)

    def run(code, executor=None):
        code = textwrap.dedent(code).replace("PATH", repr(str(spec)))
        where = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_NUM_THREADS": "2"}
        return python(code.replace("EXECUTOR", repr(executor)), **where).stdout.splitlines()

    first = run(COLD)
    files, compiled, here = map(int, first[1].split())
    assert files == compiled > here > 0
    gone = [*(tmp_path / "cache").rglob("beginning*.nbc")]
    assert 0 < len(gone) < files
    for path in gone:
        path.unlink()
    told, *second = run(textwrap.dedent(WARM) + textwrap.dedent(COLD), "processes")
    assert told.startswith(f"Compiled {len(gone)} functions in ")
    assert "(1 process), the longest of them in " in told
    assert f"; {files - len(gone)} were there." in told
    assert second == [first[0], f"{files} 0 {len(gone)}"]
    alone = read_spec(spec).call(sweep, progress=False)
    assert alone.columns["train_loss"].tolist() == [*map(float, first[0].split())]


def mean_of_squares(theta, X, y, aux, grad):
    """Return a user's loss, of rows that are numbers."""
    grad[:] = 2 * (theta - X.mean())
    return float(np.mean((X - theta[0]) ** 2))


def test_one_loop_serves_trials_of_all_dtypes_and_targets():
    x = np.arange(6.0)
    flat = problems.custom(mean_of_squares, np.zeros(1), x, x > 2, X_test=x, y_test=x > 2)
    numbers, labels = problems.diabetes(hidden=()), problems.iris(hidden=(8,), dtype="float64")
    made = [flat, numbers, labels, problems.iris(hidden=())]
    blocks = [check(p, {"lr": [0.1]}, {"epochs": 1}).blocks(np.arange(1))[0] for p in made]
    assert len({(numba.typeof(b.trials.X), numba.typeof(b.trials.y)) for b in blocks}) == 4
    assert len({(runner(block), numba.typeof(block.table)) for block in blocks}) == 1
