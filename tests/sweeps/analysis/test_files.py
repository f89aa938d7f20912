"""Results in files: what is read back draws and ranks as what was saved."""

import numpy as np
import pandas as pd
import pytest

from fastopt.errors import SpecError
from sweeps import Space, SweepResult, problems, sweep
from sweeps.analysis.files import provenance
from tests.helpers.pictured import made

RESULT = made()


def test_a_saved_result_is_read_back_whole(tmp_path):
    again = SweepResult.open(RESULT.save(tmp_path / "r.parquet"))
    assert (again.axes, again.metric, again.mode) == (RESULT.axes, RESULT.metric, RESULT.mode)
    assert again.metrics == RESULT.metrics
    pd.testing.assert_frame_equal(again.to_frame(), RESULT.to_frame())
    pd.testing.assert_frame_equal(again.best(5), RESULT.best(5))


def test_gaps_of_a_union_are_read_back(tmp_path):
    space = Space(
        [
            {"optimizer": ["sgd"], "lr": [0.1, 1.0], "batch_size": [16]},
            {"optimizer": ["adam"], "lr": [0.1], "beta1": [0.8, 0.9], "nesterov": [True]},
        ]
    )
    ids = np.arange(4)
    measured = {"state": np.array([0, 1, 2, 3]), "loss": np.array([1.0, np.nan, np.inf, 4.0])}
    measured |= {"steps": ids, "steps_to_target": np.array([3, -1, -1, 5])}
    measured["error"] = np.array([None, None, None, "boom"], object)
    columns = {"trial_id": ids, **space.columns(ids), **measured}
    result = SweepResult(columns, None, "loss", "max", {"seconds": 2.0}, space)
    again = SweepResult.open(result.save(tmp_path / "r.parquet"))
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame())
    assert again.info["seconds"] == 2.0
    for name in space.names:
        assert [*map(repr, again.columns[name])] == [*map(repr, result.columns[name])]


def test_where_it_comes_from_is_kept(tmp_path):
    again = SweepResult.open(RESULT.save(tmp_path / "r.parquet"))
    assert provenance(again) == provenance(RESULT)
    assert provenance(again)["axis lr"] == "(0.001, 0.01, 0.1, 1.0)"


def test_only_some_columns_and_rows_are_read_from_a_file(tmp_path):
    path = RESULT.save(tmp_path / "r.parquet")
    again = SweepResult.open(path, columns=["lr"], filters=[("lr", "<", 0.1)])
    frame = RESULT.to_frame()[["trial_id", "lr", "state", "train_loss"]]
    frame = frame[frame["lr"] < 0.1].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.to_frame(), frame)
    with pytest.raises(SpecError, match="did you mean 'lr'"):
        SweepResult.open(path, columns=["lrr"])


def test_a_store_says_where_it_comes_from_as_its_sweep_does(tmp_path):
    grid = {"lr": [0.1, 0.01], "beta1": [0.8, 0.9]}
    options = {"steps": 2, "progress": False, "store": tmp_path / "bowl"}
    result = sweep(problems.ellipse(), grid, optimizer="adam", **options)
    stored = provenance(SweepResult.open(tmp_path / "bowl"))
    own = provenance(result)
    assert {*own} - {*stored} == set()
    assert [name for name in own if name != "problem" and own[name] != stored[name]] == []
    exported = SweepResult.open(result.save(tmp_path / "bowl.parquet"))
    assert provenance(exported) == own
    assert str(tmp_path) not in str(exported.info)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.parquet", None, "there is no such file"),
        ("r.csv", b"trial_id\n", r"is read from the \.parquet file"),
        ("r.parquet", b"PAR1 cut off", "cannot be read as Parquet"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError, match=message):
        SweepResult.open(path)


def test_a_table_of_someone_else_is_refused(tmp_path):
    RESULT.to_frame().to_parquet(tmp_path / "r.parquet")
    with pytest.raises(SpecError, match="does not say which columns are axes; save it again"):
        SweepResult.open(tmp_path / "r.parquet")
