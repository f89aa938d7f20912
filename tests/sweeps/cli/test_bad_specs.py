"""Every name that a spec may have, with everything that it may not be.

The specs are made from the rows of rules and schedules and from the signatures of problems: each
is refused by :class:`SpecError` that has the file, the place and the value.
"""

from __future__ import annotations

import inspect
import tomllib
import typing

import pytest

from fastopt.errors import SpecError, shortened
from fastopt.rules import RULES, Choice, Flag, Real
from fastopt.schedules import SCHEDULES
from sweeps import problems
from sweeps.cli.spec import read_spec
from tests.helpers.bad_values import outside

NO_NUMBERS = ('"what"', '""', "true", "{ a = 1 }", "1979-05-27", "[[1, 2]]")
NO_FLAGS = ('"what"', "1", "0.0", "nan", "1979-05-27", "{ a = 1 }")
NO_NAMES = ('"what"', '""', "3", "true", "nan", "1979-05-27", "{ a = 1 }")
# What the engine has beside the rows of rules and schedules.
COUNTS = ("epochs", "steps", "batch_size", "seed", "eval_every", "patience")
NO_COUNTS = (*NO_NUMBERS, "-1", "0.5", "nan", "inf", "-inf", "1e300", "99999999999999999999")
NAMES = {"optimizer": RULES, "schedule": SCHEDULES, "shuffle": None, "seed_mode": None}


def written(value):
    """Return a value in TOML, or None for one that it cannot say."""
    if isinstance(value, bool | str):
        return str(value).lower() if isinstance(value, bool) else f'"{value}"'
    return repr(value) if type(value) in (int, float) else None


def bad_of(kind):
    found = [*map(written, outside(kind))]
    words = NO_NUMBERS if isinstance(kind, Real) else NO_FLAGS
    words = NO_NAMES if isinstance(kind, Choice) else words
    return [text for text in dict.fromkeys([*found, *words]) if text is not None]


def spec(keywords="", axes="", problem='name = "ellipse"', length="steps = 3"):
    axes = axes or "start_x = [0.1]"
    return f"[problem]\n{problem}\n[sweep]\n{length}\n{keywords}\n[space]\n{axes}\n"


def of_rules():
    """Of each rule and schedule each hyperparameter, as a keyword and as an axis."""
    rows = [(f'optimizer = "{name}"', rule.hyper) for name, rule in RULES.items()]
    rows += [(f'schedule = "{name}"', row.params) for name, row in SCHEDULES.items()]
    for which, kinds in rows:
        for name, kind in kinds.items():
            for bad in bad_of(kind):
                yield f"$.sweep.{name}", bad, spec(f"{which}\n{name} = {bad}")
                if not bad.startswith("{"):  # an axis may be a table
                    yield f"$.space.{name}", bad, spec(which, f"{name} = [{bad}]")


def of_the_engine():
    for name in COUNTS:
        length = "" if name in ("epochs", "steps") else "epochs = 2"
        for bad in NO_COUNTS:
            if (name, bad) == ("eval_every", '"what"'):
                continue  # of which it says that it is no word: below
            text = spec(f"{name} = {bad}", "lr = [0.1]", 'name = "iris"', length)
            yield f"$.sweep.{name}", bad, text
    for name in NAMES:
        for bad in NO_NAMES:
            yield f"$.sweep.{name}", bad, spec(f"{name} = {bad}")
            if not bad.startswith("{") and name != "seed_mode":  # which is no axis
                yield f"$.space.{name}", bad, spec(axes=f"{name} = [{bad}]")


NO_TYPES = {int: NO_NUMBERS[:5], float: NO_NUMBERS, bool: NO_FLAGS, str: ("3", "true", "{ a = 1 }")}


def of_problems():
    for name, constructor in problems.PROBLEMS.items():
        hints = typing.get_type_hints(constructor)
        for option in inspect.signature(constructor).parameters:
            kinds = typing.get_args(hints[option]) or (hints[option],)
            for kind in set(kinds) & set(NO_TYPES) if len(set(kinds) - {type(None)}) == 1 else ():
                for bad in NO_TYPES[kind]:
                    text = f'name = "{name}"\n{option} = {bad}'
                    yield f"$.problem.{option}", bad, spec(problem=text)
        yield "$.problem", '"what"', spec(problem=f'name = "{name}"\nwhat = "what"')
        yield "$.problem.name", f'"{name}x"', spec(problem=f'name = "{name}x"')


def check(path, at, bad, text):
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        read_spec(path).plan()
    message, value = str(caught.value), tomllib.loads(f"a = {bad}")["a"]
    assert message.startswith(f"{path}: "), (text, message)
    assert at in message or at.rsplit(".", 1)[-1] in message, (text, message)
    found = (value, [value]) if not isinstance(value, list) else (value, value[0], [value])
    assert any(shortened(each) in message for each in found), (text, message)
    assert len(message) < 9_000


@pytest.mark.parametrize("every", [13, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("made", [of_rules, of_the_engine, of_problems])
def test_a_bad_value_of_a_spec(made, every, tmp_path, counted):
    cases = list(made())[:: every if made is of_rules else 1 + every // 4]
    for at, bad, text in cases:
        check(tmp_path / "x.toml", at, bad, text)
    assert len(cases) > 30
    counted(len(cases))


def test_the_spec_that_the_bad_ones_are_made_from(tmp_path):
    (tmp_path / "x.toml").write_text(spec())
    assert read_spec(tmp_path / "x.toml").plan()
    assert bad_of(Flag())
