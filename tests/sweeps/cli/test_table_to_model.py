"""From a CSV file to predictions by four commands, and tables that nothing is trained on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, mean_squared_error, r2_score

from sweeps import Model, SweepResult, problems
from sweeps.analysis.folds import best_setting
from sweeps.cli.spec import read_spec
from sweeps.cli.stored import open_with_spec
from sweeps.problems.files import read_file
from tests.helpers.commands import call
from tests.helpers.wines import wines, write_wines


def done(*args):
    """Run a command that works, and return what it prints."""
    ran = call(*args)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def short(path, *changes):
    """Have the sweep of a drafted spec take seconds."""
    text = path.read_text(encoding="utf-8").replace("epochs = 30", "epochs = 3")
    for change in (("1e-1, 7]", "1e-1, 2]"), *changes):
        assert change[0] in text
        text = text.replace(*change)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run the commands as the documentation has them, in the folder of the table."""
    folder = tmp_path_factory.mktemp("wines")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_wines(folder / "wine.csv", wines().assign(sulphur=["?", *range(119)]))
        new = wines(12, seed=3)[["alcohol", "colour", "organic", "year", "fixed acidity"]]
        new.loc[0, "colour"], new["sulphur"], new["remarks"] = "orange", "?", "none"
        write_wines(folder / "new.csv", new)
        said = {"init": done("init", "--data", "wine.csv", "--target", "quality")}
        short(folder / "wine.toml")
        said["sweep"] = done("sweep", "wine.toml", "--store", "runs/wine")
        said["model"] = done("model", "runs/wine", "-o", "wine.safetensors")
        said["predict"] = done("predict", "wine.safetensors", "new.csv", "-o", "out.csv")
        yield folder, said


def test_the_four_commands_run_as_written(ran):
    folder, said = ran
    looked, wrote = said["init"].splitlines()
    assert looked == 'A sweep on wine.csv: 120 rows, the target "quality" and 6 features.'
    assert wrote == "Wrote wine.toml. Run it: fastopt sweep wine.toml --store runs/wine"
    assert "Best over folds, smallest mean val_loss first" in said["sweep"]
    assert "10 of 10 trials finished: 10 COMPLETE" in said["sweep"]
    assert "test" not in said["sweep"]  # rows that judge are not looked at before
    assert "On 24 test rows, which chose nothing: accuracy" in said["model"]
    stranger, saved = said["predict"].splitlines()
    assert stranger.startswith("Column 'colour' has a category that no training row had: 'orange'")
    assert "in 1 row, row 0 (line 2) the first" in stranger
    assert saved == "Saved 12 predictions to out.csv"
    out = pd.read_csv(folder / "out.csv")
    shares = out[[f"probability_{label}" for label in (5, 6, 7)]].to_numpy()
    assert out["row"].tolist() == [*range(12)]
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-6)
    assert out["prediction"].tolist() == (5 + shares.argmax(axis=1)).tolist()


def test_the_best_over_folds_are_those_of_the_frame(ran):
    folder, said = ran
    frame = pd.read_parquet([*(folder / "runs" / "wine" / "parts").iterdir()])
    loss = frame.groupby("lr")["val_loss"].agg(["mean", "sem"]).sort_values("mean")
    best = [line.split() for line in said["sweep"].splitlines() if line.strip()][-5:-3]
    for row, expected in zip(best, loss.itertuples()):
        cells = [float(cell) for cell in row[:3]]
        np.testing.assert_allclose(cells, [expected.Index, expected.mean, expected.sem], rtol=1e-3)
    found = best_setting(SweepResult.open(folder / "runs" / "wine"))
    assert found.mean == pytest.approx(loss["mean"].iloc[0])
    chosen = frame[frame["trial_id"].isin(found.ids)]
    assert (chosen["lr"] == loss.index[0]).all()
    assert sorted(chosen["fold"]) == [*range(5)]


def test_a_model_of_the_command_is_that_of_the_frame(ran):
    folder, said = ran
    model = Model.load(folder / "wine.safetensors")
    assert model.about["na_values"] == ["?"]
    assert model.target_name == "quality"
    result, checked = open_with_spec(folder / "runs" / "wine")
    frame = result.to_frame().set_index("trial_id")
    accuracy = frame["test_accuracy"][model.about["trial_id"]]
    table = read_file(folder / "wine.csv", ["?"])
    rows = checked.problem.recipe.source().splits().test
    predicted = model.predict(table[model.feature_names].iloc[rows])
    assert accuracy_score(table["quality"].iloc[rows], predicted) == pytest.approx(accuracy)
    others = table["quality"].drop(rows)
    usual = DummyClassifier().fit(others, others)  # says what most rows have
    dull = usual.score(table["quality"].iloc[rows], table["quality"].iloc[rows])
    always = f"(of always saying {usual.predict([0])[0]}, {dull:.4g})."
    assert f"accuracy {accuracy:.4g} {always}" in said["model"]


def test_refitted_and_chosen_models(ran):
    folder, _ = ran
    store = folder / "runs" / "wine"
    out = folder / "other.safetensors"
    found = json.loads(done("model", store, "-o", out, "--refit", "--json"))
    assert found["refitted_rows"] == 96
    assert found["test"]["rows"] == 24
    assert found["na_values"] == ["?"]
    seventh = done("model", store, "-o", out, "--trial", 7)
    assert "trial 7" in seventh
    assert "over" not in seventh.replace("columns", "")
    assert Model.load(out).about["trial_id"] == 7
    failed = call("model", store, "-o", out, "--trial", 70)
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert "there is no finished trial 70" in failed.stderr


def test_several_models_are_averaged(ran, tmp_path):
    """Six models of five folds: all of the best setting, and one of the next."""
    folder, _ = ran
    out = tmp_path / "several.safetensors"
    said = json.loads(done("model", folder / "runs" / "wine", "-o", out, "--best", 6, "--json"))
    trials = [about["trial_id"] for about in said["models"]]
    result = SweepResult.open(folder / "runs" / "wine")
    frame = result.to_frame().set_index("trial_id")
    means = frame.groupby("lr")["val_loss"].mean().sort_values()
    expected = [frame.index[frame["lr"] == lr].sort_values().tolist() for lr in means.index]
    assert trials == [*expected[0], expected[1][0]]
    assert len(said["test"]["alone"]) == 6
    new, apart = folder / "new.csv", tmp_path / "apart.safetensors"
    shares = []
    for trial in trials:
        done("model", folder / "runs" / "wine", "-o", apart, "--trial", trial)
        done("predict", apart, new, "-o", tmp_path / "apart.csv")
        shares.append(pd.read_csv(tmp_path / "apart.csv").filter(like="probability").to_numpy())
    told = done("predict", out, new, "-o", tmp_path / "out.csv")
    assert "'orange'" in told
    found = pd.read_csv(tmp_path / "out.csv")
    mean = found.filter(like="probability").to_numpy()
    np.testing.assert_allclose(mean, np.mean(shares, axis=0), rtol=1e-5)
    assert found["prediction"].tolist() == (5 + mean.argmax(axis=1)).tolist()
    for more in (("--refit",), ("--trial", 7)):
        failed = call("model", folder / "runs" / "wine", "-o", out, "--best", 2, *more)
        assert failed.exit_code == 2
        assert f"{more[0]} asks" in " ".join(failed.stderr.replace("\u2502", " ").split())


APART = """
import sys
from sweeps.cli.commands import main
sys.argv = ["fastopt", "predict", "wine.safetensors", "new.csv"]
main()
"""


def test_predictions_need_nothing_but_the_model(ran, tmp_path):
    """In another folder, where there are no data, in a process that has never seen them."""
    folder, said = ran
    for name in ("wine.safetensors", "new.csv"):
        shutil.copy(folder / name, tmp_path)
    command = [sys.executable, "-c", APART]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == (folder / "out.csv").read_text()
    assert ran.stderr.splitlines() == said["predict"].splitlines()[:1]


def test_a_target_that_is_known_is_compared_with(ran, tmp_path):
    folder, _ = ran
    model, table = folder / "wine.safetensors", read_file(folder / "wine.csv")
    table["quality"] = table["quality"].where(table.index >= 20)
    path = write_wines(tmp_path / "half.csv", table)
    said = json.loads(done("predict", model, path, "-o", tmp_path / "o.parquet", "--json"))
    out = pd.read_parquet(tmp_path / "o.parquet")
    hits = (out["prediction"] == table["quality"])[20:]
    assert said["scored_rows"] == 100
    assert said["accuracy"] == hits.mean()
    strange = table.assign(quality=table["quality"].where(table.index >= 23, 99))
    path = write_wines(tmp_path / "strange.csv", strange)
    assert json.loads(done("predict", model, path, "--json", "-o", tmp_path / "o.csv"))[
        "unknown_labels"
    ] in ({"99": 23}, {"99.0": 23})
    said = " ".join(done("predict", model, path, "-o", tmp_path / "o.csv").split())
    assert "23 of them cannot be right, as no training row had such a label: '99" in said
    other = write_wines(tmp_path / "other.csv", table.assign(quality="good"))
    ran = call("predict", model, other)
    assert ran.exit_code == 0
    assert "Not scored: column 'quality': y holds" in ran.stderr
    assert ran.stdout.count("\n") == 121


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["alcohol", "year"]), "lacks columns 'alcohol', 'year', which"),
        (lambda t: t.rename(columns={"alcohol": "alcohl"}), "did you mean 'alcohl'?"),
        (lambda t: t.assign(alcohol="much"), r"column 'alcohol' is 'much' in row 0 (line 2); the"),
        (lambda t: t.assign(alcohol=np.inf), "'alcohol' is inf in row 0 (line 2)"),
        (lambda t: t[:0], "bad.csv has no rows"),
    ],
    ids=["columns", "name", "text", "infinite", "empty"],
)
def test_rows_that_a_model_cannot_read(ran, tmp_path, change, message):
    folder, _ = ran
    path = write_wines(tmp_path / "bad.csv", change(read_file(folder / "wine.csv")))
    out = tmp_path / "out.csv"
    failed = call("predict", folder / "wine.safetensors", path, "-o", out)
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert message in failed.stderr
    assert not out.exists()


def test_files_that_are_no_models(ran, tmp_path):
    folder, _ = ran
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    for path, message in (
        (folder / "wine.csv", "a model is a .safetensors file"),
        (tmp_path / "a.safetensors", "a.safetensors: "),
    ):
        failed = call("predict", path, folder / "new.csv")
        assert failed.exit_code == 2
        assert message in failed.stderr


def test_a_store_moves_with_its_data_and_refuses_others(ran, tmp_path, monkeypatch):
    folder, _ = ran
    monkeypatch.chdir("/")
    shutil.copytree(folder, tmp_path / "moved")
    store, table = tmp_path / "moved" / "runs" / "wine", tmp_path / "moved" / "wine.csv"
    out = tmp_path / "a.safetensors"
    done("model", store, "-o", out)
    text = table.read_text(encoding="utf-8-sig")
    lines = text.splitlines()
    lines[9] = "9" + lines[9]
    table.write_text("\n".join(lines), encoding="utf-8")
    failed = call("model", store, "-o", out)
    assert failed.exit_code == 2
    assert "data.columns.fixed acidity: numeric" in failed.stderr
    assert failed.stderr.count("in the store") == 1  # and not what follows from it
    failed = call("sweep", tmp_path / "moved" / "wine.toml", "--store", store)
    assert failed.exit_code == 2
    assert "data.columns.fixed acidity: numeric" in failed.stderr
    table.unlink()
    assert "wine.csv does not exist" in call("model", store, "-o", out).stderr
    (store / "spec.toml").unlink()
    assert "keeps no spec.toml" in call("model", store, "-o", out).stderr
    shutil.copy(folder / "wine.csv", table)
    done("model", store, "-o", out, "--spec", tmp_path / "moved" / "wine.toml")
    assert call("model", tmp_path, "-o", out).exit_code == 1


def test_the_copy_of_a_copy_is_a_spec_of_the_same_data(ran, tmp_path):
    folder, _ = ran
    copy = folder / "runs" / "wine" / "spec.toml"
    assert copy.read_text().startswith('folder = "../.."')
    done("sweep", copy, "--store", tmp_path / "a" / "b")
    again = tmp_path / "a" / "b" / "spec.toml"
    assert again.read_text().count("folder =") == 1
    assert read_spec(again).made.options["table"].samefile(folder / "wine.csv")
    assert read_spec(again).problem.X.tobytes() == read_spec(copy).problem.X.tobytes()


def test_a_regression_has_its_own_score(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = wines().rename(columns={"quality": "label"})
    table["price"] = table["label"] + 0.25 * np.arange(120) / 120
    write_wines(tmp_path / "wine.parquet.csv", table)
    table.drop(columns=["label"]).to_parquet(tmp_path / "wine.parquet")
    done("init", "--data", "wine.parquet", "--target", "price", "wine.toml")
    short(tmp_path / "wine.toml", ("folds = 5  # each", "validation = 0.2 # each"), ("fold =", "#"))
    said = done("sweep", "wine.toml", "--store", "runs/wine")
    assert "Best trials, smallest val_loss first" in " ".join(said.split())
    said = done("model", "runs/wine", "-o", "wine.safetensors")
    assert "test rows, which chose nothing: R2" in said
    said = done("predict", "wine.safetensors", "wine.parquet", "-o", "out.csv")
    assert "On 120 rows with a value of 'price': R2" in said
    assert [*pd.read_csv("out.csv")] == ["row", "prediction"]
    said = done("model", "runs/wine", "-o", "wine.safetensors", "--best", 2)
    assert "Each model alone: R2 from" in said
    said = done("predict", "wine.safetensors", "wine.parquet", "-o", "out.csv")
    assert "On 120 rows with a value of 'price': R2" in said
    out = pd.read_csv("out.csv")
    assert [*out] == ["row", "prediction", "models_q10", "models_q90"]
    np.testing.assert_allclose((out["models_q10"] + out["models_q90"]) / 2, out["prediction"], 1e-5)


def test_a_score_of_weighted_rows_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = wines().dropna(subset=["alcohol"]).assign(sure=lambda t: 1.0 + np.arange(len(t)) % 7)
    write_wines(tmp_path / "wine.csv", table)
    text = SPEC.format(name="wine.csv", more='weights = "sure"\ntask = "regression"')
    Path("wine.toml").write_text(text.replace('"quality"', '"alcohol"'))
    done("sweep", "wine.toml", "--store", "runs/wine")
    said = done("model", "runs/wine", "-o", "wine.safetensors")
    test = problems.table("wine.csv", "alcohol", weights="sure", task="regression")
    rows = test.recipe.source().splits().test
    table, model = read_file("wine.csv").iloc[rows], Model.load("wine.safetensors")
    score = r2_score(table["alcohol"], model.predict(table), sample_weight=table["sure"])
    off = mean_squared_error(table["alcohol"], model.predict(table), sample_weight=table["sure"])
    said_of_test = f"which chose nothing: R2 {score:.4g}, RMSE {off**0.5:.4g}, by their weights."
    assert said_of_test in said
    assert "always" not in said
    facts = json.loads(done("model", "runs/wine", "-o", "wine.safetensors", "--json"))
    figures = {"R2": pytest.approx(score), "RMSE": pytest.approx(off**0.5)}
    assert facts["test"] == {"rows": len(rows), **figures, "weighted": True}
    said = done("model", "runs/wine", "-o", "wine.safetensors", "--best", 2)
    assert ", by their weights." in said
    # The file knows which column had them.
    done("model", "runs/wine", "-o", "wine.safetensors")
    whole, model = read_file("wine.csv"), Model.load("wine.safetensors")
    score = r2_score(whole["alcohol"], model.predict(whole), sample_weight=whole["sure"])
    said = done("predict", "wine.safetensors", "wine.csv", "-o", "out.csv")
    off = mean_squared_error(whole["alcohol"], model.predict(whole), sample_weight=whole["sure"])
    figures = f"R2 {score:.4g}, RMSE {off**0.5:.4g}."
    assert f"with a value of 'alcohol', by their 'sure': {figures}" in said
    whole.drop(columns="sure").to_csv("bare.csv", index=False)
    score = r2_score(whole["alcohol"], model.predict(whole))
    said = done("predict", "wine.safetensors", "bare.csv", "-o", "out.csv")
    assert f"with a value of 'alcohol', each counting once: R2 {score:.4g}, RMSE" in said
    whole.assign(sure=-1.0).to_csv("wrong.csv", index=False)
    said = done("predict", "wine.safetensors", "wrong.csv", "-o", "out.csv")
    assert "Not scored: column 'alcohol': weights ('sure') must be finite and >= 0; got -1" in said


def test_several_targets_are_predicted_by_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = wines().dropna(subset=["alcohol"])
    table["price"] = table["alcohol"] / 2
    write_wines(tmp_path / "wine.csv", table)
    Path("wine.toml").write_text(
        SPEC.format(name="wine.csv", more='task = "regression"').replace(
            '"quality"', '["alcohol", "price"]'
        )
    )
    done("sweep", "wine.toml", "--store", "runs/wine")
    done("model", "runs/wine", "-o", "wine.safetensors")
    said = done("predict", "wine.safetensors", "wine.csv", "-o", "out.csv")
    out = pd.read_csv("out.csv")
    assert [*out] == ["row", "prediction_alcohol", "prediction_price"]
    true = read_file("wine.csv")[["alcohol", "price"]]
    score = r2_score(true, out[["prediction_alcohol", "prediction_price"]])
    assert f"On 115 rows with a value of 'alcohol, price': R2 {score:.4g}." in said


def test_models_of_data_that_come_with_us(tmp_path):
    spec = tmp_path / "iris.toml"
    spec.write_text(
        "[problem]\nname = 'iris'\nhidden = [4]\n[sweep]\nepochs = 3\n[space]\nlr = [0.1, 0.2]\n"
    )
    done("sweep", spec, "--store", tmp_path / "iris")
    said = done("model", tmp_path / "iris", "-o", tmp_path / "iris.safetensors")
    assert "On 38 test rows" in said
    table = pd.DataFrame({"a": [5.1], "b": [3.5], "c": [1.4], "d": [0.2]})
    table.to_csv(tmp_path / "new.csv", index=False)
    said = done("predict", tmp_path / "iris.safetensors", tmp_path / "new.csv")
    assert said.startswith("row,prediction,probability_0,probability_1,probability_2\n0,")


# --- tables that nothing is trained on -----------------------------------------------------------

SPEC = """
[data]
file = "{name}"
target = "quality"
{more}

[sweep]
epochs = 3

[space]
lr = [0.01, 0.1]
"""


def cells(column, value, rows=(3,)):
    """Put a value into some cells of a column."""

    def change(table):
        table = table.astype({column: object})
        table.loc[[*rows], column] = value
        return table

    return change


MANY = np.arange(200_000) % 2

BAD = {
    "no file": (None, "", r"\$\.data\.file: .*bad\.csv does not exist; give the path of"),
    "empty": (b"", "", r"\$\.data\.file: .*bad\.csv is empty; its first line must have"),
    "no rows": (lambda t: t[:0], "", r"\$\.data\.file: .*bad\.csv has no rows, only columns: f"),
    "no names": (b"1;2\n3;4\n", "", r"bad\.csv: the first line is all numbers .* put a line"),
    "ragged": (b"a;quality\n1;2;3\n", "", r"bad\.csv: lines have more cells .* give each"),
    "not text": (b"a;quality\n\xff;1\n", "", r"bad\.csv is not UTF-8 .*save it as UTF-8"),
    "two alike": (
        lambda t: t.assign(more=1).set_axis([*t, "alcohol"], axis=1),
        "", r"the first line names columns 1 and 8 alike: 'alcohol'; rename or drop one",
    ),
    "a column without a name": (
        b"a;;quality\n1;2;3\n", "", r"the first line has no name for column 1 of 3; give",
    ),
    "no target": (
        lambda t: t.rename(columns={"quality": "qualty"}),
        "", r"\$\.data\.target: target: .* no column 'quality' [(]did you mean 'qualty'",
    ),
    "target without values": (
        cells("quality", None, range(120)), "", r"target 'quality' has no values: is it the right",
    ),
    "target with gaps": (
        cells("quality", None, [5, 7]),
        "", r"target 'quality' is missing in 2 of .* row 5 \(line 7\) the first .*None.* leave",
    ),
    "one class": (cells("quality", 5, range(120)), "", r"target 'quality' is 5 in all 120 rows"),
    "infinite target": (cells("quality", np.inf), "", r"target 'quality' is inf in row 3 \(line 5"),
    "target of text and numbers": (
        cells("quality", "good"), "", r"target 'quality' holds numbers but for 'good' in row 3",
    ),
    "a class of one row": (
        cells("quality", 9), "", r"9.* (one|1) row",
    ),
    "all missing": (
        cells("alcohol", None, range(120)),
        "", r"column 'alcohol' has no values: leave it out by drop=\['alcohol'\]",
    ),
    "infinite": (
        cells("alcohol", -np.inf),
        "", r"column 'alcohol' is -inf in row 3 \(line 5\) \(1 of 120 values\): leave such cells",
    ),
    "text among numbers": (
        cells("alcohol", "much"),
        "", r"column 'alcohol' holds numbers but for 'much' in row 3 \(line 5\) .*na_values",
    ),
    "dates": (
        lambda t: t.assign(day="2026-01-31"), "", r"column 'day' .*date.*: ",
    ),
    "names": (
        lambda t: t.assign(name=[f"wine {k}" for k in range(120)]),
        "", r"column 'name' has another value in each of 120 rows, as names .*: leave it out",
    ),
    "many categories": (
        lambda t: pd.DataFrame({"a": [f"x{k}" for k in range(100_000)] * 2}).assign(quality=MANY),
        "", r"column 'a' has 100,000 different values in 200,000 rows, .* 1,000 at most: leave it",
    ),
    "no features": (lambda t: t[["quality"]], "", r"the table has no features: its columns are"),
    "few rows": (lambda t: t[:3], "", r"row"),
    "more folds than rows": (lambda t: t[:20], "folds = 15", r"\$\.data\.folds: folds=15"),
    "negative weights": (
        lambda t: t.assign(w=-1.0),
        'weights = "w"', r"\$\.data\.weights: weights \('w'\) must be finite and >= 0; got -1",
    ),
    "two roles": (
        lambda t: t, 'weights = "quality"', r"column 'quality' is both target and weights; keep",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "more", "message"), BAD.values(), ids=list(BAD))
def test_bad_tables_are_refused_before_anything_runs(tmp_path, change, more, message):
    path, spec = tmp_path / "bad.csv", tmp_path / "bad.toml"
    if isinstance(change, bytes):
        path.write_bytes(change)
    elif change is not None:
        write_wines(path, change(wines()))
    spec.write_text(SPEC.format(name=path.name, more=more))
    failed = call("sweep", spec, "--store", tmp_path / "runs")
    assert (failed.exit_code, failed.stdout) == (2, ""), failed.output
    assert failed.stderr.startswith(f"error: {spec}: $.data")
    assert re.search(message, failed.stderr, re.DOTALL), failed.stderr
    assert not (tmp_path / "runs").exists()


def test_the_table_that_the_bad_ones_are_made_from(tmp_path):
    write_wines(tmp_path / "good.csv")
    spec = tmp_path / "good.toml"
    spec.write_text(SPEC.format(name="good.csv", more=""))
    assert "trials" in done("sweep", spec, "--dry-run")
    assert Path(spec).is_file()
