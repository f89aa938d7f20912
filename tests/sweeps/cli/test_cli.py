"""The command line: what it prints, saves and returns, from plain use to interruption."""

import functools
import io
import json
import os
import signal
import subprocess
import sys

import numba
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import sweeps.cli.spec  # reads the signature of what tests replace
import sweeps.run
from fastopt import doctor
from fastopt.compile import cache_folder
from fastopt.rules import RULES
from fastopt.schedules import SCHEDULES
from sweeps.cli import tables as summary
from sweeps.engine import chunks
from sweeps.problems import PROBLEMS
from sweeps.results import SweepResult
from sweeps.space.space import Space
from tests.helpers.commands import call

SPEC = """
[problem]
name = "iris"
hidden = [4]

[sweep]
epochs = 3
metric = "test_accuracy"
mode = "max"

[space]
lr = { logspace = [1e-3, 1.0, 4] }
seed = { range = 2 }
"""

INFO = {
    "seconds": 75.0,
    "n_trials": 4,
    "interrupted": True,
    "trials_per_second": 1234.5,
    "compile_seconds": 2.5,
    "compiled": 3,
}


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    return path


def numbers(loss):
    """Build a result of four trials over lr with the given losses."""
    n = len(loss)
    space = Space({"lr": [0.01, 0.1, 1.0, 10.0], "seed": 1, "batch_size": [32]})
    columns = {"trial_id": np.arange(n), **space.columns(np.arange(n))}
    columns |= {"state": np.where(np.isfinite(loss), 0, 1), "train_loss": np.array(loss, float)}
    return SweepResult(columns, None, "train_loss", "min", INFO, space)


def test_a_table_of_settings_fits_in_a_terminal():
    """Four axes, seeds and six metrics: eleven columns broke numbers in two."""
    n, cells = 12, np.linspace(0.1234567, 0.2, 12)
    names = ("train_loss", "val_loss", "val_accuracy", "steps_to_target")
    columns = {
        "trial_id": np.arange(n), "optimizer": np.array(["momentum", "adam"] * 6, object),
        "lr": np.repeat([0.0046415888, 0.1], 6), "beta1": np.full(n, 0.95),
        "batch_size": np.full(n, 256), "seed": np.arange(n) // 2 % 3, "state": np.zeros(n, int),
        **dict.fromkeys(names, cells),
    }  # fmt: skip
    console = Console(width=80, file=io.StringIO())
    console.print(summary.result_tables(SweepResult(columns, None, "val_accuracy", "max", INFO)))
    lines = console.file.getvalue().splitlines()
    found = [line.split() for line in lines if line.startswith((" momentum ", " adam "))]
    assert [len(cells) for cells in found] == [9] * 4
    assert found[0][:2] == ["adam", "0.1"]
    assert lines[3].split().count("val") == 2  # accuracy and loss
    assert lines[4].split()[-3:] == ["loss", "seeds", "error"]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_sweep_prints_its_best_and_saves_all(spec, tmp_path, suffix):
    out = tmp_path / f"trials.{suffix}"
    done = call("sweep", spec, "--out", out, "--jobs", 1)
    assert done.exit_code == 0, done.output
    assert "Best over seeds, largest mean test_accuracy first" in done.stdout
    assert "8 of 8 trials finished: 8 COMPLETE" in done.stdout
    assert "trials/s" in done.stdout
    assert f"Saved 8 trials to {out}" in done.stdout
    frame = pd.read_parquet(out) if suffix == "parquet" else pd.read_csv(out)
    assert frame["trial_id"].tolist() == [*range(8)]
    assert frame["lr"].tolist() == [lr for lr in (0.001, 0.01, 0.1, 1.0) for _ in range(2)]
    assert frame["test_accuracy"].between(0.1, 1.0).all()


def test_ten_columns_fit_a_terminal_of_80(spec, monkeypatch):
    axes = {"optimizer": ["momentum"], "lr": 0.0068129, "beta1": 0.95, "batch_size": 256, "seed": 1}
    space = Space(axes)
    measured = {"train_loss": 7.9141e-4, "test_loss": 0.076412, "test_accuracy": 0.97778}
    columns = {"trial_id": np.array([0]), **space.columns([0]), "state": np.zeros(1, int)}
    columns |= {name: np.array([x]) for name, x in measured.items()}
    columns["steps_to_target"] = np.array([170])
    result = SweepResult(columns, None, "test_accuracy", "max", INFO, space)
    in_place_of_sweep(monkeypatch, lambda *args, **options: result)
    lines = call("sweep", spec, columns=80).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    cells = "0 momentum 0.006813 0.95 256 1 0.000791 0.07641 0.9778 170"
    assert cells in [" ".join(line.split()) for line in lines]  # none is broken over two lines


def test_a_dry_run_says_how_much_work_it_is(spec, monkeypatch):
    monkeypatch.setattr(chunks, "run_together", None)  # calling it would fail
    done = call("sweep", spec, "--dry-run")
    assert done.exit_code == 0, done.output
    rows = [line.strip("│ ").split("│") for line in done.stdout.splitlines() if "│" in line]
    facts = {name.strip(): value.strip() for name, value in rows}
    assert facts["trials"] == "8"
    assert facts["training steps"] == str(8 * 3 * 4)  # 112 training rows in batches of 32
    assert facts["time, about"].endswith("s (plus compiling, the first time)")
    assert facts["memory of the results"].endswith("B")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--jobs", "0"], "a number of threads >= 1, or -1 for all cores; got 0"),
        (["--jobs", "-3"], "got -3"),
        (["--jobs", "two"], "valid int"),
        (["--out", "trials.xlsx"], "must end in .parquet or .csv; got 'trials.xlsx'"),
        (["--out", "no/such/folder/trials.csv"], "there is no folder"),
        (["--owt", "trials.csv"], "No such option: --owt"),
    ],
    ids=str,
)
def test_wrong_usage_is_refused_before_the_run(spec, args, message, monkeypatch):
    monkeypatch.setattr(chunks, "run_together", None)  # calling it would fail
    done = call("sweep", spec, *args)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_folder_is_not_an_output_file(spec, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    done = call("sweep", spec, "--out", tmp_path / "folder.csv")
    assert done.exit_code == 2
    assert "is a folder; name a file in it" in done.stderr


def test_an_unwritable_folder_is_refused(spec, tmp_path, monkeypatch):
    # By hand: root, under which containers run tests, may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    done = call("sweep", spec, "--out", tmp_path / "trials.csv")
    assert done.exit_code == 2
    assert "is not writable" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("epochs", "epocs"),
            "$.sweep.epocs: there is no option 'epocs' (did you mean 'epochs'?)",
        ),
        (("epochs = 3", ""), "how long is a trial?"),
        (("[problem]", "[problem"), "is not TOML"),
    ],
)
def test_a_broken_spec_is_one_message_and_exit_2(spec, change, message):
    spec.write_text(SPEC.replace(*change))
    done = call("sweep", spec)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {spec}: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_missing_spec_is_exit_2(tmp_path):
    done = call("sweep", tmp_path / "none.toml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path / 'none.toml'}: there is no such file\n"


def test_warnings_are_one_line(spec, monkeypatch):
    monkeypatch.setattr(sweeps.run, "sweep", lambda *args, **options: numbers([1.0]))
    spec.write_text(SPEC.replace("{ range = 2 }", "[1, 1]"))
    done = call("sweep", spec)
    assert done.stderr == "warning: axis 'seed' lists 1 more than once; each copy is trained\n"


def test_a_disk_that_fills_up_is_one_message_and_exit_1(spec, tmp_path, monkeypatch):
    def full(result, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(sweeps.run, "sweep", lambda *args, **options: numbers([1.0]))
    monkeypatch.setattr(SweepResult, "save", full)
    done = call("sweep", spec, "--out", tmp_path / "trials.csv")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'trials.csv'}: No space left on device")
    assert "Best trials" in done.stdout


def test_no_progress_and_jobs_reach_the_sweep(spec, monkeypatch):
    seen = []

    def sweep(problem, space, **options):
        seen.append(options)
        return numbers([1.0])

    monkeypatch.setattr(sweeps.run, "sweep", sweep)
    call("sweep", spec, "--no-progress", "--jobs", "3")
    call("sweep", spec)
    assert [(o["progress"], o.get("n_jobs")) for o in seen] == [(False, 3), (True, None)]


INTERRUPT = """
import os, signal, sys
from sweeps.cli.commands import main
from sweeps.common.progress import Progress

def update(self, cost_done, trials_done, best=None):
    if trials_done > 0 and not hasattr(Progress, "pulled"):
        Progress.pulled = True
        os.kill(os.getpid(), signal.SIGINT)

Progress.update = update
sys.argv = ["fastopt", "sweep", *sys.argv[1:]]
main()
"""


def test_ctrl_c_keeps_what_is_finished(spec, tmp_path):
    """A real SIGINT as soon as a trial is done, amid far more trials than can be done by then."""
    spec.write_text(
        SPEC.replace("epochs = 3", "epochs = 50").replace("range = 2", "range = 500000")
    )
    out = tmp_path / "trials.parquet"
    command = [sys.executable, "-c", INTERRUPT, spec, "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert "Interrupted: the other trials did not run." in done.stdout
    assert "of 2,000,000 trials finished" in done.stdout
    assert "Traceback" not in done.stderr
    frame = pd.read_parquet(out)
    assert 0 < len(frame) < 2_000_000
    assert (frame["state"] == "COMPLETE").all()


HELP = """
import sys
from typer.testing import CliRunner
from sweeps.cli.commands import app

assert "fastopt sweep examples/digits.toml" in CliRunner().invoke(app, ["--help"]).output
print([name for name in ("sklearn.datasets", "torch", "matplotlib") if name in sys.modules])
"""


def test_help_is_short_of_heavy_imports():
    """Help must answer at once: data sets are loaded by the commands that need them."""
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "args", [[], ["sweep", "--help"], ["doctor", "--help"], ["list", "--help"]]
)
def test_help_of_every_command(args):
    done = call(*args)
    assert done.exit_code == (0 if args else 2)  # no command at all is wrong usage
    assert "Usage:" in done.output


def test_list_names_all_there_is():
    done = call("list")
    assert done.exit_code == 0
    words = done.stdout.split()
    assert {*RULES, *SCHEDULES, *PROBLEMS} <= {*words}
    hyper = {name for rule in RULES.values() for name in rule.hyper}
    assert hyper | {p for row in SCHEDULES.values() for p in row.params} <= {*words}
    assert "eps=1e-08" in done.stdout
    assert "[0.0, 1.0)" in done.stdout


def test_lists_and_facts_for_scripts():
    named = json.loads(call("list", "--json").stdout)
    assert [*named["optimizers"]] == [*RULES]
    adam = named["optimizers"]["adam"]["hyperparameters"]
    assert {name: kind["default"] for name, kind in adam.items()} == {
        name: kind.default for name, kind in RULES["adam"].hyper.items()
    }
    assert [*named["schedules"]] == [*SCHEDULES]
    assert named["schedules"]["cosine"]["parameters"]["total_steps"]["default"] is None
    assert [*named["problems"]] == [*PROBLEMS]
    assert json.loads(call("doctor", "--json").stdout) == doctor.facts()


def test_doctor_says_how_numba_finds_the_tbb_of_pip(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert "LD_LIBRARY_PATH" not in doctor.facts()["threads"]
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libtbb.so.12").touch()
    if numba.threading_layer() != "tbb":
        assert f"found with LD_LIBRARY_PATH={tmp_path / 'lib'}" in doctor.facts()["threads"]


def test_doctor_shows_the_facts():
    done = call("doctor")
    assert done.exit_code == 0
    for name, value in doctor.facts().items():
        assert name in done.stdout
        assert value.split()[0] in done.stdout


@pytest.mark.parametrize(
    ("v2", "v1", "quota"),
    [
        ("150000 100000\n", None, 1.5),
        ("max 100000\n", None, None),
        (None, ("200000\n", "100000\n"), 2.0),
        (None, ("-1\n", "100000\n"), None),
        (None, None, None),
        ("nonsense\n", None, None),
    ],
)
def test_doctor_reads_the_quota_of_control_groups(tmp_path, monkeypatch, v2, v1, quota):
    monkeypatch.setattr(doctor, "CGROUP_V2", tmp_path / "cpu.max")
    monkeypatch.setattr(doctor, "CGROUP_V1", tmp_path)
    if v2 is not None:
        (tmp_path / "cpu.max").write_text(v2)
    if v1 is not None:
        (tmp_path / "cpu.cfs_quota_us").write_text(v1[0])
        (tmp_path / "cpu.cfs_period_us").write_text(v1[1])
    assert doctor.cpu_quota() == quota


def test_doctor_warns_of_more_threads_than_the_quota(monkeypatch):
    monkeypatch.setattr(doctor, "cpu_quota", lambda: 0.5)
    facts = doctor.facts()
    assert facts["threads"].endswith("more than the quota: set NUMBA_NUM_THREADS=1")
    assert facts["cores"].endswith("quota of 0.5")


def test_doctor_warns_of_a_cache_that_is_not_writable(monkeypatch):
    cache_folder()  # looked for once a process
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert (
        "not writable; name a writable folder in NUMBA_CACHE_DIR"
        in doctor.facts()["cache of compiled code"]
    )


@pytest.mark.parametrize(
    ("loss", "hint"),
    [
        ([1.0, 0.5, 0.7, 0.9], ""),
        ([1.0, 0.5, 0.7, 0.1], "At the edge of the grid: lr = 10; better values may lie beyond."),
        ([0.1, 0.5, 0.7, 0.9], "At the edge of the grid: lr = 0.01; better values may lie beyond."),
        ([np.inf] * 4, ""),
        ([], ""),
    ],
)
def test_the_best_at_the_edge_of_the_grid_is_pointed_out(loss, hint):
    assert summary.edge_message(numbers(loss)) == hint


def test_the_edge_is_that_of_the_trials_own_part_of_a_union():
    space = Space([{"lr": [0.1, 0.2, 0.3]}, {"lr": [0.01, 0.5, 1.0]}])
    columns = {"trial_id": np.arange(6), **space.columns(np.arange(6)), "state": np.zeros(6)}
    for best, edge in ((2, "lr = 0.3"), (1, ""), (4, ""), (3, "lr = 0.01")):
        loss = np.where(np.arange(6) == best, 0.1, 1.0)
        result = SweepResult(columns | {"train_loss": loss}, None, "train_loss", "min", {}, space)
        assert edge in summary.edge_message(result)
        assert bool(edge) == bool(summary.edge_message(result))


@pytest.mark.parametrize("loss", [[], [np.inf], [0.5, np.inf, 0.25]], ids=str)
def test_any_outcome_can_be_shown(spec, monkeypatch, loss):
    in_place_of_sweep(monkeypatch, lambda *args, **options: numbers(loss))
    done = call("sweep", spec)
    assert done.exit_code == 130
    finite = int(np.isfinite(loss).sum())
    counts = [f"{finite} COMPLETE"] * (finite > 0) + ["1 DIVERGED"] * (finite < len(loss))
    assert f"{len(loss)} of 4 trials finished: {', '.join(counts) or 'none'}" in done.stdout
    assert "1 min 15 s in all, 2.5 s of it compiling 3 functions; 1,234 trials/s" in done.stdout


def test_a_sweep_that_only_reads_its_store_has_no_rate(spec, monkeypatch):
    result = numbers([0.5, 0.25])
    result.info = {**INFO, "trials_per_second": 0.0}
    in_place_of_sweep(monkeypatch, lambda *args, **options: result)
    assert "of it compiling 3 functions\n" in call("sweep", spec).stdout


def in_place_of_sweep(monkeypatch, function):
    """Specs look up what options there are in the signature."""
    monkeypatch.setattr(sweeps.run, "sweep", functools.wraps(sweeps.run.sweep)(function))


def test_trials_that_failed_have_an_exit_status_of_their_own(spec, monkeypatch):
    result = numbers([0.5, 0.2, 0.3, 0.4])
    result.info["interrupted"] = False
    in_place_of_sweep(monkeypatch, lambda *args, **options: result)
    assert call("sweep", spec).exit_code == 0
    result.columns["state"][2] = 3
    done = call("sweep", spec)
    assert done.exit_code == 3
    assert "3 COMPLETE, 1 FAILED" in done.stdout


def test_where_to_run_is_handed_on(spec, tmp_path, monkeypatch):
    seen = {}
    in_place_of_sweep(monkeypatch, lambda *args, **options: seen.update(options) or numbers([]))
    call("sweep", spec, "--store", tmp_path, "--shard", "1/4", "--executor", "threads")
    assert (seen["store"], seen["shard"], seen["executor"]) == (tmp_path, "1/4", "threads")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--shard", "1/4"), "shards meet in a folder"),
        (("--shard", "4/4", "--store", "there"), "shard must be i/n"),
        (("--executor", "thread"), "did you mean 'threads'"),
    ],
)
def test_places_that_are_none(spec, args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("sweep", spec, *args)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "there").exists()
