"""``fastopt bench --history``: the table, the picture, and files that are no history."""

import json
from pathlib import Path

import pytest

from sweeps.cli.history import KEYS
from tests.helpers import commands

ROOT = Path(__file__).parents[3]
A, B = "adamw, 1,000: NumPy / ours", "adamw, 1,000: touch / ours"


def call(*args):
    return commands.call("bench", *args)


def run_of(commit, **ratios):
    """A line of the file; ``ratios`` by letter."""
    named = {{"a": A, "b": B}[letter]: value for letter, value in ratios.items()}
    parts = (commit, "2026-01-02T03:04:05", {"cpu": "CPU"}, {"numpy": "2.4"}, named)
    return dict(zip(KEYS, parts, strict=True))


@pytest.fixture
def file(tmp_path):
    """Three runs: the first without one of the ratios, the last slower in the other."""
    path = tmp_path / "history.jsonl"
    runs = [run_of("c1", a=3.0), run_of("c2", a=4.0, b=0.5), run_of("c3", a=3.0, b=0.75)]
    path.write_text("".join(json.dumps(run) + "\n" for run in runs))
    return path


def test_the_table_has_the_runs_and_the_change_against_the_run_before(file):
    shown = call("--history", file).output
    row_a = next(line.split() for line in shown.splitlines() if A in line)
    row_b = next(line.split() for line in shown.splitlines() if B in line)
    assert row_a[-4:] == ["3", "4", "3", "-25.0%"]
    assert row_b[-4:] == ["-", "0.5", "0.75", "+50.0%"]
    assert shown.index(A) < shown.index(B)  # what became slower stands first
    assert "3 runs in all" in shown
    assert json.loads(call("--history", file, "--json").output)["changes"] == {A: -0.25, B: 0.5}


def test_one_run_has_no_change(file):
    file.write_text(file.read_text().splitlines()[0])
    shown = call("--history", file).output
    assert next(line.split() for line in shown.splitlines() if A in line)[-2:] == ["3", "-"]


def test_the_picture_is_drawn(file, tmp_path):
    picture = tmp_path / "trend.svg"
    done = call("--history", file, "-o", picture)
    assert done.exit_code == 0, done.output
    assert all(name in picture.read_text() for name in ("c1", "c3", A, B))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "name the file: fastopt bench --history"),
        ("", "is empty"),
        ("{}\n", "line 1"),
        ("no json\n", "line 1"),
        (json.dumps(run_of("c") | {"ratios": [1]}), "line 1"),
        (json.dumps(run_of("c") | {"ratios": {"a": 0}}), "line 1"),
        (json.dumps(run_of("c") | {"ratios": {"a": "1"}}), "line 1"),
        (json.dumps(run_of("c") | {"date": 3}), "line 1"),
        (json.dumps(run_of("c") | {"machine": "CPU"}), "line 1"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path, text, message):
    path = tmp_path / "history.jsonl"
    if text is not None:
        path.write_text(text)
    done = call("--history", path)
    assert done.exit_code == 1
    assert message in done.output


@pytest.mark.parametrize(
    "options", [["x.jsonl"], ["-o", "x.png"], ["--history", "--quick"], ["--history", "-o", "x"]]
)
def test_options_that_do_not_go_together_are_refused(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(*options).exit_code == 2
    assert not list(tmp_path.iterdir())


def test_the_history_of_the_repository_is_found_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = (ROOT / "bench" / "history.jsonl").read_text().splitlines()
    assert len(json.loads(call("--history", "--json").output)["runs"]) == len(lines) >= 1
