"""The studies agree with the figures they name, as scripts, as a command, from a wheel."""

import re
from pathlib import Path

import numpy as np
import pytest

from fastopt.errors import SpecError
from sweeps.studies import gallery as studies
from tests.helpers.commands import call

FOLDER = Path(__file__).parents[3] / "examples" / "studies"
# What the default run can afford: seconds each on kernels that other tests compile, too.
QUICK = (
    "batch_size", "bowl", "heavy_ball", "hyperband", "layerwise", "ripples", "shootout",
    "thresholds",
)  # fmt: skip
LONG = [name for name in studies.names() if name not in QUICK]


def agrees(name):
    found = studies.run(name)
    assert found.passed, "\n" + found.to_frame().to_string()
    return found


@pytest.mark.parametrize("name", QUICK)
def test_study_agrees(name, tmp_path):
    found = agrees(name)
    if found.draw is not None:
        path = found.save(tmp_path / "figure.png")
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.studies
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", LONG)
def test_longer_study_agrees(name, tmp_path):
    found = agrees(name)
    if found.draw is not None:
        found.save(tmp_path / "figure.png")


@pytest.mark.parametrize("name", studies.names())
def test_scripts_are_short_and_quiet(name):
    text = (FOLDER / f"{name}.py").read_text()
    assert sum(bool(line.strip()) for line in text.splitlines()) < 60
    assert not re.search(r"\bprint\(", text)
    assert text.endswith('if __name__ == "__main__":\n    main(__file__)\n')
    # The public API: packages of ours are imported by their own names, never a private one.
    ours = re.findall(r"^\s*(?:from|import) ((?:fastopt|sweeps)[\w.]*)", text, re.MULTILINE)
    public = {"fastopt", "fastopt.torch", "fastopt.maths", "fastopt.compile", "sweeps"}
    assert set(ours) <= {*public, "sweeps.studies"}


def test_every_study_has_a_title():
    assert all(len(title) > 20 and title.endswith(".") for title in studies.titles().values())
    assert len([title for title in studies.titles().values() if re.match(r"S\d+\. ", title)]) == 10


@pytest.mark.parametrize(
    ("published", "ours", "passes"),
    [
        ("0.50", 0.5049, True),
        ("0.50", 0.5051, False),
        ("7.6e-10", 7.64e-10, True),
        ("7.6e-10", 7.66e-10, False),
        ("-3.953771", -3.9537713, True),
        (28, 28, True),
        (28, np.int64(29), False),
        ("never", "never", True),
        ("never", 3, False),
        ("0.98", float("nan"), False),
    ],
)
def test_figures_are_compared_to_their_digits(published, ours, passes):
    found = studies.Findings()
    found.check("figure", published, ours)
    assert found.passed is passes


def test_tolerances_and_bounds():
    found = studies.Findings()
    assert not found.passed  # nothing was checked
    found.check("near", 1.0, 1.25, 0.25)
    found.at_most("bound", 2, 2)
    found.at_least("bound", 2, 2)
    assert found.passed
    for check in (found.at_most, found.at_least):
        check("NaN", 2.0, float("nan"))
    found.check("far", 1.0, 1.26, 0.25)
    found.check("NaN", 1.0, float("nan"), 9.0)
    assert found.to_frame()["pass"].tolist() == [True] * 3 + [False] * 4


SCRIPT = '''"""A study | of one's own.

Its text.
"""
from sweeps.studies import Findings, main

def study(full=False):
    found = Findings()
    found.check("size | of it", "2.0", 3.0 if full else 2.0)
    return found

if __name__ == "__main__":
    main(__file__)
'''


def test_command(tmp_path):
    script, out = tmp_path / "own.py", tmp_path / "gallery"
    script.write_text(SCRIPT)
    answer = call("study", script, "--out", out)
    assert answer.exit_code == 0
    assert "1 of 1 agree" in answer.output
    page = (out / "studies.md").read_text()
    assert "| size \\| of it | 2.0 | 2.0 | 0.05 | pass |" in page
    answer = call("study", script, "--full")
    assert answer.exit_code == 1
    assert "FAIL" in answer.output
    assert "shootout" in call("study", "--list").output
    assert call("study").exit_code == 2
    assert call("study", "shootot").exit_code == 2


def test_script_runs_by_itself(tmp_path, python):
    script = tmp_path / "own.py"
    script.write_text(SCRIPT)
    code = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    assert "1 of 1 agree" in python(code).stdout


def test_what_is_no_study_is_refused(tmp_path):
    with pytest.raises(SpecError, match="did you mean 'heavy_ball'"):
        studies.run("heavyball")
    with pytest.raises(SpecError, match="there is no file"):
        studies.run("nowhere.py")
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(SpecError, match="defines no study"):
        studies.run(str(tmp_path / "empty.py"))
