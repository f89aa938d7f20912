"""Tables that can be read in two ways: refused, where one of them would be wrong without a word."""

from __future__ import annotations

import enum
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from fastopt.errors import ArrayError, SpecError
from sweeps import problems
from sweeps.problems.files import read_file
from sweeps.problems.metrics import METRICS
from sweeps.problems.table_data import read_table

Y = np.arange(20) % 2
X = pd.DataFrame({"a": np.random.default_rng(0).normal(size=20)})


def written(tmp_path, *lines):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("separator", [";", "\t"])
def test_thousands_are_no_decimals(tmp_path, separator):
    """As read before: 999 and 1.001, so the smaller was the larger."""
    rows = [f"{value:,}{separator}{k % 2}" for k, value in enumerate(range(990, 1010))]
    path = written(tmp_path, f"price{separator}good", *rows)
    with pytest.raises(SpecError, match=r"column 'price' has '1,000' beside '990': thousands, or"):
        read_file(path)


@pytest.mark.parametrize(
    "cells",
    [["0,125", "2", "3,500"], ["1,5", "2", "3,250"], ["1,125", "2,000"], ["-1,25", "7,125"]],
)
def test_decimal_commas_are_read_as_such(tmp_path, cells):
    path = written(tmp_path, "a;b", *(f"{cell};x" for cell in cells))
    assert read_file(path)["a"].tolist() == [float(cell.replace(",", ".")) for cell in cells]


@pytest.mark.parametrize("cut", ["7.4", "7.4,3", '"7.4"', "7.4,"])
def test_a_line_that_was_cut_is_no_line_with_gaps(tmp_path, cut):
    lines = ["acid,count,red", *["1.5,2,no"] * 9, cut]
    cells = 1 + cut.count(",")
    with pytest.raises(SpecError, match=rf"line 11 has {cells} of 3 cells; complete it, with ','"):
        read_file(written(tmp_path, *lines))
    whole = read_file(written(tmp_path, *lines[:-1], "7.4,,", "", "1,2,"))
    assert whole.isna().sum().tolist() == [0, 1, 2]


def test_the_first_row_is_no_line_of_names(tmp_path):
    rows = ["5.1,3.5,setosa", "4.9,3.0,setosa", "6.4,3.2,virginica"]
    with pytest.raises(SpecError, match=r"the first line \(5.1, 3.5, setosa\) looks like a row"):
        read_file(written(tmp_path, *rows))
    assert list(read_file(written(tmp_path, "2019,2020,kind", *rows))) == ["2019", "2020", "kind"]


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1e-160, 1e160, 1e300])
def test_columns_whose_variance_is_no_number_are_not_taken_for_constant(size):
    wide = {"a": X["a"] * size, "b": X["a"]}
    with pytest.raises(ArrayError, match=r"'a' has values that differ by up to .*e[-+]\d+, whose"):
        problems.table(pd.DataFrame(wide), Y, dtype="float64")
    with pytest.raises(ArrayError, match=r"column 0 of X (cannot be|is too large to) standardize"):
        problems.mlp(pd.DataFrame(wide), Y, dtype="float64")
    with pytest.raises(ArrayError, match=r"column 0 of y (cannot be|is too large to) standardize"):
        problems.table(X, wide["a"].to_numpy(), dtype="float64", task="regression")


@pytest.mark.parametrize("part", ["test", "validation"])
@pytest.mark.parametrize("make", [problems.table, problems.mlp])
def test_masks_and_labels_of_rows_are_not_taken_by_place(part, make):
    table = X.sample(frac=1, random_state=1)

    def split(rows):
        return make(table, Y, **{"test": 0, "validation": 0, part: rows})

    mask = pd.Series(np.arange(20) < 5, index=X.index)
    with pytest.raises(ArrayError, match=rf"{part} has the rows of the table in another order"):
        split(mask)
    with pytest.raises(ArrayError, match=rf"table.index.get_indexer\({part}\)"):
        split(table.index[:5])
    source = split(mask.loc[table.index]).recipe.source().splits()
    held = source.test if part == "test" else source.parts[0][1]
    assert sorted(table.index[held]) == [0, 1, 2, 3, 4]


def test_r2_of_one_row_is_no_number():
    y, said = np.array([[3.0]]), np.array([[2.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isnan(r2_score(y, said))
    assert np.isnan(METRICS["r2"].function(said, y, None))


def test_several_columns_of_classes_are_refused_before_anything_runs():
    with pytest.raises(ArrayError, match=r"has shape \(20, 2\); classes are one column"):
        read_table(X, np.eye(2)[Y], task="classification")
    assert read_table(X, np.eye(2)[Y], loss="multilabel").y.shape == (20, 2)


def test_members_of_an_enum_of_texts_are_their_texts():
    """They were refused as texts that end with a zero character."""

    class Kind(str, enum.Enum):  # noqa: UP042 - of a StrEnum str() is its text
        RED = "red"
        WHITE = "white"

    data = read_table(X, np.array([Kind.RED, Kind.WHITE] * 10, object))
    assert data.classes.tolist() == ["red", "white"] == [Kind.RED, Kind.WHITE]
    assert data.y.tolist() == [0, 1] * 10
