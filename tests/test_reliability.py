"""docs/reliability.md is made from a run: its tests are there, and the sums are right."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def made(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("reliability", ROOT / "docs/reliability.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "reliability", module)
    spec.loader.exec_module(module)
    return module


def test_every_test_of_a_promise_is_there(made):
    for promise in made.PROMISES:
        for test in promise.tests:
            file, _, name = test.partition("::")
            assert re.search(rf"^def {name or 'test_'}", (ROOT / file).read_text(), re.M), test


def test_tests_of_a_promise_are_counted(tmp_path):
    """Those with loops say how many cases they have; a name that begins alike is not taken."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text()
        for name in re.findall(r"^def (test_\w+)\([^)]*\bcounted\b[^)]*\):", text, re.M):
            body = text.partition(f"def {name}(")[2].partition("\ndef ")[0]
            assert "counted(" in body, (path, name)


REPORT = """<testsuites><testsuite>
<testcase classname="tests.fastopt.test_bad_inputs" name="test_a_bad_array[a]">
<properties><property name="cases" value="70"/></properties></testcase>
<testcase classname="tests.fastopt.test_bad_inputs" name="test_a_bad_array[b]">
<properties><property name="cases" value="30"/></properties><failure/></testcase>
<testcase classname="tests.fastopt.test_bad_inputs" name="test_a_bad_array_too"/>
<testcase classname="tests.fastopt.test_arrays" name="test_bad_array_is_named_and_explained"/>
<testcase classname="tests.fastopt.test_arrays" name="test_bad_array_is_named_and_explained[x]">
<skipped/></testcase>
<testcase classname="tests.test_leaks" name="test_nothing_is_left_behind[few]">
<properties><property name="cases" value="304"/></properties></testcase>
</testsuite></testsuites>"""


def test_cases_and_failures_are_summed(made, tmp_path):
    (tmp_path / "run.xml").write_text(REPORT)
    runs = [made.run_of(promise, tmp_path / "run.xml") for promise in made.PROMISES]
    about = {"form": "short", "date": "2026-11-30", "commit": "384f007", "processor": 1234}
    rows = [made.row_of(p, {**run, **about})[1:] for p, run in zip(made.PROMISES, runs)]
    which = "1,234", "short", "2026-11-30", "384f007"
    assert rows[0] == ("0", "600", "0", *which)
    assert rows[1] == ("71", "400", "1 (1 skipped)", *which)
    assert rows[-1] == ("304", "10,200", "0", *which)


def test_a_run_that_is_noted_keeps_the_others(made, monkeypatch, tmp_path):
    ran = []
    for name in ("RUNS", "PAGE"):
        monkeypatch.setattr(made, name, tmp_path / name)
    monkeypatch.setattr(made, "_machine", lambda: "here")

    def run_tests(command, **_):
        ran.append(command)
        Path(command[-1].partition("=")[2]).write_text(REPORT)
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(made, "_commit", lambda: f"commit {len(ran)}")
    monkeypatch.setattr(made.subprocess, "run", run_tests)
    for arguments in (["--short"], ["--only", "leaks", "--", "-x"]):
        monkeypatch.setattr(sys, "argv", ["reliability.py", *arguments])
        made.main()
    assert len(ran) == len(made.PROMISES) + 1
    assert ran[-1][4:8] == ["-m", "soak or not soak", "tests/test_leaks.py", "-x"]
    rows = [line for line in made.PAGE.read_text().splitlines() if "commit " in line]
    forms = [(line.split(" | ")[-3], line.split(" | ")[-1]) for line in rows if "| 202" in line]
    last = len(made.PROMISES)
    assert forms == [
        *(("short", f"commit {k} |") for k in range(last - 1)),
        ("long", f"commit {last} |"),
    ]


def test_the_page_is_that_of_the_runs(made):
    page = made.PAGE.read_text()
    assert page == made.page(json.loads(made.RUNS.read_text())), (
        "run python docs/reliability.py --page"
    )
    for promise in made.PROMISES:
        assert f"| {promise.says} | " in page, "run python docs/reliability.py"


def test_the_page_has_what_mutation_testing_found(made):
    one = {"killed": 90, "equivalent": 15, "survivors": ["x + y  ->  x - y"], "seconds": 6}
    two = {"killed": 5, "equivalent": 0, "survivors": [*"abcd"], "seconds": 1}
    wanted = {"rules": {"files": {"a.py": [], "b.py": [], "c.py": []}}}
    text = made.mutation({"rules": {"a.py": one, "b.py": two}}, wanted)
    assert "| rules | 2 of 3 | 115 | 95 | 15 | 5 | 95.0% | 7 |" in text
    assert "* a.py: `x + y  ->  x - y`" in text
