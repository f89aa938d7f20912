"""The same calls with every executor, and wherever Python code is run from."""

import asyncio
import functools
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import distributed
import numpy as np
import pandas as pd
import pytest

from fastopt.errors import ExecutorError, SpecError, SweepWarning
from sweeps import Study, problems, sweep, sweep_callable
from sweeps.running import dispatch
from sweeps.running.executors import EXECUTORS, adapter_of
from tests.conftest import ROOT

SPACE = {"a": [1, 2, 3], "b": [0.5, 1.0]}
OFFSET = 2


def module_level(config):
    return {"loss": (config["a"] - OFFSET) ** 2 + config["b"]}


class Objective:
    def __init__(self, offset):
        self.offset = offset

    def __call__(self, config):
        return {"loss": (config["a"] - self.offset) ** 2 + config["b"]}


def shifted(config, by):
    return {"loss": (config["a"] - by) ** 2 + config["b"]}


def closure(offset):
    def objective(config):
        return {"loss": (config["a"] - offset) ** 2 + config["b"]}

    return objective


FUNCTIONS = {
    "lambda": lambda config: {"loss": (config["a"] - OFFSET) ** 2 + config["b"]},
    "function": module_level,
    "closure": closure(2),
    "object": Objective(2),
    "method": Objective(2).__call__,
    "partial": functools.partial(shifted, by=2),
}


@pytest.fixture(scope="module")
def expected():
    return sweep_callable(module_level, SPACE, metric="loss", progress=False).to_frame()


@pytest.fixture(scope="module")
def pool():
    """One process of the standard library's, for all tests."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as executor:
        yield executor


@pytest.fixture(scope="module")
def client():
    """A dask client whose worker is a thread of this process."""
    with distributed.Client(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0",
        set_as_default=False,
    ) as made:  # fmt: skip
        yield made


# --- executors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in EXECUTORS if name != "dask"])
def test_every_name_runs_a_lambda(name, expected):
    result = sweep_callable(
        FUNCTIONS["lambda"], SPACE, metric="loss", executor=name, n_jobs=1, progress=False
    )
    pd.testing.assert_frame_equal(result.to_frame(), expected, check_exact=True)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_every_kind_of_function_travels(kind, expected, pool):
    options = {"metric": "loss", "executor": pool, "progress": False}
    result = sweep_callable(FUNCTIONS[kind], SPACE, **options)
    pd.testing.assert_frame_equal(result.to_frame(), expected, check_exact=True)
    assert pool.submit(int, "3").result() == 3


def test_a_client_its_address_its_executor_and_the_current_one(expected, client):
    with client.as_current():
        for executor in (client, client.scheduler.address, client.get_executor(), "dask"):
            study = Study(SPACE, metric="loss")
            study.optimize(FUNCTIONS["closure"], 2, executor=executor, progress=False)
            result = study.optimize(FUNCTIONS["closure"], executor=executor, progress=False)
            pd.testing.assert_frame_equal(result.to_frame(), expected, check_exact=True)


def test_workers_that_are_threads_are_sent_nothing():
    """What cannot be pickled is welcome there, whoever's threads they are, and is not copied."""
    lock, seen = threading.Lock(), []

    def objective(config):
        with lock:
            seen.append(config["a"])
        return 0.0

    class Mine(Executor):
        def submit(self, function, *args):
            future = Future()
            future.set_result(function(*args))
            return future

    with ThreadPoolExecutor(1) as threads:
        for executor in (None, "threads", threads, Mine()):
            seen.clear()
            sweep_callable(objective, {"a": [1, 2]}, executor=executor, progress=False)
            assert sorted(seen) == [1, 2]


def test_what_cannot_be_sent_is_an_error_and_nothing_runs(pool):
    lock, file = threading.Lock(), sys.stderr
    for thing, word in ((lock, "lock"), (file, "")):
        with pytest.raises(ExecutorError, match=rf'(?s)cannot be sent.*{word}.*executor="threads"'):
            sweep_callable(lambda c, t=thing: t, {"a": [1]}, executor=pool, progress=False)


class Unwilling:
    """Pickles, and raises when it is unpickled."""

    def __reduce__(self):
        return int, ("no number",)

    def __call__(self, config):
        return 0.0


def test_what_cannot_be_unpacked_is_an_error_and_no_failed_trial(pool):
    with pytest.raises(ExecutorError, match=r"(?s)cannot unpack.*no number.*same packages"):
        sweep_callable(Unwilling(), {"a": [1]}, executor=pool, progress=False)


def test_answers_that_cannot_travel(pool):
    """They are judged where the function runs: a number is what it is worth, an error its text."""

    def objective(config):
        class Odd(Exception):
            pass

        class Tensor:
            def __reduce__(self):
                raise RuntimeError("on a device")

            def __float__(self):
                return 0.25

        if config["a"] == 1:
            raise Odd("why", threading.Lock())
        if config["a"] == 2:
            sys.exit(7)
        return Tensor()

    with pytest.warns(SweepWarning, match="2 of 3 trials FAILED, the first with Odd: "):
        result = sweep_callable(objective, {"a": [1, 2, 3]}, executor=pool, progress=False)
    assert result.columns["error"].tolist()[1:] == ["SystemExit: 7", None]
    assert result.best_score_ == 0.25
    assert pool.submit(int, "3").result() == 3


def test_a_worker_that_dies_fails_its_trial_alone(monkeypatch):
    monkeypatch.setattr(dispatch, "TRIES", 1)
    monkeypatch.setattr(dispatch, "FAULTS_TO_FAIL", 1)

    def objective(config):
        return os._exit(1) if config["a"] == 2 else config["a"]

    with pytest.warns(SweepWarning, match="1 of 3 trials FAILED, the first with its worker was"):
        result = sweep_callable(
            objective, {"a": [1, 2, 3]}, executor="processes", n_jobs=1, progress=False
        )
    assert result.to_frame()["state"].tolist() == ["COMPLETE", "FAILED", "COMPLETE"]


def closed():
    made = ThreadPoolExecutor(1)
    made.shutdown()
    return made


class Promising(Executor):
    def submit(self, function, *args):
        return function(*args)


CALLS = {
    "sweep": lambda executor: sweep(
        problems.ellipse(), {"lr": [0.1]}, optimizer="sgd", steps=2, executor=executor
    ),
    "callable": lambda executor: sweep_callable(module_level, SPACE, executor=executor),
    "study": lambda executor: Study(SPACE).optimize(module_level, executor=executor),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            closed,
            ExecutorError,
            r"(?s)takes no more work: RuntimeError: cannot schedule.*made anew",
        ),
        (Promising, ExecutorError, r"must return a concurrent\.futures\.Future; that of .* retur"),
        (lambda: "proceses", SpecError, "did you mean 'processes'"),
        (lambda: ThreadPoolExecutor, SpecError, r"a class: make one of it, ThreadPoolExecutor\("),
        (lambda: 3, SpecError, "executor must be one of threads, processes"),
    ],
    ids=["closed", "promising", "typo", "class", "number"],
)
def test_what_is_no_executor_is_said_alike(call, make, error, message):
    with pytest.raises(error, match=message):
        call(make())


def test_pools_of_multiprocessing_and_clients_that_are_closed_or_asynchronous():
    class Pool:
        def apply_async(self, function): ...

    class Client:
        def __init__(self, **facts):
            vars(self).update(facts)

        def get_executor(self): ...

    with pytest.raises(SpecError, match=r"multiprocessing have no submit.*ProcessPoolExecutor"):
        adapter_of(Pool(), 1)
    with pytest.raises(ExecutorError, match=r"is closed: make a new one"):
        adapter_of(Client(status="closed"), 1)
    scheduler = type("Scheduler", (), {"address": "tcp://10.0.0.1:8786"})
    with pytest.raises(SpecError, match=r"asynchronous.*executor='tcp://10\.0\.0\.1:8786'"):
        adapter_of(Client(asynchronous=True, scheduler=scheduler), 1)


# --- a study over parts ---------------------------------------------------------------------------


def test_a_study_goes_on_where_it_was_stopped():
    """What was handed out and not finished is handed out again, to whoever asks next."""
    stopped = []

    def objective(config):
        if config["a"] == 3 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        return config["a"]

    class Here(Executor):
        def submit(self, function, *args):
            future = Future()
            future.set_result(function(*args))
            return future

    study = Study({"a": range(6)})
    first = study.optimize(objective, executor=Here(), progress=False)
    assert (first.columns["trial_id"].tolist(), first.info["interrupted"]) == ([0, 1, 2], True)
    assert study.pending == ()
    assert study.ask()[0].tolist() == [3]
    study.tell(3, 3.0)
    last = study.optimize(objective, executor=Here(), progress=False)
    assert last.columns["value"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert last.info["interrupted"] is False
    assert len(study.optimize(objective, progress=False)) == 6


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_a_study_runs_a_number_of_trials(n):
    with pytest.raises(SpecError, match="n_trials must be an integer >= 1"):
        Study({"a": [1]}).optimize(module_level, n)


def test_what_has_to_be_awaited_is_refused():
    async def objective(config):
        return 0.0

    with pytest.raises(SpecError, match=r"returns a coroutine: give lambda config: asyncio\.run"):
        sweep_callable(objective, {"a": [1]})
    again = sweep_callable(
        lambda config: asyncio.run(objective(config)), {"a": [1]}, progress=False
    )
    assert again.best_score_ == 0.0


def test_when_every_trial_failed_the_first_error_is_named():
    def objective(config):
        raise OSError(f"no disk {config['a']}")

    with pytest.warns(SweepWarning, match="3 of 3 trials FAILED"):
        result = sweep_callable(objective, {"a": [1, 2, 3]}, progress=False)
    for look in (lambda: result.best_params_, lambda: result.best_score_):
        with pytest.raises(SpecError) as caught:
            look()
        assert str(caught.value).endswith(
            "all of the 3 finished trials FAILED, the first with OSError: no disk 1"
        )


def test_why_there_is_no_best_trial_is_said_of_what_there_is():
    def objective(config):
        return 1 / 0 if config["a"] == 1 else np.nan

    with pytest.warns(SweepWarning, match="FAILED"):
        mixed = sweep_callable(objective, {"a": [1, 2]}, progress=False)
    with pytest.raises(SpecError, match=r"1 FAILED, the first with ZeroDivisionError.*learning"):
        _ = mixed.best_params_
    with pytest.raises(SpecError, match="no trial has finished"):
        _ = Study({"a": [1]}).result().best_params_


# --- where the program comes from -----------------------------------------------------------------

PROGRAM = """
    from sweeps import problems, sweep, sweep_callable

    shift = 2

    def square(config):
        return (config["a"] - shift) ** 2

    where = {"executor": "processes", "n_jobs": 1}
    options = {"optimizer": "sgd", "steps": 5}
    print(sweep(problems.ellipse(), {"lr": [0.1, 0.2]}, **options, **where).best_params_)
    print(sweep_callable(square, {"a": [1, 2]}, **where).best_params_)
"""
SAID = "{'lr': 0.2}\n{'a': 2}\n"


def python_of(*words, text=None, **more):
    done = subprocess.run(
        [sys.executable, *words], input=text, capture_output=True, text=True, timeout=240,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, **more,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("way", ["stdin", "-c", "file without a guard"])
def test_a_program_with_processes_needs_no_file_and_no_guard(way, tmp_path):
    program = textwrap.dedent(PROGRAM)
    (tmp_path / "program.py").write_text(program)
    words = {"stdin": ["-"], "-c": ["-c", program]}.get(way, ["program.py"])
    text = program if way == "stdin" else None
    code, said, errors = python_of(*words, text=text, cwd=tmp_path)
    assert (code, said) == (0, SAID), errors


POOLED = """
    import multiprocessing

    from sweeps import problems, sweep, sweep_callable

    shift = 2

    def square(config):
        return (config["a"] - shift) ** 2

    def work(executor):
        try:
            best = sweep_callable(square, {"a": [1, 2]}, executor=executor, n_jobs=1).best_params_
            options = {"optimizer": "sgd", "steps": 5, "executor": executor, "n_jobs": 1}
            return best, sweep(problems.ellipse(), {"lr": [0.1, 0.2]}, **options).best_params_
        except RuntimeError as error:
            return str(error)

    if __name__ == "__main__":
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(1) as pool:
                print(*pool.map(work, [None, "processes"]), sep="\\n")
        with multiprocessing.get_context("fork").Pool(1) as pool:
            print(pool.apply(work, ["loky"]))
"""


def test_a_worker_of_a_pool_sweeps(tmp_path):
    """It is a daemon, which multiprocessing forbids to have children; ours are not its."""
    (tmp_path / "pooled.py").write_text(textwrap.dedent(POOLED))
    code, said, errors = python_of("pooled.py", cwd=tmp_path)
    assert code == 0, errors
    *worked, refused, way_out = said.splitlines()
    assert worked == ["({'a': 2}, {'lr': 0.2})"] * 4
    assert "daemonic processes are not allowed to have children" in refused
    assert 'executor="processes" and "threads" need none of this' in way_out


def test_a_pool_that_needs_a_guard_names_the_way_out(tmp_path):
    (tmp_path / "unguarded.py").write_text(
        "import multiprocessing\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from sweeps import sweep_callable\n"
        "pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn'))\n"
        "sweep_callable(lambda c: c['a'], {'a': [1, 2]}, executor=pool)\n"
    )
    code, _, errors = python_of("unguarded.py", cwd=tmp_path)
    assert code == 1
    last = errors.split("fastopt.errors.ExecutorError: ")[-1]
    assert last.startswith("no worker answers: its worker was lost (BrokenProcessPool)")
    assert 'if __name__ == "__main__":' in last
    assert 'executor="processes"' in last
    ours, _, _ = last.partition("\nException ")  # Python may fail to end its broken pool
    assert len(ours.strip().splitlines()) == 2


def test_threads_and_running_event_loops_are_no_obstacle():
    found = []

    def run():
        for executor in (None, "threads"):
            options = {"optimizer": "sgd", "steps": 5, "executor": executor}
            found.append(sweep(problems.ellipse(), {"lr": [0.1, 0.2]}, **options).best_params_)
            found.append(sweep_callable(lambda c: c["a"], {"a": [1, 2]}).best_params_)

    async def main():
        run()

    asyncio.run(main())
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [{"lr": 0.2}, {"a": 1}] * 4


NOTEBOOK = """
    import nbformat
    from nbclient import NotebookClient

    cells = [
        "import time\\nfrom sweeps import problems, sweep, sweep_callable",
        "def square(c):\\n    time.sleep(0.05)\\n    return (c['a'] - 2) ** 2",
        "sweep(problems.ellipse(), {'lr': [0.1, 0.2]}, optimizer='sgd', steps=5).best_params_",
        "sweep_callable(square, {'a': range(8)}, executor='processes', n_jobs=1).best_params_",
        "sweep_callable(square, {'a': range(8)}, progress=False).best_params_",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    for cell in book.cells[2:]:
        for output in cell.outputs:
            print(output.output_type, sorted(output.data), output.data["text/plain"])
"""


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("nbclient", "ipykernel"))),
    reason="nbclient and ipykernel are not installed",
)
def test_a_notebook_shows_progress_below_the_cell(tmp_path):
    code, said, errors = python_of("-c", textwrap.dedent(NOTEBOOK), cwd=tmp_path)
    assert code == 0, errors
    lines = said.splitlines()
    shown = "display_data ['text/html', 'text/plain'] "
    assert [line for line in lines if not line.startswith("display_data")] == [
        "execute_result ['text/plain'] {'lr': 0.2}",
        "execute_result ['text/plain'] {'a': 2}",
        "execute_result ['text/plain'] {'a': 2}",
    ]
    bars = [line.removeprefix(shown) for line in lines if line.startswith(shown)]
    assert [bar.split(", ")[:2] for bar in bars] == [
        ["2 of 2 trials", "100%"],
        ["8 of 8 trials", "100%"],
    ]
    assert bars[1].endswith("best 0")
