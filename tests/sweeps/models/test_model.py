"""Models predict what their trials were measured with, and say what is wrong with a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from fastopt.errors import ArrayError, ArrayTypeError, SpecError
from sweeps import problems, sweep
from sweeps.models.columns import Columns, Number
from sweeps.models.ensemble import Ensemble
from sweeps.models.links import spread
from sweeps.models.model import Model
from sweeps.models.trained import model_of
from tests.helpers.networks import facts_of, outputs_of, probabilities
from tests.sweeps.models.made import KINDS, made
from tests.sweeps.models.test_parameters import measured

QUIET = {"progress": False, "epochs": 5}
IRIS = problems.iris(hidden=(8,))


def raw(problem, X):
    """Features as they were given."""
    return X.astype(np.float64) * problem.scale + problem.mean


@pytest.fixture(scope="module")
def result():
    return sweep(IRIS, {"lr": [0.003, 0.1, 0.03], "seed": range(2)}, **QUIET)


def test_every_trials_accuracy_is_that_of_the_frame(result):
    frame = result.to_frame()
    for row in frame.itertuples():
        model = result.model(row.trial_id)
        bare = model.bare()
        assert bare.score(IRIS.X_test, IRIS.y_test) == row.test_accuracy
        assert bare.score(IRIS.X, IRIS.y) == row.train_accuracy
        assert model.about["params"] == {"lr": row.lr, "seed": row.seed}
        assert model.about["metrics"]["test_loss"] == row.test_loss
    assert len(set(frame.test_accuracy)) > 2


def test_columns_of_numbers_are_found_by_their_names_too(tmp_path):
    """As scikit-learn refuses another order; by place, every prediction here is another one."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(60, 3)) * [1, 5, 25], columns=["a", "b", "c"])
    y = table.a + table.b - table.c
    model = sweep(problems.mlp(table, y, hidden=(4,)), {"lr": [0.1]}, **QUIET).model()
    expected = model.predict(table.to_numpy())
    again = Model.load(model.save(tmp_path / "m"))
    for each in (model, again):
        assert each.feature_names == ["a", "b", "c"]
        for same in (table, table[["c", "a", "b"]], table[["b", "c", "a"]].to_dict("records")):
            np.testing.assert_array_equal(each.predict(same), expected)
        with pytest.raises(ArrayError, match="lacks the column 'c'"):
            each.predict(table.rename(columns={"c": "d"}))
        assert each.score(table, y) == each.score(table[["c", "b", "a"]].to_numpy()[:, ::-1], y)
        with pytest.raises(ArrayError, match="y has the rows of the table in another order: 59"):
            each.score(table, y[::-1])
    numbered = pd.DataFrame(table.to_numpy())
    assert problems.mlp(numbered, y.to_numpy()).feature_names is None


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_accuracy_of_more_rows_than_a_block(name):
    """1 347 rows go in blocks of 256, as in a trial."""
    options = {"hidden": (), "loss": "logistic"} if name == "breast_cancer" else {"hidden": (32,)}
    problem = getattr(problems, name)(**options)
    for seed in range(3):
        theta = np.random.default_rng(seed).normal(size=problem.n_params).astype(np.float32) * 0.3
        bare = model_of(problem, theta).bare()
        found = [bare.score(problem.X, problem.y), bare.score(problem.X_test, problem.y_test)]
        assert found == measured(problem, theta)[1::2]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_what_is_made_of_them(kind):
    model, problem, X = made(kind)
    sizes, activation, loss = facts_of(problem)
    z = outputs_of(model.network.theta, sizes, activation, (X - problem.mean) / problem.scale)[-1]
    np.testing.assert_allclose(model.outputs(X), z, rtol=2e-5, atol=2e-5)
    np.testing.assert_array_equal(model.transform(X), problem.X)
    predicted = model.predict(X)
    if problem.classes is None:
        np.testing.assert_array_equal(predicted, np.squeeze(model.outputs(X)))
        for ask in (model.predict_proba, model.decision_function):
            with pytest.raises(SpecError, match=r"predict\(X\)"):
                ask(X)
        return
    found = model.predict_proba(X)
    shares = probabilities(loss, z)
    shares = np.hstack([1 - shares, shares]) if loss == "logistic" else shares
    np.testing.assert_allclose(found, shares, atol=1e-5)
    np.testing.assert_array_equal(predicted, problem.classes[shares.argmax(axis=1)])
    decided = model.decision_function(X)
    if len(problem.classes) == 2:
        assert decided.shape == (len(X),)
        np.testing.assert_array_equal(predicted, problem.classes[(decided > 0).astype(int)])
    else:
        np.testing.assert_array_equal(decided, model.outputs(X))


def test_weights_have_names_and_the_orientation_that_is_told():
    model, problem, _ = made("three")
    weights = model.weights
    assert [*weights] == [f"layers.{k}.{p}" for k in (0, 1) for p in ("weight", "bias")]
    assert [a.shape for a in weights.values()] == [(4, 8), (8,), (8, 3), (3,)]
    flat = np.concatenate([a.ravel() for a in weights.values()])
    np.testing.assert_array_equal(flat, model.network.theta)
    hidden = np.maximum(problem.X @ weights["layers.0.weight"] + weights["layers.0.bias"], 0)
    z = hidden @ weights["layers.1.weight"] + weights["layers.1.bias"]
    np.testing.assert_allclose(z, model.bare().outputs(problem.X), atol=1e-4)
    with pytest.raises(ValueError, match="read-only"):
        weights["layers.0.bias"][0] = 1


@pytest.mark.parametrize("kind", ["numbers", "outputs"])
def test_the_score_of_a_regression_is_r2(kind):
    model, _, X = made(kind)
    y = model.predict(X) + np.random.default_rng(0).normal(size=model.predict(X).shape)
    weights = np.arange(len(X)) + 1.0
    for w in (np.ones(len(X)), weights):
        rest = w @ (y - model.predict(X)) ** 2
        r2 = np.mean(1 - rest / (w @ (y - np.average(y, axis=0, weights=w)) ** 2))
        assert model.score(X, y, sample_weight=w) == pytest.approx(r2)


NAMES = ["length", "width", "depth", "price"]


def named(model, **options):
    facts = {"classes": model.classes, "preprocess": model.preprocess, "feature_names": NAMES}
    return Model(model.network, **{**facts, **options})


def test_columns_of_a_table_are_found_by_their_names():
    model, _, X = made("three")
    model = named(model, target_name="grade")
    table = pd.DataFrame(X, columns=NAMES)
    expected = model.predict(X)
    for given in (
        table,
        table[NAMES[::-1]],
        table.assign(grade="?"),
        X.tolist(),
        table.astype("Float64"),
    ):
        np.testing.assert_array_equal(model.predict(given), expected)


def spoiled(value, column="depth"):
    X = made("three")[2]
    table = pd.DataFrame(X, columns=NAMES).astype({column: object})
    table.loc[2, column] = value
    return table


TABLES = {
    "lacks": (lambda X, t: t[["length", "depth"]], r"lacks the columns 'width', 'price'"),
    "misspelt": (lambda X, t: t.rename(columns={"width": "widht"}), "did you mean 'widht'"),
    "unknown": (lambda X, t: t.assign(id=1), r"column 'id', which .*leave them out"),
    "twice": (lambda X, t: pd.concat([t, t["width"]], axis=1), "two columns called 'width'"),
    "narrow": (lambda X, t: X[:, :3], "3 columns; it must have 4"),
    "flat": (lambda X, t: X[0], r"reshape\(1, -1\)"),
    "cube": (lambda X, t: X[None], r"got \(1, 300, 4\)"),
    "sparse": (lambda X, t: scipy.sparse.csr_matrix(X), "toarray"),
    "masked": (lambda X, t: np.ma.masked_greater(X, 0), "masked"),
    "None": (lambda X, t: None, r"got \(\)"),
    "missing": (lambda X, t: spoiled(None), r"row 2, column 'depth': the value is missing"),
    "infinite": (lambda X, t: spoiled(np.inf), r"row 2, column 'depth': the value is inf"),
    "text": (lambda X, t: spoiled("wide"), r"row 2, column 'depth': 'wide' is no number"),
    "times": (lambda X, t: t.assign(depth=pd.Timestamp(0)), r"column 'depth': Timestamp"),
    "complex": (lambda X, t: X * 1j, r"column 'length': .*j\)? is no number"),
    "too large": (lambda X, t: X * 1e300, "too large for float32"),
}  # fmt: skip


@pytest.mark.parametrize("spoil", TABLES)
def test_tables_that_do_not_fit_are_refused_by_place(spoil):
    model, _, X = made("three")
    make, said = TABLES[spoil]
    given = make(X, pd.DataFrame(X, columns=NAMES))
    with pytest.raises((ArrayError, ArrayTypeError), match=said):
        named(model).predict(given)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.zeros(300, int), "the labels of the model are <U6"),
        (np.array(["low"] * 3), "300 rows and y has 3"),
        (np.full((300, 2), "low"), r"shape \(300, 2\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(y, said):
    model, _, X = made("three")
    with pytest.raises(ArrayError, match=said):
        model.score(X, y)


def test_labels_of_bytes_are_scored_and_are_none_to_scikit_learn():
    model, problem, X = made("three")
    named = Model(model.network, classes=problem.classes.astype("S"), preprocess=model.preprocess)
    predicted, y = named.predict(X), np.resize([b"low", b"top"], len(X))
    assert named.score(X, y) == np.mean(predicted == y) == model.score(X, y.astype(str)) > 0
    assert named.score(X, y, predicted == y) == 1
    with pytest.raises(SpecError, match="no labels of bytes"):
        named.to_sklearn()


def test_no_rows_have_no_predictions():
    model, _, X = made("three")
    assert model.predict(X[:0]).shape == (0,)
    assert model.predict_proba(X[:0]).shape == (0, 3)


def test_a_gap_is_filled_in_where_the_model_knows_with_what():
    model, _, X = made("three")
    entries = [Number(e.column, e.mean, e.scale, e.mean) for e in model.preprocess.entries]
    filled = named(model, preprocess=Columns(4, entries))
    holes = pd.DataFrame(X, columns=NAMES).mask(X > 1)
    means = np.array([entry.mean for entry in entries])
    np.testing.assert_array_equal(filled.outputs(holes), model.outputs(np.where(X > 1, means, X)))


def test_models_of_the_best_trials_are_averaged(result):
    X = raw(IRIS, IRIS.X_test)
    ensemble, best = result.models(3), result.best(3)
    assert [m.about["trial_id"] for m in ensemble.models] == best.trial_id.tolist()
    shares = np.mean([m.predict_proba(X) for m in ensemble.models], axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(X), shares, rtol=1e-6)
    np.testing.assert_array_equal(ensemble.predict(X), shares.argmax(axis=1))
    assert 0.5 < ensemble.score(X, IRIS.y_test) <= 1
    assert len(result.models(99)) == len(result)


def test_an_ensemble_of_numbers_and_of_two_classes():
    for kind in ("numbers", "logistic"):
        model, problem, X = made(kind)
        other = model_of(problem, -model.network.theta[::-1])
        both = Ensemble([model, other])
        mean = np.mean([model._linked(X), other._linked(X)], axis=0)[:, 0]
        expected = mean if kind == "numbers" else problem.classes[(mean > 0.5).astype(int)]
        np.testing.assert_allclose(both.predict(X), expected, rtol=1e-5, atol=1e-5)
        values = [spread(model.task, m._linked(X)) for m in (model, other)]
        expected = np.quantile(values, [0.0, 0.3], axis=0).transpose(1, 0, 2)
        found = both.quantiles(X, [0.0, 0.3])
        np.testing.assert_allclose(found, expected.squeeze(), rtol=1e-5)
    for q in (1.5, [[0.5]]):
        with pytest.raises(SpecError, match="q must be shares from 0 to 1; got"):
            both.quantiles(X, q)
    with pytest.raises(SpecError, match="loss of model 0 is 'logistic', of model 1 'softmax"):
        Ensemble([both.models[0], made("two")[0]])
    with pytest.raises(SpecError, match="got none"):
        Ensemble([])


def test_trials_without_a_model_are_refused():
    def loss_and_grad(theta, X, y, aux, grad):
        grad[:] = theta
        return 0.5 * (theta * theta).sum()

    X, y = np.zeros((4, 1)), np.zeros(4)
    problem = problems.custom(loss_and_grad, np.ones(2), X, y)
    with pytest.raises(SpecError, match=r"trials_weights\(\[trial_id\]\)"):
        sweep(problem, {"lr": [0.1]}, **QUIET).model()
    diverged = sweep(IRIS, {"lr": [0.1, 1e30]}, optimizer="sgd", **QUIET)
    with pytest.raises(SpecError, match="trial 1 DIVERGED"):
        diverged.model(1)
    with pytest.raises(SpecError, match="no finished trial 9"):
        diverged.model(9)
    diverged.plan, plan = None, diverged.plan
    with pytest.raises(SpecError, match="model runs trials"):
        diverged.model()
    diverged.plan = plan
    for n in (0, True, 1.5):
        with pytest.raises(SpecError, match="n must be an integer >= 1"):
            diverged.models(n)
