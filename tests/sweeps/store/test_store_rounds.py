"""Pruned sweeps in a store: killed anywhere and run again, their rungs are the same to the bit."""

import contextlib
import dataclasses
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fastopt.errors import SpecError, StoreError
from sweeps import (
    ASHA,
    Hyperband,
    KeepBest,
    MedianStopping,
    SuccessiveHalving,
    SweepResult,
    problems,
    sweep,
)
from sweeps.pruning import Pruner, Round, race
from sweeps.running import dispatch
from sweeps.running.check import check
from sweeps.running.runner import run_chunks
from sweeps.store import reopen_result_parts, rounds
from sweeps.store.compact import compact
from sweeps.store.status import status
from tests.helpers.commands import said
from tests.helpers.stores import Dead, Disk, files, run, same_frames

ROOT = Path(__file__).parents[3]
# The kernels of the other tests of stores: adam on the ellipse.
SPACE = {"lr": np.geomspace(1e-3, 2.0, 13).tolist(), "seed": [0]}
HALVING = SuccessiveHalving(2, factor=2)
SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]

pytestmark = pytest.mark.usefixtures("small_chunks")


@dataclasses.dataclass(frozen=True)
class Worst(Pruner):
    """A pruner of the user's own, with a method and a loop beside what it must have."""

    drop: int = 5
    numbers: bool = True

    def rounds(self, n_trials, max_resources):
        """Leave out the worst, and go back to one that was left out before."""
        trials = np.arange(n_trials)
        for rung, resources in enumerate((3, 6, max_resources)):
            losses = yield Round(0, rung if self.numbers else 0, trials, resources)
            trials = self.kept(trials, losses)

    def kept(self, trials, losses):
        """Return the trials that go on."""
        return np.sort(trials[np.argsort(losses, kind="stable")[: len(trials) - self.drop]])


PRUNERS = [HALVING, Hyperband(factor=2), ASHA(2, factor=2), MedianStopping(3, 0, 4), Worst()]


def pruned(store=None, pruner=HALVING, **options):
    return run(store, SPACE, pruner=pruner, **options)


def same_races(actual, expected):
    same_frames(actual.to_frame(), expected.to_frame())
    same_frames(actual.rungs(), expected.rungs())
    assert (actual.n_candidates_, actual.n_resources_) == (
        expected.n_candidates_,
        expected.n_resources_,
    )
    assert actual.share_of_steps_ == expected.share_of_steps_
    if expected._curves is not None:
        same_frames(actual.curves(), expected.curves())


@pytest.fixture(scope="module")
def expected():
    """What comes of it in one process, without a store and without chunks."""
    return pruned(curves=True)


class Posted(Executor):
    """An executor far away: what goes there and comes back does so in pickles, the last first."""

    def __init__(self):
        self.bytes = 0

    def submit(self, function, *args):
        sent = pickle.dumps((function, args))
        function, args = pickle.loads(sent)
        answer = pickle.dumps(function(*args))
        self.bytes += len(sent) + len(answer)
        future = Future()
        future.set_result(pickle.loads(answer))
        return future


@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda p: type(p).__name__)
def test_where_it_runs_and_is_kept_changes_nothing(pruner, tmp_path):
    expected = pruned(pruner=pruner, curves=True)
    assert expected.counts["PRUNED"] > 0
    for k, where in enumerate(({}, {"n_jobs": 2}, {"executor": Posted()})):
        store = tmp_path / str(k)
        same_races(pruned(store, pruner, curves=True, **where), expected)
        again = pruned(store, pruner, curves=True)
        same_races(again, expected)
        assert again.info["reused"] == len(expected)
    for executor in ("threads", Posted()):
        same_races(pruned(None, pruner, curves=True, executor=executor, n_jobs=2), expected)
    parts = pd.concat([pd.read_parquet(file) for file in files(store)])
    table = expected.rungs()
    # A trial that had ended before a rung is in the rung, and does not run there.
    assert len(parts.drop_duplicates(["trial_id", "bracket", "rung"])) == len(parts) <= len(table)


def test_data_problems_and_processes_too(tmp_path):
    problem, space = problems.iris(hidden=(8,)), {"lr": [0.001, 0.01, 0.1, 30.0], "seed": [0, 1]}
    how = {"epochs": 4, "pruner": ASHA(1, factor=2), "progress": False, "measure": ["grad_norm"]}
    expected = sweep(problem, space, **how)
    for where in ({"executor": "processes", "n_jobs": 2}, {"executor": Posted()}):
        where["store"] = tmp_path / str(where["executor"])[:4]
        same_races(sweep(problem, space, **how, **where), expected)
    same_frames(SweepResult.open(where["store"]).to_frame(), expected.to_frame())


def cost_of(executor=None, chunk=None, pruner=HALVING):
    """Return the cost, by the model, of all that has run: in trial-steps but for rounding."""
    plan = check(problems.ellipse(), SPACE, {"optimizer": "adam", "steps": 15})
    running = race.Race(plan, pruner, chunk)
    run_chunks(running, 1, executor, began=time.perf_counter(), progress=False)
    return running.cost


def test_states_travel_with_their_chunks_so_nothing_is_trained_twice():
    assert cost_of() == cost_of("threads", 4) == cost_of(Posted(), 4)


def test_a_crash_costs_one_round_from_the_start(tmp_path, monkeypatch):
    """The trials of the round that was under way begin anew; what is stored is not run again."""
    pruned(tmp_path / "store")
    parts = files(tmp_path / "store")
    last = pd.read_parquet(parts[-1])
    parts[-1].unlink()
    ran = []
    keep = rounds.StoredRounds.keep
    monkeypatch.setattr(
        rounds.StoredRounds, "keep", lambda *args: ran.append(args[3]) or keep(*args)
    )
    again = pruned(tmp_path / "store")
    assert [rows.ids.tolist() for rows in ran] == [last.trial_id.tolist()]
    assert again.info["reused"] == 13 - len(last)
    same_races(again, pruned())


@pytest.mark.parametrize("lost", ["nothing", "data", "names"])
@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.soak)])
def test_a_death_at_any_operation_changes_nothing(expected, tmp_path, lost, step):
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        pruned(tmp_path / "all", curves=True)
    first = {"nothing": 1, "data": 6, "names": 12}[lost] if step > 1 else 1
    for k in range(first, disk.count + 1, step):
        store = tmp_path / str(k)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, k, lost)
            with pytest.raises(Dead):
                pruned(store, curves=True)
        same_races(pruned(store, curves=True), expected)
        assert len(files(store)) == len(files(tmp_path / "all"))


KILLS = st.tuples(
    st.sampled_from(["die", "stop", "cut", "lose", "compact", "open", "two"]), st.integers(0, 10**6)
)


def befall(store, what, number):
    """Let one thing happen to a store."""
    parts = files(store) + files(store, "curves")
    if what == "die":
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, 1 + number % 120, ("nothing", "data", "names")[number % 3])
            with contextlib.suppress(Dead):
                pruned(store, curves=True)
    elif what == "stop":
        stopped(store, 1 + number % 6)
    elif what in ("cut", "lose") and parts:
        part = parts[number % len(parts)]
        part.unlink() if what == "lose" else os.truncate(part, part.stat().st_size // 2)
    elif what == "compact" and parts:
        compact(store)
    elif what == "open" and parts:
        with contextlib.suppress(StoreError):  # damaged, until the sweep runs again
            SweepResult.open(store).to_frame()
    elif what == "two":
        pruned(store, curves=True, executor=Posted())


def stopped(store, looks, **options):
    """Run until Ctrl-C at so many looks for it."""
    left = [looks]

    def look():
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "check_interrupt", look)
        return pruned(store, curves=True, **options)


def check_history(expected, tmp_path_factory, history):
    store = tmp_path_factory.mktemp("history") / "store"
    for what, number in history:
        befall(store, what, number)
    same_races(pruned(store, curves=True), expected)
    same_frames(SweepResult.open(store).to_frame(), expected.to_frame())


HISTORIES = st.lists(KILLS, min_size=1, max_size=5)
HISTORY = {
    "deadline": None,
    "phases": [Phase.generate],
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


@pytest.mark.filterwarnings("ignore:.*is damaged:UserWarning")
@settings(max_examples=12, **HISTORY)
@given(HISTORIES)
def test_whatever_happens_the_rungs_are_the_same(expected, tmp_path_factory, history):
    check_history(expected, tmp_path_factory, history)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore:.*is damaged:UserWarning")
@settings(max_examples=600, **HISTORY)
@given(HISTORIES)
def test_whatever_happens_the_rungs_are_the_same_often(expected, tmp_path_factory, history):
    check_history(expected, tmp_path_factory, history)


KILLED = """
    import sys
    from sweeps.engine import chunks
    from sweeps.store import folder
    from tests.sweeps.store.test_store_rounds import PRUNERS, pruned

    chunks.MOST_TRIALS, folder.provenance = 4, dict
    pruned(sys.argv[1], PRUNERS[int(sys.argv[2])], curves=True, executor=sys.argv[3], n_jobs=2)
"""


@pytest.mark.parametrize(
    ("executor", "times"),
    [
        ("threads", 2),
        pytest.param("threads", 20, marks=SOAK),
        pytest.param("processes", 15, marks=SOAK),
    ],
)
def test_a_process_killed_at_any_time_goes_on(tmp_path, executor, times):
    """SIGKILL when some parts are there, again and again until a run comes through."""
    chance, store = random.Random(times), tmp_path / "store"
    for k in range(times):
        number = k % len(PRUNERS)
        store = tmp_path / str(k)
        script = [sys.executable, "-c", textwrap.dedent(KILLED), str(store), str(number), executor]
        process = subprocess.Popen(script, cwd=ROOT, env=os.environ)
        parts, end = chance.randrange(4), time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            if (store / "parts").is_dir() and len(list((store / "parts").iterdir())) > parts:
                break
            time.sleep(0.001)
        time.sleep(chance.random() / 50)
        process.send_signal(signal.SIGKILL)
        process.wait()
        pruner = PRUNERS[number]
        same_races(pruned(store, pruner, curves=True), pruned(pruner=pruner, curves=True))
        assert not list(store.rglob("*.draft"))


@pytest.mark.parametrize("looks", [1, 3, 5])
def test_a_stopped_sweep_is_opened_as_it_was_returned(expected, tmp_path, looks):
    store = tmp_path / "store"
    one = stopped(store, looks, n_jobs=1)
    assert one.info["interrupted"]
    opened = SweepResult.open(store)
    same_frames(opened.to_frame(), one.to_frame())
    same_frames(opened.curves(), one.curves())
    assert opened.info["interrupted"]
    whole = expected.to_frame()
    part = one.to_frame()
    same_frames(part, whole[whole.trial_id.isin(part.trial_id)].reset_index(drop=True))
    facts = status(store)
    assert facts["finished"] == len(one)
    began = facts["rungs"][: len(one.n_candidates_)] if len(one._played) else []
    assert [rung["trials"] for rung in began] == (one.n_candidates_ if began else [])


def test_what_is_opened_is_what_was_run(expected, tmp_path):
    store = tmp_path / "store"
    pruned(store, curves=True)
    for _ in range(2):
        opened, frame = SweepResult.open(store), expected.to_frame()
        same_frames(opened.to_frame(), frame)
        same_frames(opened.curves(), expected.curves())
        assert opened.best_params_ == expected.best_params_
        assert opened.metrics == expected.metrics
        assert opened.counts == expected.counts
        some = SweepResult.open(
            store, columns=["lr"], filters=[("state", "==", "PRUNED"), ("lr", "<", 0.1)]
        )
        wanted = frame[(frame.state == "PRUNED") & (frame.lr < 0.1)].reset_index(drop=True)
        same_frames(
            some.to_frame(), wanted[["trial_id", "lr", "state", "train_loss", "bracket", "rung"]]
        )
        plan = check(problems.ellipse(), SPACE, {"optimizer": "adam", "steps": 15, "curves": True})
        reopened = SweepResult(*reopen_result_parts(plan, store))  # with no pruner at hand
        same_frames(reopened.to_frame(), frame)
        winner = int(reopened.best().trial_id[0])
        assert reopened.replay(winner).loss.iloc[-1] == frame.train_loss[winner]
        # Again, when chunks of several rounds are in one file.
        assert compact(store).parts_after == 2
        assert pruned(store, curves=True).info["reused"] == 13


OTHER = [
    ({"pruner": dataclasses.replace(HALVING, factor=3)}, "pruner.factor: 2 in the store, 3 now"),
    ({"pruner": "asha"}, "pruner.name: successive_halving in the store, asha now"),
    ({"pruner": Worst()}, "pruner.name: successive_halving in the store, nothing now"),
    ({"pruner": None}, "pruner: {'name': 'successive_halving'"),
    ({"steps": 16}, "keywords.steps: 15 in the store, 16 now"),
    ({"space": {**SPACE, "seed": [0, 1]}}, r"space.parts\[0\].seed: .* does not grow"),
    ({"space": {**SPACE, "lr": [*SPACE["lr"][:-1], 3.0]}}, r"lr\[12\]: .* \(a pruned sweep does"),
]


@pytest.mark.parametrize(("change", "message"), OTHER)
def test_another_sweep_is_refused_and_nothing_is_written(change, message, tmp_path):
    how = {"space": SPACE, "pruner": HALVING, "steps": 15}
    run(tmp_path / "store", **how)
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.*")}
    with pytest.raises(SpecError, match=message):
        run(tmp_path / "store", **{**how, **change})
    assert before == {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.*")}
    run(tmp_path / "whole", space=SPACE)
    with pytest.raises(SpecError, match=r"pruner: nothing in the store, \{'name': 'successive"):
        run(tmp_path / "whole", **how)


def test_a_pruner_of_ones_own_is_known_by_its_code(tmp_path, monkeypatch):
    pruned(tmp_path / "store", Worst())
    assert pruned(tmp_path / "store", Worst()).info["reused"] == 13
    with pytest.raises(SpecError, match=r"pruner.fields.drop: 5 in the store, 4 now"):
        pruned(tmp_path / "store", Worst(4))
    with pytest.raises(StoreError, match=r"a pruner of somebody's own, Worst: the same sweep"):
        SweepResult.open(tmp_path / "store")
    assert status(tmp_path / "store")["chunks_done"] == len(files(tmp_path / "store"))
    monkeypatch.setattr(Worst, "kept", lambda self, trials, losses: trials[:3])
    with pytest.raises(SpecError, match=r"pruner.code.kept: code .* now"):
        pruned(tmp_path / "store", Worst())
    with pytest.raises(SpecError, match="plays rung 0 of bracket 0 twice"):
        pruned(tmp_path / "other", Worst(numbers=False))


def test_parts_of_other_decisions_are_set_aside(expected, tmp_path):
    """As after a repair on another CPU: a loss has other last bits, and other trials go on."""
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            race, "losses_of", lambda state, metric, mode: metric + np.arange(len(metric))
        )
        pruned(store, curves=True)
    with pytest.warns(UserWarning, match="its trials are not those of its round"):
        same_races(pruned(store, curves=True), expected)
    same_races(pruned(store, curves=True), expected)


def test_a_trial_that_takes_its_worker_along_fails_and_loses(tmp_path):
    class Deadly(Posted):
        def submit(self, function, *args):
            if function is dispatch.run_trials and 3 in args[2]:
                future = Future()
                future.set_exception(RuntimeError("3 is too much"))
                return future
            return super().submit(function, *args)

    with pytest.warns(UserWarning, match="1 of 13 trials FAILED"):
        one = pruned(tmp_path / "store", executor=Deadly())
    frame = one.to_frame()
    assert frame.state[3] == "FAILED"
    assert frame.rung[3] == 0
    again = pruned(tmp_path / "store")
    same_races(again, one)
    same_frames(SweepResult.open(tmp_path / "store").to_frame(), frame)


@pytest.mark.parametrize(
    "how", [{"reduce": KeepBest(3)}, {"shard": "0/2", "store": "none"}], ids=["reduce", "shard"]
)
def test_what_leaves_trials_out_is_refused(how, tmp_path):
    with pytest.raises(SpecError, match=r"compares all trials of a round, so .* give one of them"):
        pruned(**how)
    assert not Path("none").exists()


TOML = """
[problem]
name = "ellipse"
[sweep]
optimizer = "adam"
steps = 15
[sweep.pruner]
name = "successive_halving"
min_resources = 2
factor = 2
[space]
lr = { geomspace = [1e-3, 2.0, 13] }
"""


def test_the_command_line_keeps_pruned_sweeps_too(tmp_path):
    spec, store, out = (tmp_path / name for name in ("spec.toml", "store", "all.csv"))
    spec.write_text(TOML)

    for _ in range(2):
        told = said("sweep", spec, "--store", store, "--jobs", 1)
    assert "of full-length steps" in told
    assert "where 13 of them were already" in told
    assert "rung 1 │ 7 of 7 trials, trained to 4" in " ".join(said("status", store).split())
    rungs = json.loads(said("status", store, "--json"))["rungs"]
    assert [(rung["trials"], rung["n_resources"]) for rung in rungs] == [
        (13, 2), (7, 4), (4, 8), (2, 15),
    ]  # fmt: skip
    said("export", store, out)
    assert pd.read_csv(out).rung.tolist() == SweepResult.open(store).to_frame().rung.tolist()
    spec.write_text(TOML.replace("factor = 2", "factor = 3"))
    told = said("sweep", spec, "--store", store, code=2)
    assert "pruner.factor: 2 in the store, 3 now" in " ".join(told.split())
