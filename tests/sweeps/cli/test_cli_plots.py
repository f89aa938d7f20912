"""``fastopt plot`` and ``fastopt report``."""

import sys
from pathlib import Path

import pytest

from sweeps import problems, sweep
from sweeps.plots import PLOTS
from tests.helpers.pictured import made
from tests.sweeps.cli.test_cli import call

RESULT = made()


@pytest.fixture
def saved(tmp_path):
    return RESULT.save(tmp_path / "trials.parquet")


SIGNATURES = {b"\x89PNG": ".png", b"<?xm": ".svg", b"%PDF": ".pdf"}


@pytest.mark.parametrize(
    ("kind", "options", "suffix"),
    [
        ("heatmap", ["--x", "lr", "--y", "batch_size", "--facet", "optimizer"], ".png"),
        ("sensitivity", ["--x", "lr", "--by", "optimizer", "--band", "std"], ".svg"),
        ("phase", [], ".pdf"),
    ],
)
def test_pictures_are_written(saved, tmp_path, kind, options, suffix):
    out = tmp_path / f"picture{suffix}"
    done = call("plot", saved, kind, *options, "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"Wrote {out} (")
    assert SIGNATURES[out.read_bytes()[:4]] == suffix
    assert {p.name for p in tmp_path.iterdir()} == {"trials.parquet", out.name}


def test_a_report_is_written(saved, tmp_path):
    out = tmp_path / "page.html"
    done = call("report", saved, out, "--title", "My <sweep>")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"Wrote {out} (")
    assert "<title>My &lt;sweep&gt;</title>" in out.read_text()


def test_a_report_without_a_name_lies_here(saved, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    done = call("report", saved)
    assert done.exit_code == 0, done.output
    assert [p.name for p in Path().iterdir()] == [f"{saved.stem}.html"]


def test_a_store_is_shown_as_a_file_is(tmp_path):
    grid = {"lr": [0.1, 0.01], "beta1": [0.8, 0.9]}
    options = {"steps": 2, "progress": False, "store": tmp_path / "bowl"}
    sweep(problems.ellipse(), grid, optimizer="adam", curves=True, **options)
    for kind in ("heatmap", "curves"):
        done = call("plot", tmp_path / "bowl", kind, "--out", tmp_path / f"{kind}.png")
        assert done.exit_code == 0, done.output
    done = call("report", tmp_path / "bowl", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page.html").read_text()
    assert "<title>ellipse</title>" in page
    assert str(tmp_path) not in page
    assert call("report", tmp_path / "none", tmp_path / "page.html").exit_code == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["heatmap", "--out", "a.jpg"], "must end in .png or .svg or .pdf; got 'a.jpg'"),
        (["heatmap", "--out", "none/a.png"], "there is no folder"),
        (["heatmpa"], "kind must be one of heatmap, "),
        (["heatmap", "--x", "l"], "did you mean 'lr'"),
        (["importance", "--x", "lr"], "importance has no --x; it takes --metric"),
        (["heatmap", "--over", "median"], "over must be one of best, mean, worst"),
        (["curves"], "curves were not recorded"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_wrong_usage_is_one_message(saved, tmp_path, args, message):
    extra = [] if "--out" in args else ["--out", tmp_path / "a.png"]
    done = call("plot", saved, *args, *extra)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["trials.parquet"]


def test_a_missing_file_and_a_missing_extra_are_one_message(saved, tmp_path, monkeypatch):
    out = tmp_path / "page.html"
    done = call("report", tmp_path / "none.parquet", out)
    assert (done.exit_code, "there is no such file" in done.stderr) == (2, True)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = call("report", saved, out)
    assert done.exit_code == 2
    assert 'pip install "fastopt[report]"' in done.stderr
    assert not out.exists()


def test_help_names_every_picture():
    words = " ".join(call("plot", "--help").output.split())
    assert [kind for kind in PLOTS if kind not in words] == []
    assert call("report", "--help").exit_code == 0
