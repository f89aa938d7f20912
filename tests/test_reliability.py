"""docs/reliability.md is made from a run: its tests are there, and the sums are right."""

from __future__ import annotations

import importlib.util
import re
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
<testcase classname="tests.fastopt.test_bad_inputs" name="test_a_bad_array[a]" time="1.5">
<properties><property name="cases" value="70"/></properties></testcase>
<testcase classname="tests.fastopt.test_bad_inputs" name="test_a_bad_array[b]" time="0.5">
<properties><property name="cases" value="30"/></properties><failure/></testcase>
<testcase classname="tests.fastopt.test_bad_inputs" name="test_a_bad_array_too" time="9"/>
<testcase classname="tests.fastopt.test_arrays" name="test_bad_array_is_named_and_explained"
 time="1"/>
<testcase classname="tests.fastopt.test_arrays" name="test_bad_array_is_named_and_explained[x]"
 time="0"><skipped/></testcase>
<testcase classname="tests.test_leaks" name="test_nothing_is_left_behind[few]" time="7">
<properties><property name="cases" value="304"/></properties></testcase>
</testsuite></testsuites>"""


def test_cases_failures_and_seconds_are_summed(made, tmp_path):
    (tmp_path / "run.xml").write_text(REPORT)
    counts = made.counts_of(tmp_path / "run.xml")
    rows = [made.row_of(promise, counts)[1:] for promise in made.PROMISES]
    assert rows[0] == ("0", "600", "0", "0")
    assert rows[1] == ("101", "400", "1 (1 skipped)", "3")
    assert rows[-1] == ("304", "10,200", "0", "7")


def test_the_page_has_every_promise(made):
    page = made.PAGE.read_text()
    for promise in made.PROMISES:
        assert f"| {promise.says} | " in page, "run python docs/reliability.py"
    assert re.search(
        r"\*\*This run:\*\* the (short|long) forms of the tests, [\d,]+ of them \(", page
    )
    assert page.endswith(made.OPEN)


def test_the_page_has_what_mutation_testing_found(made):
    one = {"killed": 90, "equivalent": 15, "survivors": ["x + y  ->  x - y"], "seconds": 6}
    two = {"killed": 5, "equivalent": 0, "survivors": [*"abcd"], "seconds": 1}
    wanted = {"rules": {"files": {"a.py": [], "b.py": [], "c.py": []}}}
    text = made.mutation({"rules": {"a.py": one, "b.py": two}}, wanted)
    assert "| rules | 2 of 3 | 115 | 95 | 15 | 5 | 95.0% | 7 |" in text
    assert "* a.py: `x + y  ->  x - y`" in text
    assert made.tail() in made.PAGE.read_text(), "run python docs/reliability.py --mutation"
