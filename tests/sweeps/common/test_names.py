"""Names of the user's own: kept as they are with all their values, or refused before trials run."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import sweeps
from fastopt.errors import SpecError, SweepWarning
from fastopt.rules import RULES
from fastopt.schedules import SCHEDULES
from sweeps import (
    Study,
    SweepResult,
    geomspace,
    histogram,
    logspace,
    problems,
    sweep,
    sweep_callable,
)
from sweeps.common.names import RESERVED, RUNG_COLUMNS, STEP_COUNTS, STEPS_TAKEN
from sweeps.engine import lane_records
from sweeps.engine.columns import ALIASES
from sweeps.engine.monitoring import MEASURES
from sweeps.engine.options import COMMON
from sweeps.engine.records import RESULTS

# What some part of the code looks for, or has a column or variable of.
NAMES = [
    *RESULTS, "host", "time", "chunk", "index", "rank", "step", "seed", "lr", "optimizer", "row",
    "schedule", "bracket", "rung", "n", "mean", "n_trials", "seeds", "smallest", "loss ", "Loss",
    "steps.given", "level_0", "axis", "effect", "self", "provenance", "distance", "x y", "größe",
]  # fmt: skip


def call(function, space, **options):
    return sweep_callable(function, space, progress=False, n_jobs=1, **options)


def test_metrics_keep_their_names_and_values(tmp_path):
    """A column is not typed by its name: 12.7 stays 12.7, and -1 a number like any other."""
    result = call(
        lambda c: {
            "loss": c["a"],
            **{name: 10.7 - k - 11 * c["a"] for k, name in enumerate(NAMES)},
        },
        {"a": [0.0, 2.0]},
        metric="loss",
    )
    saved = SweepResult.open(result.save(tmp_path / "own.parquet"))
    for frame in (
        result.to_frame(),
        saved.to_frame(),
        pd.read_csv(result.save(tmp_path / "a.csv")),
    ):
        for k, name in enumerate(NAMES):
            assert frame[name].dtype == np.float64, name
            assert frame[name].tolist() == pytest.approx([10.7 - k, 10.7 - k - 22.0], rel=1e-14)
    pd.testing.assert_frame_equal(saved.to_frame(), result.to_frame())
    for name in NAMES:
        own = call(lambda c, name=name: {name: c["a"] - 1.5}, {"a": [0.0, 2.0]}, metric=name)
        assert (own.best_score_, own.best_params_) == (-1.5, {"a": 0.0})


@pytest.mark.parametrize("name", NAMES)
def test_axes_keep_their_names_and_values(name, tmp_path):
    values = [0.5, -1.0]
    result = call(lambda c: c[name] + c["z"], {name: values, "z": [1, 2]})
    saved = SweepResult.open(result.save(tmp_path / "own.parquet"))
    for each in (result, saved):
        assert each.to_frame()[name].tolist() == [0.5, 0.5, -1.0, -1.0]
        assert each.best_params_ == {name: -1.0, "z": 1}


@pytest.mark.parametrize("name", ["n_trials", "seeds", "mean", "standard deviation", "mean_value"])
def test_a_report_shows_axes_that_are_called_like_its_figures(name, tmp_path):
    result = call(lambda c: c[name] + c["seed"], {name: [1, 2], "seed": [1, 2, 4]})
    page = result.report(tmp_path / "page.html").read_text("utf-8")
    assert "Best configurations" in page
    if name in ("n_trials", "mean_value"):
        with pytest.raises(SpecError, match=f"cannot be called '{name}'.*summary over seeds"):
            result.over_seeds()
    else:
        assert result.over_seeds()["mean_value"].tolist() == pytest.approx([1 + 7 / 3, 2 + 7 / 3])


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_names_are_refused_before_anything_runs(name):
    ran = []
    for space, metric in (({name: ["gas", "ice"]}, "loss"), ({"a": [1.0]}, name)):
        with pytest.raises(SpecError, match=f"cannot be called '{name}': .*{RESERVED[name]}"):
            call(lambda c: ran.append(c) or 1.0, space, metric=metric)
        with pytest.raises(SpecError, match=f"cannot be called '{name}'"):
            Study(space, metric=metric)
    assert not ran


@pytest.mark.parametrize("name", [*RESERVED, "a", "", 3])
def test_a_metric_that_cannot_be_kept_ends_the_sweep_with_its_first_trial(name):
    ran = []

    def measure(config):
        ran.append(config)
        return {"loss": 1.0, name: 2.0}

    with pytest.raises(SpecError, match=r"a metric (cannot be called|is named by)"):
        call(measure, {"a": list(range(100))}, metric="loss")
    assert len(ran) < 10
    study = Study({"a": [1, 2]}, metric="loss")
    ids, _ = study.ask(2)
    with pytest.raises(SpecError, match="a metric"):
        study.tell(ids, [{"loss": 1.0}, {"loss": 1.0, name: 2.0}])
    assert len(study) == 0
    # Among others that are well it is one that failed: they are not thrown away.
    study.tell(ids[:1], [{"loss": 1.0}])
    study.tell(ids[1:], [{"loss": 1.0, name: 2.0}])
    assert study.result().counts["FAILED"] == 1


def test_metrics_that_are_no_floats():
    given = {
        "array": np.array([0.5]), "scalar": np.float32(0.5), "bool": True, "small": 2**53,
    }  # fmt: skip
    result = call(lambda c: {"loss": 0.5, **given}, {"a": [1]}, metric="loss")
    assert result.to_frame().loc[0, list(given)].tolist() == [0.5, 0.5, 1.0, 2.0**53]
    for wrong in (1 + 2j, np.complex128(1j), np.array([1j]), "0.5", b"1", None, [1.0], np.ones(2)):
        study = Study({"a": [1]}, metric="loss")
        study.tell(study.ask(1)[0], [{"loss": 1.0, "other": wrong}])
        assert "other is" in study.result().columns["error"][0]
    study = Study({"a": [1]}, metric="loss")
    with pytest.warns(
        SweepWarning, match="metric 'ns' is 1700000000000000001, and a float holds 16"
    ):
        study.tell(study.ask(1)[0], [{"loss": 1.0, "ns": 1_700_000_000_000_000_001}])


def test_workers_say_what_is_wrong_with_metrics_here_and_once():
    """Warnings of another process would be lost, and an error there would end one trial only."""
    options = {"metric": "loss", "executor": "processes"}
    with pytest.warns(SweepWarning, match="metric 'ns' is 1700000000000000001") as caught:
        result = call(lambda c: {"loss": 0.5, "ns": 17 * 10**17 + 1}, {"a": [1, 2]}, **options)
    assert [warning.filename for warning in caught] == [__file__]
    assert result.counts["COMPLETE"] == 2
    with pytest.raises(SpecError, match=r"a metric cannot be called 'a': .*an axis of the space"):
        call(lambda c: {"loss": 1.0, "a": 2.0}, {"a": list(range(100))}, **options)


def test_old_files_do_not_say_which_columns_are_counts(tmp_path):
    import pyarrow.parquet as pq

    columns = {"trial_id": np.arange(2), "state": np.zeros(2, int), "loss": np.ones(2)}
    columns |= {"steps": np.array([3, 4]), "steps_to_target": np.array([-1, 3])}
    result = SweepResult(columns, None, "loss", "min", {})
    path = result.save(tmp_path / "old.parquet")
    table = pq.read_table(path)
    note = json.loads(table.schema.metadata[b"fastopt"])
    assert note.pop("counts") == [name for name in STEP_COUNTS if name in columns]
    metadata = {**table.schema.metadata, b"fastopt": json.dumps(note).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    again = SweepResult.open(path)
    assert again.columns["steps_to_target"].tolist() == [-1, 3]
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame())


def bowl(names):
    """Return a landscape with two coordinates of these names, without a gradient."""
    made = {}
    exec(
        f"def bowl({', '.join(names)}):\n    return {' + '.join(f'{n} * {n}' for n in names)}", made
    )
    return problems.landscape(made["bowl"], (1.0, 2.0))


@pytest.mark.parametrize("name", [*RESERVED, "lr", "beta1", "power"])
def test_coordinates_are_not_called_like_columns_or_hyperparameters(name):
    with pytest.raises(SpecError, match=f"a coordinate of bowl cannot be called '{name}'"):
        bowl(["x", name])


@pytest.mark.parametrize(
    "name", ["train_loss", "steps", "step", "loss", "rung", "grad_norm", "patience", "start_x"]
)
def test_coordinates_do_not_overwrite_results_and_axes(name):
    with pytest.raises(SpecError, match=f"a coordinate of bowl cannot be called '{name}'"):
        sweep(bowl(["x", name]), {"start_x": [0.5]}, optimizer="sgd", steps=2, progress=False)


def test_coordinates_do_not_overwrite_columns_of_a_history():
    result = sweep(bowl(["y", "grad_y"]), {"lr": [0.1]}, optimizer="sgd", steps=2, progress=False)
    assert result.to_frame()["grad_y"][0] == pytest.approx(2 * 0.8**2)
    with pytest.raises(SpecError, match=r"cannot be called 'grad_y'.*the history of a trial"):
        result.replay(0)


def test_no_axis_of_a_sweep_is_called_like_a_column_of_ours():
    """But ``steps``, which is the axis; the steps taken are called otherwise beside it."""
    known = {*COMMON, *ALIASES, *(name for rule in RULES.values() for name in rule.hyper)}
    known |= {name for row in SCHEDULES.values() for name in row.params}
    ours = {*RESERVED, *RUNG_COLUMNS, *RESULTS, *lane_records.RESULTS, *MEASURES, *STEP_COUNTS}
    assert known & ours == {"steps"}
    with pytest.raises(SpecError, match="a coordinate of bowl cannot be called 'steps_taken'"):
        sweep(bowl(["x", "steps_taken"]), {"lr": [0.1]}, optimizer="sgd", steps=2, progress=False)


GIVEN = {"lr": [0.01, 0.12], "steps": [5, 20]}
EARLY = {"optimizer": "sgd", "target": 2.0, "stop_at_target": True, "curves": True}


@pytest.fixture(scope="module")
def stepped():
    """Trials of 5 and 20 steps, of which the last ends early."""
    result = sweep(problems.ellipse(), GIVEN, progress=False, **EARLY)
    assert result.columns["steps_taken"][3] < 20
    return result


def test_an_axis_called_steps_keeps_its_values(stepped, tmp_path):
    frame = stepped.to_frame()
    assert frame.steps.tolist() == [5, 20, 5, 20]
    assert (frame.steps_taken[:3] == frame.steps[:3]).all()
    assert frame.columns.is_unique
    assert frame.steps.dtype == frame.steps_taken.dtype == np.int64
    ends = stepped.curves().groupby("trial_id").step.max()
    assert ends.tolist() == frame.steps_taken.tolist()
    assert stepped.best_params_["steps"] == frame.steps[frame.train_loss.argmin()]
    assert set(stepped.over_seeds(axis="lr").steps) == {5, 20}
    assert stepped.step_columns == ("steps_taken", "steps_to_target", "diverged_step")
    saved = SweepResult.open(stepped.save(tmp_path / "a.parquet"))
    pd.testing.assert_frame_equal(saved.to_frame(), frame)
    assert stepped.report(tmp_path / "a.html").exists()
    stepped.replay(3)  # it compares with the frame, and would warn
    for column, expected in (("steps", [2, 2]), ("steps_taken", [3, 1])):
        counts = sweep(
            problems.ellipse(), GIVEN, progress=False,
            reduce=histogram(column, [19.5]), **EARLY,
        )  # fmt: skip
        assert counts.COMPLETE.tolist() == expected


def test_an_axis_called_steps_is_stored_and_extended_as_it_is(stepped, tmp_path):
    for store in ({}, {"store": tmp_path / "store"}):
        first = sweep(problems.ellipse(), GIVEN, progress=False, **store, **EARLY)
        pd.testing.assert_frame_equal(first.to_frame(), stepped.to_frame())
        grown = first.extend({"steps": [40]}, progress=False)
        whole = sweep(problems.ellipse(), {**GIVEN, "steps": [5, 20, 40]}, progress=False, **EARLY)
        pd.testing.assert_frame_equal(grown.to_frame(), whole.to_frame())
        assert grown.info["reused"] == 4
    stored = SweepResult.open(tmp_path / "store")
    for column in ("steps", "steps_taken"):
        found = SweepResult.open(tmp_path / "store", filters=[(column, ">=", 20)]).to_frame()
        expected = stored.to_frame()[lambda f, name=column: f[name] >= 20]
        pd.testing.assert_frame_equal(found, expected.reset_index(drop=True))
    one = SweepResult.open(tmp_path / "store", columns=["steps"])
    assert one.to_frame().steps.tolist() == stored.to_frame().steps.tolist()


def test_steps_become_an_axis_when_a_sweep_is_extended():
    first = sweep(problems.ellipse(), {"lr": [0.01]}, steps=5, progress=False, **EARLY)
    assert "steps" in first.metrics
    assert "steps_taken" not in first.columns
    grown = first.extend({"steps": [7]}, progress=False).to_frame()
    assert grown[list(STEPS_TAKEN)].to_numpy().tolist() == [[5, 5], [7, 7]]


def test_a_pruned_sweep_tells_given_steps_from_those_taken():
    space = {"lr": [0.001, 0.01, 0.05, 0.1], "steps": [20, 40]}
    how = {"optimizer": "sgd", "progress": False}
    pruned = sweep(problems.ellipse(), space, pruner="successive_halving", **how)
    frame = pruned.to_frame()
    assert frame.steps.tolist() == [20, 40] * 4
    assert (frame.steps_taken[frame.state == "PRUNED"] < 20).all()
    assert pruned.share_of_steps_ == frame.steps_taken.sum() / frame.steps.sum()
    assert pruned.replay(0).step.max() == frame.steps_taken[0]
    assert pruned.regret(sweep(problems.ellipse(), space, **how)).rank == 1


@pytest.mark.parametrize(("old", "new"), [("plan", "estimate"), ("best", "KeepBest")])
def test_old_names_are_there_for_one_release_with_a_warning(old, new):
    with pytest.warns(DeprecationWarning, match=f"sweeps.{old} is called sweeps.{new}") as told:
        assert getattr(sweeps, old) is getattr(sweeps, new)
    assert told[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=f"sweeps.{new}"):
        exec(f"from sweeps import {old}", {})
    assert old not in sweeps.__all__
    with pytest.raises(AttributeError, match="no attribute 'bets'"):
        _ = sweeps.bets


def test_geomspace_is_numpys_and_logspace_its_old_name():
    assert list(logspace(1e-4, 1, 5)) == list(geomspace(1e-4, 1, 5))
    np.testing.assert_allclose(list(geomspace(3, 700, 9)), np.geomspace(3, 700, 9), rtol=1e-14)
    for helper in (geomspace, logspace):
        with pytest.raises(SpecError, match=rf"^{helper.__name__}\(low, high, n\): the ends"):
            helper(-4, 1, 5)
