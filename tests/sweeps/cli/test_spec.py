"""Specs in TOML: what good ones say, and what every kind of broken one is told."""

import math
import typing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fastopt.errors import SpecError
from sweeps import problems
from sweeps.cli import spec
from sweeps.cli.spec import read_spec
from sweeps.engine.options import Options
from sweeps.engine.plan import Plan
from sweeps.run import estimate, sweep
from sweeps.space.axes import linspace, logspace

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.toml"))

GOOD = """
[problem]
name = "iris"
hidden = [8]

[sweep]
epochs = 5

[space]
lr = [0.01, 0.1]
"""


@pytest.fixture
def write(tmp_path):
    """Write a spec and return its path."""

    def to(text):
        path = tmp_path / "spec.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return to


def test_everything_a_spec_can_say(write):
    read = read_spec(
        write(
            """
            [problem]
            name = "digits"
            hidden = [32, 16]
            activation = "tanh"
            test_size = 0

            [sweep]
            optimizer = "adamw"
            steps = 100
            schedule = "warmup_cosine"
            warmup_steps = 10
            shuffle = "once"
            metric = "test_accuracy"
            mode = "max"
            target = 1
            diverge_above = 1e6
            eval_every = 20
            curves = true
            n_jobs = 1
            weight_decay = 0.1

            [space]
            lr = { logspace = [1e-4, 1, 25] }
            beta2 = { linspace = [0.9, 0.999, 3] }
            beta1 = { values = [0.8, 0.9] }
            batch_size = { range = [16, 65, 16] }
            seed = { range = 3 }
            eps = 1e-6
            decoupled = [true, false]
            """
        )
    )
    assert read.made.name == "digits"
    assert read.made.options == {"hidden": [32, 16], "activation": "tanh", "test_size": 0.0}
    assert read.options == {
        "optimizer": "adamw",
        "steps": 100,
        "schedule": "warmup_cosine",
        "warmup_steps": 10,
        "shuffle": "once",
        "metric": "test_accuracy",
        "mode": "max",
        "target": 1.0,
        "diverge_above": 1e6,
        "eval_every": 20,
        "curves": True,
        "n_jobs": 1,
        "weight_decay": 0.1,
    }
    assert read.space.parts == (
        {
            "lr": logspace(1e-4, 1.0, 25),
            "beta2": linspace(0.9, 0.999, 3),
            "beta1": (0.8, 0.9),
            "batch_size": range(16, 65, 16),
            "seed": range(3),
            "eps": (1e-6,),
            "decoupled": (True, False),
        },
    )


def test_several_space_tables_are_a_union(write):
    text = GOOD + '[[space]]\noptimizer = "sgd"\n[[space]]\nlr = [0.5]\nbeta1 = 0.9\n'
    read = read_spec(write(text.replace("[space]\nlr = [0.01, 0.1]\n", "")))
    assert list(read.space) == [{"optimizer": "sgd"}, {"lr": 0.5, "beta1": 0.9}]


def test_a_keyword_may_fill_the_gaps_of_a_union(write):
    text = GOOD.replace("epochs = 5", "epochs = 5\nweight_decay = 0.25").replace(
        "[space]", "[[space]]\nweight_decay = [0.5, 0.75]\n[[space]]"
    )
    read = read_spec(write(text))
    defaults = {
        "optimizer": "adam", "batch_size": 32, "epochs": 5, "steps": None, "seed": 0,
        "schedule": "constant", "shuffle": "epoch", "weight_decay": 0.25,
    }  # fmt: skip
    checked = Plan(
        problems.iris(hidden=(2,)),
        read.space,
        Options(defaults, "train_loss", "min", None, math.inf, None, False),
    )
    (block,) = checked.blocks(np.arange(read.space.size))
    h = np.asarray(block.trials.h)
    names = list(block.rule.hyper)
    assert h[:, names.index("weight_decay")].tolist() == [0.5, 0.75, 0.25, 0.25]
    assert h[:, names.index("lr")].tolist() == [1e-3, 1e-3, 0.01, 0.1]


def test_the_sweep_table_may_be_left_out(write):
    text = "[problem]\nname = 'iris'\n[space]\nepochs = [1, 2]\n"
    assert read_spec(write(text)).options == {}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_good_specs(path):
    read = read_spec(path)
    found = read.call(estimate)
    assert found.n_trials == read.space.size > 100
    assert found.n_steps > 1000 * 10


def test_there_are_examples():
    assert "digits.toml" in [path.name for path in EXAMPLES]


def without(line):
    assert line in GOOD
    return GOOD.replace(line, "")


def option(line):
    return GOOD.replace("epochs = 5", line)


def problem(line):
    return GOOD.replace("hidden = [8]", line)


def axis(line):
    return GOOD.replace("lr = [0.01, 0.1]", line)


BROKEN = {
    # Not a document at all.
    "syntax": ("[problem]\nname = \n", r"is not TOML: Invalid value \(at line 2, column 8\)"),
    "repeated key": (option("epochs = 5\nepochs = 6"), r"is not TOML: .*at line 8"),
    "unquoted": (problem("activation = tanh"), r"is not TOML: Invalid value \(at line 4, col"),
    "not UTF-8": (
        b"[problem]\nname = '\xff'",
        r"is not UTF-8 text \(invalid start byte at byte 18",
    ),
    # Tables.
    "empty": ("", r"\$: the table \[problem\] is missing"),
    "no space": (without("[space]\nlr = [0.01, 0.1]\n"), r"\$: the table \[space\] is missing"),
    "unknown table": (
        GOOD.replace("[space]", "[spaces]"),
        r"\$\.spaces: there is no table 'spaces' [(]did you mean 'space'\?[)]; allowed are prob",
    ),
    "problem no table": ("problem = 3\n[space]\nlr = 1.0", r"\$\.problem must be a table .* got 3"),
    "sweep no table": (
        "sweep = [1]\n[problem]\nname = 'iris'\n[space]\nlr = 1.0",
        r"\$\.sweep must be a table of names and values; got \[1\]",
    ),
    "space no table": (
        "space = 'lr'\n[problem]\nname = 'iris'",
        r"\$\.space must be a table \[space\] of axes, or several tables \[\[space\]\]; got 'lr'",
    ),
    "space without axes": (axis(""), r"\$\.space must be a table .* got \{\}"),
    "union of numbers": (
        "space = [1]\n[problem]\nname = 'iris'",
        r"\$\.space\[0\] must be a table of names and values; got 1",
    ),
    # The problem.
    "no name": (without('name = "iris"'), r"\$\.problem\.name is missing; there are digits, iris"),
    "unknown problem": (
        GOOD.replace("iris", "irsi"),
        r"\$\.problem\.name must be one of digits, .*; got 'irsi' [(]did you mean 'iris'\?",
    ),
    "import path": (GOOD.replace("iris", "os:system"), r"must be one of .*; got 'os:system'$"),
    "name no string": (GOOD.replace('"iris"', "[1]"), r"\$\.problem\.name must be .*; got \[1\]"),
    "unknown problem option": (
        problem("hiden = [8]"),
        r"\$\.problem\.hiden: there is no option of problem 'iris' 'hiden' [(]did you mean 'hid",
    ),
    "hidden of strings": (
        problem('hidden = [8, "x"]'),
        r"\$\.problem\.hidden\[1\]: expected `int`, got `str`; the value is \[8, 'x'\]",
    ),
    "activation of number": (
        problem("activation = 3"),
        r"\$\.problem\.activation: expected `str`, got `int`; the value is 3",
    ),
    # Keywords.
    "unknown option": (
        option("epocs = 5"),
        r"\$\.sweep\.epocs: there is no option 'epocs' [(]did you mean 'epochs'\?[)]; allowed are ",
    ),
    "option for Python only": (option("progress = false"), "there is no option 'progress'"),
    "wrong type": (
        option('epochs = "5"'),
        r"\$\.sweep\.epochs must be an integer >= 1; got '5'",
    ),
    "float for int": (
        option("epochs = 5.5"),
        r"\$\.sweep\.epochs must be an integer .*got 5\.5",
    ),
    "bool for int": (
        option("epochs = true"),
        r"\$\.sweep\.epochs must be an integer .*got True",
    ),
    "zero epochs": (option("epochs = 0"), r"\$\.sweep\.epochs must be an integer >= 1; got 0"),
    "negative seed": (option("seed = -1"), r"\$\.sweep\.seed must be an integer >= 0; got -1"),
    "target of string": (option('target = "x"'), r"\$\.sweep\.target: expected `float`, got `str`"),
    "unknown optimizer": (
        option('optimizer = "adamm"'),
        r"\$\.sweep\.optimizer must be one of sgd, .*; got 'adamm' [(]did you mean 'adam'\?",
    ),
    "unknown mode": (option('mode = "maximum"'), r"\$\.sweep\.mode must be one of min, max; got"),
    "unknown shuffle": (option('shuffle = "epochs"'), r"got 'epochs' [(]did you mean 'epoch'\?"),
    "unknown schedule": (
        option('schedule = "cosin"'),
        r"\$\.sweep\.schedule must be one of constant, .* [(]did you mean 'cosine'\?",
    ),
    "hyperparameter out of range": (
        option("weight_decay = -0.1"),
        r"\$\.sweep\.weight_decay must be finite and in \[0\.0, inf\); got -0\.1",
    ),
    "hyperparameter of string": (
        option('eps = "small"'),
        r"\$\.sweep\.eps must be a real number in .*; got 'small' of type str",
    ),
    # Axes.
    "unknown axis": (
        axis("lrr = [0.1]"),
        r"\$\.space\.lrr: there is no axis 'lrr' [(]did you mean 'lr'\?[)]; allowed are opti",
    ),
    "axis in a union": (
        GOOD.replace("[space]", "[[space]]\nlr = 0.1\n[[space]]\nbeta = 0.9"),
        r"\$\.space\[1\]\.beta: there is no axis 'beta' [(]did you mean 'beta[123]'\?",
    ),
    "empty axis": (axis("lr = []"), r"\$\.space\.lr is empty; give it one value or more"),
    "empty range": (axis("seed = { range = 0 }"), r"\$\.space\.seed is empty"),
    "nan": (axis("lr = [0.1, nan]"), r"\$\.space\.lr holds nan; its values must be finite"),
    "mixed axis": (axis('lr = [0.1, "x"]'), r"\$\.space\.lr mixes values of different sorts"),
    "date": (axis("lr = [2020-01-01]"), r"\$\.space\.lr holds datetime\.date.* of type date"),
    "nested": (axis("lr = [[0.1]]"), r"\$\.space\.lr holds \[0\.1\] of type list"),
    "beta of 1": (axis("beta1 = [0.9, 1.0]"), r"\$\.space\.beta1 must be .* \[0\.0, 1\.0\); got 1"),
    "beta beyond 1": (
        axis("beta2 = { linspace = [0.5, 1.5, 1000000000000] }"),
        r"\$\.space\.beta2 must be finite and in \[0\.0, 1\.0\); got 1\.5",
    ),
    "batch size of 0": (
        axis("batch_size = [16, 0]"),
        r"\$\.space\.batch_size must be an integer >= 1; got 0",
    ),
    "half a seed": (axis("seed = [0.5]"), r"\$\.space\.seed must be an integer >= 0; got 0\.5"),
    "optimizer in an axis": (
        axis('optimizer = ["sgd", "momentun"]'),
        r"\$\.space\.optimizer must be one of .*; got 'momentun' [(]did you mean 'momentum'\?",
    ),
    "schedule in an axis": (axis("schedule = [1, 2]"), r"\$\.space\.schedule must be one of .* 1"),
    "unknown spacing": (
        axis("lr = { logspce = [1e-4, 1, 5] }"),
        r"\$\.space\.lr\.logspce: there is no way to write an axis 'logspce' [(]did you mean 'l",
    ),
    "two spacings": (
        axis("lr = { range = 3, values = [1] }"),
        r"\$\.space\.lr: give exactly one of geomspace, linspace, logspace, range, values; "
        "got range, values",
    ),
    "no spacing": (axis("lr = {}"), r"\$\.space\.lr: give exactly one of .*; got none"),
    "spacing too short": (
        axis("lr = { logspace = [1e-4, 1] }"),
        r"\$\.space\.lr\.logspace: expected `array` of length 3, got 2",
    ),
    "half a point": (
        axis("lr = { logspace = [1e-4, 1, 2.5] }"),
        r"\$\.space\.lr\.logspace\[2\]: expected `int`, got `float`",
    ),
    "exponents": (
        axis("lr = { logspace = [-4, 0, 5] }"),
        r"\$\.space\.lr\.logspace: .* must be positive values \(not exponents\); got -4",
    ),
    "range of step 0": (
        axis("seed = { range = [0, 3, 0] }"),
        r"\$\.space\.seed\.range: write stop, .* with a step that is not 0; got \(0, 3, 0\)",
    ),
    "range of four": (axis("seed = { range = [0, 1, 2, 3] }"), r"\$\.space\.seed\.range: write st"),
    "too many trials": (
        axis("seed = { range = 9000000000000000000 }\nlr = [0.1, 0.2]"),
        r"\$\.space: a space may hold at most 2\*\*63 - 1 trials",
    ),
    "set twice": (
        axis("epochs = [1, 2]"),
        r"\$\.sweep\.epochs and \$\.space\.epochs both set epochs; keep one",
    ),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=list(BROKEN))
def test_broken_specs_are_told_where_and_what(write, text, message):
    path = write(text)
    with pytest.raises(SpecError, match=message) as caught:
        read_spec(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_the_good_spec_that_the_broken_ones_are_made_from(write):
    assert read_spec(write(GOOD)).space.size == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.toml", "there is no such file"), (".", r"cannot be read \(Is a directory\)")],
)
def test_files_that_cannot_be_read(tmp_path, name, message):
    with pytest.raises(SpecError, match=message):
        read_spec(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (problem('activation = "rel"'), r"spec\.toml: \$\.problem\.activation: .*'rel'.*'relu'"),
        (
            option('epochs = 5\nmetric = "accuracy"'),
            r"spec\.toml: \$\.sweep\.metric: .*'accuracy' [(]did you mean 'test_accuracy'",
        ),
        (without("epochs = 5"), r"spec\.toml: \$: how long is a trial\?"),
        (
            axis('optimizer = ["sgd"]\nbeta2 = [0.9]'),
            r"spec\.toml: \$\.space\.beta2: axis 'beta2' means",
        ),
    ],
    ids=["problem", "metric", "length", "axis"],
)
def test_what_only_the_sweep_can_refuse_names_the_file_too(write, text, message):
    read = read_spec(write(text))
    with pytest.raises(SpecError, match=message):
        read.call(estimate)


@pytest.mark.parametrize("function", [sweep, *problems.PROBLEMS.values()], ids=lambda f: f.__name__)
def test_every_hint_can_be_checked(function):
    """A hint that msgspec cannot read raises TypeError, and would let any value pass unchecked."""
    hints = typing.get_type_hints(function)
    checked = [
        n for n in hints if n not in ("return", *spec.NOT_OPTIONS) and hints[n] != typing.Any
    ]
    assert checked
    for name in checked:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"no option": "is a table"}, hints[name])


def test_keywords_that_are_not_options_exist():
    assert set(spec.NOT_OPTIONS) <= set(typing.get_type_hints(sweep))
