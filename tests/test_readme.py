"""The README's Python runs, and prints what the README says it prints."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)


def test_every_python_snippet_shows_its_output():
    assert len(SNIPPETS) == README.count("```python") >= 2


@pytest.mark.parametrize(("code", "printed"), SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet_prints_what_the_readme_says(code, printed):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "README.md", "exec"), {})
    # Trained accuracies move by an image or two where multiply-adds contract differently.
    assert words(out.getvalue()) == [
        pytest.approx(word, abs=0.01) if isinstance(word, float) else word
        for word in words(printed)
    ]


def words(text):
    """Split ``text`` at white space, numbers as floats."""
    return [
        float(w) if re.fullmatch(r"-?\d+\.\d+", w) else w for w in re.split(r"[\s,\[\]]+", text)
    ]
