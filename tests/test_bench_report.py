"""The generated tables: from stored results to Markdown, and into the documents."""

import json
import subprocess
from pathlib import Path

import pytest

from bench import history, report

ROOT = Path(__file__).parents[1]
MARKED = (
    "a\n<!-- bench:step -->\nold\n<!-- /bench:step -->\n"
    "b\n<!-- bench:sweep -->\n<!-- /bench:sweep -->\nc\n"
)
BOTH = ["step", "sweep"]


def stored(**info):
    machine = {"cpu": "CPU", "cores": 2, "layer": "omp", "numpy": "2.4"}
    return {"extra_info": {**machine, **info}}


def results():
    return {
        "benchmarks": [
            stored(
                table="adamw", case="1,000", seconds={"ours": 2e-6, "NumPy": 9e-6, "touch": 1e-6}
            ),
            stored(table="adamw", case="10,000", seconds={"ours": 4e-6, "NumPy": 3e-6}),
            stored(table="sweep", case="batch 8", baseline="NumPy", ours=4e-6, ratio=20.0),
            stored(table="search", case="digits", seconds={"ours": 2.0, "GridSearchCV": 50.0}),
            stored(table="overhead", case="10,000", seconds={"ours": 5e-7}),
            stored(table="frame", case="1,000 rows of 20 columns", seconds=0.25),
            stored(table="memory", case="100,000,000 trials", bytes=12_400_000),
            stored(table="efficiency", case="mixed", efficiency=0.97),
            stored(table="compile", case="steps", stages=[["a step", 0.8, 3e-3, 7, 31_000]]),
        ]
    }


def test_tables_replace_what_stood_between_the_markers():
    text = report.write(results(), MARKED, BOTH)
    assert "old" not in text
    assert text.startswith("a\n<!-- bench:step -->")
    assert text.endswith("<!-- /bench:sweep -->\nc\n")
    assert "| 1,000 | 2 us | 4.50 | 0.50 |" in text
    assert "| 10,000 | 4 us | **0.75** | - |" in text  # the row we lose stands out
    assert "| batch 8 | 4 us | 20 |" in text
    assert "| digits | 2 s | 25 |" in text
    assert "| 10,000 | 500 ns |" in text
    assert "DataFrame, 1,000 rows of 20 columns: 250 ms." in text
    assert "Memory that 100,000,000 trials add, a histogram being kept: 12 MB." in text
    assert "mixed: 97%" in text


def test_writing_twice_changes_nothing():
    once = report.write(results(), MARKED, BOTH)
    assert report.write(results(), once, BOTH) == once


def test_a_missing_marker_is_an_error():
    with pytest.raises(ValueError, match="bench:sweep"):
        report.write(results(), MARKED.replace("bench:sweep", "bench:other"), BOTH)


def test_what_is_waited_for_once_stands_beside_what_always_is():
    rows = report.rows_of(results())
    assert "| a step | 800 ms | 3 ms | 7 | 31 kB |" in report.compile_table(rows)
    assert report.compile_table(rows[:1]) == ""


def test_a_headline_is_set_beside_the_fastest_rival():
    rows = report.rows_of(results())
    assert "| 2 us | NumPy | 9 us | 4.50 |" in report.headline_table(rows)  # touch is no rival
    assert report.headline_table(rows[1:2]) == ""


@pytest.mark.parametrize("page", report.PAGES)
def test_tables_come_from_the_committed_results(page):
    committed = json.loads((ROOT / "bench" / "results.json").read_text())
    text = (ROOT / page).read_text()
    assert report.write(committed, text, report.PAGES[page]) == text


def test_every_table_has_a_page_and_the_readme_shows_six_rows():
    assert sorted(name for names in report.PAGES.values() for name in names) == sorted(
        report.TABLES
    )
    committed = json.loads((ROOT / "bench" / "results.json").read_text())
    lines = report.headline_table(report.rows_of(committed)).splitlines()
    assert len(lines) - 2 == len(report.HEADLINES) == 6


def test_a_line_of_the_history_has_ratios_and_no_times():
    line = history.line_of(results() | {"datetime": "2026-01-02"}, "abc")
    assert line["ratios"] == {
        "adamw, 1,000: NumPy / ours": 4.5,
        "adamw, 1,000: touch / ours": 0.5,
        "adamw, 10,000: NumPy / ours": 0.75,
        "sweep, batch 8: NumPy / ours": 20.0,
    }
    assert line["machine"] == {"cpu": "CPU", "cores": 2, "layer": "omp"}
    assert line["versions"] == {"numpy": "2.4"}
    assert sorted(line) == ["commit", "date", "machine", "ratios", "versions"]


def test_a_run_is_appended_once(tmp_path, monkeypatch):
    asked = subprocess.CompletedProcess([], 0, "abc\n", "")
    monkeypatch.setattr(history.subprocess, "run", lambda *a, **k: asked)  # no git in an archive
    path, run = tmp_path / "history.jsonl", results() | {"datetime": "2026-01-02"}
    history.append_run(run, path=path)
    with pytest.raises(ValueError, match="already"):
        history.append_run(run, path=path)
    history.append_run(run | {"datetime": "2026-01-03"}, path=path)
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    assert [(line["commit"], line["date"]) for line in lines] == [
        ("abc", "2026-01-02"),
        ("abc", "2026-01-03"),
    ]


def test_a_quick_run_makes_no_table_and_no_line(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(
        json.dumps(
            {
                "datetime": "x",
                "benchmarks": [
                    {
                        "name": "a",
                        **stored(table="adamw", case="1", seconds={"ours": 1.0}, quick=True),
                    }
                ],
            }
        )
    )
    with pytest.raises(ValueError, match="--quick"):
        report.main(str(path))


def test_the_committed_results_are_in_the_history():
    committed = json.loads((ROOT / "bench" / "results.json").read_text())
    lines = [json.loads(text) for text in history.HISTORY.read_text().splitlines()]
    ratios = {line["date"]: line["ratios"] for line in lines}
    assert ratios[committed["datetime"]] == history.line_of(committed, "")["ratios"]
