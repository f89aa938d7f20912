"""Specs of a table of one's own: ``[data]`` and ``[model]``, and what broken ones are told."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from fastopt.errors import SpecError
from sweeps import problems
from sweeps.cli.problem import CONSTANTS, MODEL, PYTHON_ONLY, ROWS
from sweeps.cli.spec import read_spec
from sweeps.run import estimate
from tests.helpers.wines import wines, write_wines

GOOD = """
[data]
file = "../wine.csv"
target = "quality"
folds = 3

[model]
hidden = [4]

[sweep]
epochs = 2

[space]
lr = [0.01, 0.1]
"""


@pytest.fixture
def write(tmp_path):
    """Write wines, and a spec in a folder beside them; return its path."""
    write_wines(tmp_path / "wine.csv", wines().assign(weight=np.arange(120) % 3))
    (tmp_path / "specs").mkdir()

    def to(text):
        path = tmp_path / "specs" / "wine.toml"
        path.write_text(text)
        return path

    return to


def data(line):
    return GOOD.replace("folds = 3", line)


def model(line):
    return GOOD.replace("hidden = [4]", line)


def axis(line):
    return GOOD.replace("lr = [0.01, 0.1]", line)


def test_the_tables_may_say_what_the_constructor_takes():
    signature = {*inspect.signature(problems.table).parameters}
    assert {*ROWS, *MODEL} == (signature - {*PYTHON_ONLY, "table"}) | {"file", *CONSTANTS}
    assert not {*ROWS} & {*MODEL}
    assert "split_seed" in ROWS
    assert "loss" in MODEL


def test_everything_that_they_can_say(write):
    read = read_spec(
        write(
            """
            [data]
            file = "../wine.csv"
            target = "quality"
            task = "classification"
            weights = "weight"
            groups = "year"
            folds = 3
            split_seed = 7
            test = 0.25
            drop = ["units"]
            categorical = ["organic"]
            na_values = ["?"]

            [model]
            hidden = [8, 4]
            activation = "tanh"
            init = "he_normal"
            class_weight = { 6 = 2.0 }
            metrics = ["f1_macro", "balanced_accuracy"]
            label_smoothing = 0.1
            dtype = "float64"

            [sweep]
            epochs = 2
            metric = "val_f1_macro"
            restore_best = true
            l1 = 1e-4

            [space]
            l2 = [0.0, 0.01]
            activation = ["relu", "tanh"]
            label_smoothing = [0.0, 0.1]
            """
        )
    )
    problem = read.problem
    assert (problem.name, problem.hidden, problem.dtype) == ("wine", (8, 4), np.float64)
    assert problem.axes["activation"] == "tanh"
    assert problem.axes["label_smoothing"] == 0.1
    assert problem.axes["split_seed"] == 7
    assert problem.options["weighted"]
    assert problem.metrics == ("f1_macro", "balanced_accuracy")
    assert "units" not in problem.feature_names
    assert read.folds == 3
    assert read.call(estimate).n_trials == 2 * 2 * 2 * 3
    assert read.plan().options.metric == "val_f1_macro"
    assert read.plan().options.mode == "max"


def test_all_folds_are_an_axis_unless_the_file_says_which(write):
    assert read_spec(write(GOOD)).space.names == ("lr", "fold")
    for text, folds in (
        (axis("fold = [1]"), [1]), (data("validation = 0.2"), []),
        (GOOD.replace("epochs = 2", "epochs = 2\nfold = 2"), []),
    ):  # fmt: skip
        read = read_spec(write(text))
        assert read.folds == 0
        assert [*read.space.parts[0].get("fold", ())] == folds
    union = GOOD.replace("[space]", "[[space]]\nfold = 0\n[[space]]")
    union = read_spec(write(union))
    assert [[*part["fold"]] for part in union.space.parts] == [[0], [0, 1, 2]]
    ours = "[problem]\nname = 'iris'\nfolds = 4\n[sweep]\nepochs = 2\n[space]\nlr = 0.1\n"
    assert read_spec(write(ours)).folds == 4


def test_paths_are_relative_to_the_file_or_to_its_folder(write, tmp_path, monkeypatch):
    path = write(GOOD)
    monkeypatch.chdir("/")
    assert read_spec(path).made.options["table"] == tmp_path / "wine.csv"
    path = write('folder = ".."\n' + GOOD.replace("../", ""))
    assert read_spec(path).made.options["table"] == tmp_path / "wine.csv"
    assert read_spec(path).problem.has_test


BROKEN = {
    "both": ("problem = {name = 'iris'}\n" + GOOD, r"\[problem\] is one of ours|keep one of them"),
    "model alone": (
        GOOD[GOOD.index("[model]") :] + "[problem]\nname = 'iris'",
        r"\$\.model: a \[model\] goes with \[data\]",
    ),
    "no file": (GOOD.replace("file", "#"), r'\$\.data\.file is missing, such as file = "wine.csv"'),
    "no target": (GOOD.replace("target", "#"), r"\$\.data\.target is missing"),
    "unknown": (
        data("fold = 3"),
        r"\$\.data\.fold: there is no option of \[data\] 'fold' [(]did you mean 'folds'\?",
    ),
    "in the other table": (data("hidden = [3]"), r"\$\.data\.hidden: hidden belongs in .* \[model"),
    "the same": (model("drop = []"), r"\$\.model\.drop: drop belongs in the table \[data\]"),
    "unknown of the model": (
        model("hiden = [3]"),
        r"\$\.model\.hiden: there is no option of \[model\] 'hiden' [(]did you mean 'hidden'\?",
    ),
    "for Python only": (data('preprocess = "a"'), r"\$\.data\.preprocess: there is no option"),
    "data no table": ("data = 3\n[space]\nlr = 1.0", r"\$\.data must be a table .* got 3"),
    "file of number": (
        GOOD.replace('"../wine.csv"', "3"),
        r"\$\.data\.file: expected `str`, got `int`; the value is 3",
    ),
    "drop of text": (data('drop = "a"'), r"\$\.data\.drop: expected `array`, got `str`"),
    "seed of text": (data('split_seed = "a"'), r"\$\.data\.split_seed: expected `int`, got `str`"),
    "constant of text": (model('delta = "a"'), r"\$\.model\.delta: expected `float`, got `str`"),
    "hidden of text": (model('hidden = ["a"]'), r"\$\.model\.hidden\[0\]: expected `int`, got"),
    "folder of number": ("folder = 3\n" + GOOD, r"\$\.folder: expected `str`, got `int`"),
    "axis of folds": (axis('folds = [3]'), r"\$\.space\.folds: there is no axis .* mean 'fold'\?"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=list(BROKEN))
def test_broken_tables_are_told_where_and_what(write, text, message):
    with pytest.raises(SpecError, match=message):
        read_spec(write(text))


REFUSED = {
    "file": (GOOD.replace("wine.csv", "wines.csv"), r"\$\.data\.file: .*wines\.csv does not exist"),
    "target": (
        GOOD.replace("quality", "qualty"),
        r"\$\.data\.target: target: .* no column 'qualty' [(]did you mean 'quality'",
    ),
    "task": (data('task = "classify"'), r"\$\.data\.task: task must be one of .*'classify'"),
    "drop": (data('drop = ["unit"]'), r"\$\.data\.drop: .* 'unit' [(]did you mean 'units'"),
    "weights": (data('weights = "wight"'), r"\$\.data\.weights: .* 'wight' [(]did you mean 'wei"),
    "groups": (data('groups = "yer"'), r"\$\.data\.groups: .* 'yer' [(]did you mean 'year'"),
    "time": (data('time = "colour"'), r"\$\.data\.time: time must be numbers, or dates"),
    "test": (data("test = 1.5"), r"\$\.data\.test: test"),
    "folds": (data("folds = 1"), r"\$\.data\.folds: folds"),
    "folds of text": (data('folds = "five"'), r"\$\.data\.folds: folds"),
    "both": (data("folds = 3\nvalidation = 0.2"), r"\$\.data\.folds: folds and validation both"),
    "activation": (model('activation = "rel"'), r"\$\.model\.activation: .*'rel' [(]did.*'relu'"),
    "init": (model('init = "xavier"'), r"\$\.model\.init: .*'xavier'"),
    "loss": (model('loss = "logisti"'), r"\$\.model\.loss: .*'logisti' [(]did you mean 'logistic'"),
    "loss of two classes": (model('loss = "logistic"'), r"\$\.data\.target: .*logistic needs"),
    "constant": (model("delta = 1.0"), r"\$\.model\.delta: .* has no such constant"),
    "metric": (model('metrics = ["f2"]'), r"\$\.model\.metrics: .*'f2'"),
    "metrics of numbers": (model("metrics = [2]"), r"\$\.model\.metrics: "),
    "class weight": (model('class_weight = "even"'), r"\$\.model\.class_weight: .*'even'"),
    "class": (model("class_weight = { 9 = 2.0 }"), r"\$\.model\.class_weight: .* 9 is no class"),
    "dtype": (model('dtype = "float16"'), r"\$\.model\.dtype: .*'?float16"),
    "widths": (model("hidden = [0]"), r"\$\.model\.hidden: hidden must be .* got \[0\]"),
    "metric of another": (
        GOOD.replace("epochs = 2", 'epochs = 2\nmetric = "val_f1"'),
        r"\$\.sweep\.metric: metric must be one of .*val_loss, .* got 'val_f1'",
    ),
    "axis": (axis("delta = [1.0]"), r"\$\.space\.delta: .*'delta'"),
    "fold": (axis("fold = [0, 3]"), r"\$\.space\.fold: fold must be .* from 0 to 2; got 3"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_the_data_refuse_is_told_by_its_place(write, text, message):
    read = read_spec(write(text))
    with pytest.raises(SpecError, match=r"wine\.toml: " + message):
        read.call(estimate)
