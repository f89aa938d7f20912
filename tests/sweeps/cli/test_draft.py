"""Specs drafted from a table: they are TOML, and what they say of the data can be read."""

from __future__ import annotations

import os
import shlex
import tomllib

import numpy as np
import pandas as pd
import pytest

from fastopt.errors import FastoptError
from sweeps.cli.draft import draft_spec
from sweeps.problems.table_data import read_table
from tests.helpers.wines import wines, write_wines


def drafted(table, folder, target=None, name="wine.csv"):
    """Write a table and a spec, and read the table as the spec says."""
    path = write_wines(folder / name, table)
    (folder / "specs").mkdir(exist_ok=True)
    spec = folder / "specs" / "wine.toml"
    spec.write_text(draft_spec(path, spec, target), encoding="utf-8")
    document = tomllib.loads(spec.read_text(encoding="utf-8"))
    options = dict(document["data"])
    file = os.path.normpath(spec.parent / options.pop("file"))
    assert file == str(path)
    return document, read_table(file, **options)


def test_a_table_as_people_have_them(tmp_path):
    table = wines().assign(
        name=[f"wine {k}" for k in range(120)], when=pd.date_range("2020", periods=120),
        nothing=np.nan, number=range(1, 121),
        sulphur=["?" if k % 9 == 0 else k for k in range(120)],
    )  # fmt: skip
    document, data = drafted(table, tmp_path, "quality")
    said = document["data"]
    assert {*said["drop"]} == {"name", "when", "nothing", "vessel", "units", "number"}
    assert said["na_values"] == ["?"]
    assert (said["task"], said["folds"]) == ("classification", 5)
    assert document["space"]["fold"] == {"range": 5}
    assert data.kinds == {
        "fixed acidity": "numeric", "alcohol": "numeric", "year": "numeric",
        "colour": "categorical", "organic": "boolean", "sulphur": "numeric",
    }  # fmt: skip
    assert data.X["sulphur"].isna().sum() == 14


@pytest.mark.parametrize(
    ("rows", "said"), [(120, {"folds": 5}), (14, {"folds": 3}), (11, {"folds": 2})]
)
def test_the_rows_decide_how_models_are_chosen(tmp_path, rows, said):
    document, data = drafted(wines()[:rows], tmp_path)
    assert said.items() <= document["data"].items()
    assert document["sweep"]["batch_size"] == min(32, *(len(t) for t, _ in data.splits.parts))


def test_measurements_and_whole_numbers(tmp_path):
    for target, task in [
        (np.linspace(0, 1, 120), "regression"), (np.arange(120) % 3 + 0.0, "classification"),
        (np.arange(120), "regression"), (np.arange(120) % 3, "classification"),
        (1990 + np.arange(120) % 40, "regression"),  # years, none of which has the rows of a class
        (np.array([f"town {k % 22}" for k in range(120)]), "classification"),
    ]:  # fmt: skip
        document, data = drafted(wines().assign(quality=target), tmp_path)
        assert document["data"]["task"] == data.task == task
        assert ("standardize_target" in document["model"]) == (task == "regression")


def test_names_are_written_as_toml_has_them(tmp_path):
    odd = {"alcohol": 'a "b"\\c\x7f\t\u2028.', "colour": "größe # [x]", "quality": "q\x01\n=é"}
    document, data = drafted(wines().rename(columns=odd), tmp_path, name='wine "1" # é.csv')
    assert document["data"]["target"] == odd["quality"].strip()
    assert {odd["alcohol"], odd["colour"]} <= {*data.X}


def test_what_cannot_be_learned_from_is_refused(tmp_path):
    path = write_wines(tmp_path / "wine.csv", wines().assign(quality=5))
    with pytest.raises(FastoptError, match="target 'quality' is 5 in all 120 rows"):
        draft_spec(path, tmp_path / "wine.toml")
    with pytest.raises(
        FastoptError, match=r"target: .* no column 'qualty' [(]did you mean 'quality'"
    ):
        draft_spec(path, tmp_path / "wine.toml", "qualty")


def test_columns_that_none_can_learn_from_are_named_with_what_is_wrong(tmp_path):
    """A cell that spoils a column of numbers is worth mending: the comment says how."""
    table = wines().assign(when="2026-01-31", alcohol=[np.inf, *range(119)])
    path = write_wines(tmp_path / "wine.csv", table[["when", "alcohol", "vessel", "quality"]])
    with pytest.raises(FastoptError, match="no column is left to predict 'quality'") as raised:
        draft_spec(path, tmp_path / "wine.toml")
    said = str(raised.value)
    assert "'when' holds dates, such as 2026-01-31; " in said
    assert "'alcohol' is inf in row 0 (line 2) (1 of 120 values): leave such cells empty;" in said
    assert "'vessel' has the same value in all rows. Add columns" in said


def test_commands_of_a_spec_can_be_typed(tmp_path):
    """Whatever the file is called: a name with spaces is one word of a shell."""
    table, spec = write_wines(tmp_path / "wine.csv", wines()), tmp_path / "my wine's [1].toml"
    lines = draft_spec(table, spec, "quality").splitlines()
    typed = [shlex.split(line[1:]) for line in lines if line.startswith("#     fastopt")]
    store, model = "runs/my wine's [1]", "my wine's [1].safetensors"
    assert typed == [
        ["fastopt", "sweep", spec.name, "--dry-run"],
        ["fastopt", "sweep", spec.name, "--store", store],
        ["fastopt", "model", store, "-o", model],
        ["fastopt", "predict", model, "new.csv", "-o", "out.csv"],
        ["fastopt", "report", store],
    ]
