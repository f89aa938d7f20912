"""Frames, rankings, curves and files of results."""

import io
import math
import sys
import types
from contextlib import redirect_stderr

import numpy as np
import pandas as pd
import pytest

from fastopt.errors import SpecError
from fastopt.schedules import cosine
from sweeps import estimate, problems
from sweeps.common import progress as progressing
from sweeps.common.progress import Progress
from sweeps.results import STATES, SweepResult
from sweeps.space.space import Space

NAN = math.nan
COMPLETE, DIVERGED, PRUNED, FAILED = range(4)
INFO = {
    "seconds": 2.0,
    "n_trials": 8,
    "interrupted": False,
    "trials_per_second": 3.0,
    "compile_seconds": 0.5,
}

SPACE = Space(
    [
        {"optimizer": ["sgd", "momentum"], "lr": [0.1, 1.0], "batch_size": 16},
        {"optimizer": ["adam"], "lr": [0.01, 0.1], "beta1": [0.8, 0.9], "nesterov": [True]},
    ]
)


def make(rows=slice(None), metric="test_accuracy", mode="max", space=SPACE, curves=None, info=INFO):
    """Build a result whose numbers are different in every cell."""
    ids = np.arange(8)
    columns = {
        "trial_id": ids,
        **SPACE.columns(ids),
        "state": np.array([0, 1, 0, 0, 2, 3, 0, 0], np.int8),
        "train_loss": np.array([0.5, NAN, 0.3, 0.3, 0.01, NAN, 0.2, math.inf]),
        "test_accuracy": np.array([0.90, 0.99, 0.95, 0.95, 0.99, NAN, 0.93, NAN]),
        "steps": np.array([50, 7, 50, 50, 20, 0, 50, 50]),
        "steps_to_target": np.array([-1, -1, 40, 30, -1, -1, 45, -1]),
        "diverged_step": np.array([-1, 7, -1, -1, -1, -1, -1, -1]),
    }
    return SweepResult({k: a[rows] for k, a in columns.items()}, curves, metric, mode, info, space)


DTYPES = {
    "trial_id": "int64",
    "optimizer": pd.CategoricalDtype(pd.Index(["sgd", "momentum", "adam"], dtype=object)),
    "lr": "float64",
    "batch_size": "Int64",
    "beta1": "float64",
    "nesterov": "boolean",
    "state": pd.CategoricalDtype(pd.Index(STATES, dtype=object)),
    "train_loss": "float64",
    "test_accuracy": "float64",
    "steps": "int64",
    "steps_to_target": "Int64",
    "diverged_step": "Int64",
}


@pytest.mark.parametrize("rows", [slice(None), slice(0), slice(0, 3), slice(4, None)], ids=str)
def test_dtypes_do_not_depend_on_what_has_finished(rows):
    frame = make(rows).to_frame()
    assert frame.dtypes.to_dict() == {k: pd.api.types.pandas_dtype(v) for k, v in DTYPES.items()}
    pd.testing.assert_frame_equal(frame, make().to_frame().iloc[rows].reset_index(drop=True))


def test_cells_of_the_frame():
    frame = make().to_frame()
    assert frame["state"].tolist() == [STATES[k] for k in (0, 1, 0, 0, 2, 3, 0, 0)]
    assert frame["optimizer"].tolist() == ["sgd"] * 2 + ["momentum"] * 2 + ["adam"] * 4
    assert frame["batch_size"].fillna(-9).tolist() == [16] * 4 + [-9] * 4
    assert frame["nesterov"].isna().tolist() == [True] * 4 + [False] * 4
    assert frame["steps_to_target"].dropna().to_dict() == {2: 40, 3: 30, 6: 45}
    assert frame["diverged_step"].dropna().to_dict() == {1: 7}


def test_the_frame_is_the_callers_own():
    result = make()
    frame = result.to_frame()
    frame["lr"] *= 2.0
    frame.loc[0, "train_loss"] = -1.0
    assert result.to_frame()["lr"].tolist() == [0.1, 1.0] * 2 + [0.01, 0.01, 0.1, 0.1]
    assert result.to_frame().loc[0, "train_loss"] == 0.5


def test_missing_marks_may_be_nan():
    columns = {
        "trial_id": np.arange(2),
        "state": np.zeros(2),
        "steps": np.array([3.0, 4.0]),
        "steps_to_target": np.array([NAN, 4.0]),
    }
    frame = SweepResult(columns, None, "steps", "min", {}).to_frame()
    assert frame["steps_to_target"].isna().tolist() == [True, False]
    assert frame["steps_to_target"].dtype == "Int64"
    assert frame["steps"].dtype == np.int64


def test_without_a_space_the_values_decide():
    frame = make(space=None).to_frame()
    assert frame["optimizer"].cat.categories.tolist() == ["sgd", "momentum", "adam"]
    assert frame["batch_size"].dtype == "Int64"
    assert frame["nesterov"].dtype == "boolean"
    assert make(slice(0), space=None).to_frame()["optimizer"].dtype == "category"


def test_schedules_are_shown_with_their_parameters():
    space = Space({"schedule": ["constant", cosine(9)]})
    columns = {"trial_id": np.arange(2), **space.columns([0, 1]), "state": np.zeros(2, int)}
    result = SweepResult(columns | {"loss": np.array([2.0, 1.0])}, None, "loss", "min", {}, space)
    labels = ["constant", "cosine(total_steps=9, final=0.0)"]
    assert result.to_frame()["schedule"].tolist() == labels
    assert result.best_params_ == {"schedule": cosine(9)}


@pytest.mark.parametrize(
    ("metric", "mode", "order"),
    [
        ("test_accuracy", "max", [2, 3, 6, 0]),  # 1 diverged, 4 was pruned, 7 is not finite
        ("test_accuracy", "min", [0, 6, 2, 3]),  # equal ones stay in the order of their numbers
        ("train_loss", "min", [6, 2, 3, 0]),
        ("train_loss", "max", [0, 2, 3, 6]),
        ("steps_to_target", "min", [3, 2, 6]),  # -1 is never, not soon
    ],
)
def test_best_ranks_finished_finite_trials(metric, mode, order):
    result = make(metric=metric, mode=mode)
    assert result.best(100)["trial_id"].tolist() == order
    assert result.best()["trial_id"].tolist() == order[:1]
    assert result.best(2).index.tolist() == [0, 1]
    assert result.best_params_ == SPACE[order[0]]
    assert result.best_score_ == result.columns[metric][order[0]]
    assert result.best(100).dtypes.equals(result.to_frame().dtypes)


def test_best_params_are_plain_values_of_the_axes_the_trial_has():
    params = make(metric="train_loss", mode="min").best_params_
    assert params == {"optimizer": "adam", "lr": 0.1, "beta1": 0.8, "nesterov": True}
    assert [type(value) for value in params.values()] == [str, float, float, bool]


def test_no_best_trial():
    result = make([1, 4, 5])
    assert len(result.best()) == 0
    for attribute in ("best_params_", "best_score_"):
        with pytest.raises(SpecError, match="none of the 3 finished trials is COMPLETE with a fin"):
            getattr(result, attribute)


def test_counts_and_length():
    assert make().counts == {"COMPLETE": 5, "DIVERGED": 1, "PRUNED": 1, "FAILED": 1}
    assert len(make()) == 8
    assert len(make(slice(0))) == sum(make(slice(0)).counts.values()) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "test_acuracy"}, "got 'test_acuracy' [(]did you mean 'test_accuracy'"),
        ({"metric": "lr"}, "metric must be one of train_loss, .* got 'lr'"),
        ({"mode": "best"}, "mode must be 'min' or 'max'; got 'best'"),
    ],
)
def test_wrong_metric_or_mode_is_refused(options, message):
    with pytest.raises(SpecError, match=message):
        make(**options)


@pytest.mark.parametrize("padding", [-1, NAN])
def test_curves_are_one_row_a_point(padding):
    curves = {
        "trial_id": np.array([2, 5, 6]),
        "step": np.array([[0, 10, 20], [0, padding, padding], [0, 10, padding]]),
        "train_loss": np.array([[3.0, 2.0, 1.0], [9.0, NAN, NAN], [4.0, NAN, NAN]]),
        "epoch": np.array([[0, 1, 2]] * 3),
    }
    frame = make(curves=curves).curves()
    expected = pd.DataFrame(
        {
            "trial_id": [2, 2, 2, 5, 6, 6],
            "step": [0, 10, 20, 0, 0, 10],
            "train_loss": [3.0, 2.0, 1.0, 9.0, 4.0, NAN],  # the last is measured, not padding
            "epoch": [0, 1, 2, 0, 0, 1],
        }
    )
    pd.testing.assert_frame_equal(frame, expected)


def test_curves_that_were_not_recorded():
    with pytest.raises(SpecError, match=r"not kept: sweep\(\.\.\., curves=True\)"):
        make().curves()


def test_parquet_gives_the_frame_back(tmp_path):
    path = make().save(tmp_path / "r.parquet")
    frame = pd.read_parquet(path)
    expected = make().to_frame()
    pd.testing.assert_frame_equal(frame, expected, check_dtype=False, check_categorical=False)
    assert frame["state"].dtype == "category"
    assert frame["steps_to_target"].dtype == "Int64"
    assert [p.name for p in tmp_path.iterdir()] == ["r.parquet"]


def test_csv_gives_the_numbers_back(tmp_path):
    frame = pd.read_csv(make().save(str(tmp_path / "r.csv")))
    expected = make().to_frame()
    for name in ("trial_id", "lr", "train_loss", "steps"):
        np.testing.assert_array_equal(frame[name], expected[name])
    assert frame["state"].tolist() == expected["state"].tolist()
    assert frame["steps_to_target"].isna().tolist() == expected["steps_to_target"].isna().tolist()


def test_a_file_needs_a_folder(tmp_path):
    result = make()
    files = {"a.csv": result.save, "a.parquet": result.save, "a.html": result.report}
    for name, write in files.items():
        with pytest.raises(FileNotFoundError, match=r"there is no folder .*none to write a\."):
            write(tmp_path / "none" / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = make().save(tmp_path / "r.csv")
    before = path.read_bytes()

    def full(frame, target, **options):
        target.write_text("half a fi")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(OSError, match="No space left"):
        make(slice(2)).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(SpecError, match=r"saved as \.parquet or \.csv; got '.*r\.xlsx'"):
        make().save(tmp_path / "r.xlsx")


def test_repr_tells_the_outcome():
    text = repr(make())
    assert text.splitlines() == [
        "SweepResult: 8 of 8 trials finished (5 COMPLETE, 1 DIVERGED, 1 PRUNED, 1 FAILED)",
        "  best test_accuracy = 0.95 with optimizer='momentum', lr=0.1, batch_size=16",
        "  2 s, 3 trials/s",
    ]
    stopped = repr(make(slice(0), info=INFO | {"interrupted": True}))
    assert stopped.startswith("SweepResult: 0 of 8 trials finished (none)")
    assert stopped.endswith("interrupted: the other trials did not run")


def test_html_repr_is_escaped_and_shows_the_best():
    columns = {"trial_id": np.arange(1), "form": np.array(["<b>"], object), "state": np.zeros(1)}
    html = SweepResult({**columns, "loss": np.ones(1)}, None, "loss", "min", {})._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
    assert html.count("<table") == 1


def test_a_million_rows():
    n = 1_000_000
    space = Space({"optimizer": ["sgd", "adam"], "lr": [0.1], "seed": range(n // 2)})
    ids = np.arange(n)
    loss = np.random.default_rng(1).random(n)
    columns = {"trial_id": ids, **space.columns(ids), "state": np.zeros(n, np.int8)}
    result = SweepResult(columns | {"train_loss": loss}, None, "train_loss", "min", {}, space)
    assert result.to_frame().shape == (n, 6)
    assert result.best(3)["trial_id"].tolist() == np.argsort(loss)[:3].tolist()


class Terminal:
    """A stderr that says it is a terminal and keeps what is written."""

    def __init__(self, live=True):
        self.text, self.live, self.encoding = "", live, "utf-8"

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return self.live


@pytest.fixture
def live(monkeypatch):
    """Environment of a person at a terminal."""
    monkeypatch.delenv("FASTOPT_NO_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.usefixtures("live")
def test_progress_shows_trials_share_of_cost_and_best():
    terminal = Terminal()
    with redirect_stderr(terminal), Progress(total_cost=8.0, total_trials=4000) as progress:
        progress.update(cost_done=2.0, trials_done=3000, best=0.9712345)
        progress.update(cost_done=2.0, trials_done=3001)
    assert "3,001 of 4,000 trials" in terminal.text
    assert "25%" in terminal.text  # of the cost: 75 % of the trials are done
    assert "best 0.97123" in terminal.text
    assert "trials/s" in terminal.text


class Deaf:
    """What some programs put in the place of stderr."""

    def write(self, text):
        raise AssertionError


def closed():
    file = io.StringIO()
    file.close()
    return file


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("make", [lambda: None, Deaf, closed], ids=["none", "deaf", "closed"])
def test_progress_needs_no_stderr(make):
    with redirect_stderr(make()), Progress(1.0, 10) as progress:
        progress.update(0.5, 5, 0.1)
    assert not progress.enabled


class Cell:
    """The front end of a notebook: what it was asked to show, and to show instead."""

    def __init__(self):
        self.shown = []

    def display(self, data, raw, display_id):
        assert raw
        assert display_id
        self.update(data, raw=True)
        return self

    def update(self, data, raw):
        self.shown.append(data)


@pytest.fixture
def cell(monkeypatch, live):
    made = Cell()
    shell, front = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    shell.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    front.display = made.display
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", front)
    return made


def test_progress_in_a_notebook_is_one_line_that_changes(cell, monkeypatch):
    monkeypatch.setattr(progressing, "PAUSE", 0.0)
    terminal = Terminal()
    with redirect_stderr(terminal), Progress(total_cost=8.0, total_trials=4000) as progress:
        progress.update(cost_done=2.0, trials_done=3000, best=0.9712345)
        progress.update(cost_done=4.0, trials_done=3500)
    words = [data["text/plain"] for data in cell.shown]
    assert words[0].startswith("0 of 4,000 trials, 0%, ")
    assert words[1].startswith("3,000 of 4,000 trials, 25%, ")
    assert "s left, best 0.97123" in words[1]
    assert "3,500 of 4,000 trials, 50%" in words[2]
    assert words[-1].endswith("best 0.97123")
    assert '<progress value="0.2500" max="1"></progress> 3,000 of' in cell.shown[1]["text/html"]
    assert terminal.text == ""


def test_progress_in_a_notebook_is_told_of_now_and_then(cell):
    with Progress(total_cost=1e6, total_trials=10**6) as progress:
        for k in range(10_000):
            progress.update(k, k)
    assert len(cell.shown) < 100
    assert cell.shown[-1]["text/plain"].startswith("9,999 of 1,000,000 trials")


def test_progress_in_a_notebook_can_be_turned_off(cell, monkeypatch):
    with Progress(1.0, 10, enabled=False) as progress:
        progress.update(0.5, 5)
    monkeypatch.setenv("FASTOPT_NO_PROGRESS", "1")
    with Progress(1.0, 10) as progress:
        progress.update(0.5, 5)
    assert cell.shown == []


@pytest.mark.parametrize("value", ["yes", "off", None, 2, 0.5])
def test_progress_is_true_or_false(value):
    with pytest.raises(SpecError, match="progress must be True or False; got"):
        Progress(1.0, 10, enabled=value)
    for name in ("curves", "restore_best", "stop_at_target"):  # no kernel of TypingErrors, no guess
        with pytest.raises(SpecError, match=f"{name} must be True or False; got"):
            estimate(problems.ellipse(), {"lr": [0.1]}, steps=2, **{name: value})


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("silence", ["argument", "environment", "pipe", "nothing"])
def test_progress_is_silent_where_nobody_looks(monkeypatch, silence):
    if silence == "environment":
        monkeypatch.setenv("FASTOPT_NO_PROGRESS", "1")
    terminal = Terminal(live=silence != "pipe")
    with redirect_stderr(terminal), Progress(1.0, 10, enabled=silence != "argument") as progress:
        progress.update(0.5, 5, 0.1)
    assert (terminal.text == "") == (silence != "nothing")
    assert progress.enabled == (silence == "nothing")
