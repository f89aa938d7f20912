"""Categories as rows of a table that is learned: torch's nn.Embedding, training and in models."""

import functools

import numpy as np
import onnx.reference
import pandas as pd
import pytest
import torch

from fastopt.errors import SpecError
from sweeps import Model, problems, sweep
from sweeps.models.trained import model_of
from sweeps.problems.gradients import wrong_component
from tests.sweeps.problems.networks_by_torch import loss_and_grad

run = functools.partial(sweep, progress=False)
f = torch.nn.functional
NAMES = {"shape": ["cube", "ball", "cone"], "red": ["no", "yes"], "town": ["Ulm", "Bern", "Brno"]}


def frame_of(rows=520):
    rng = np.random.default_rng(0)
    columns = {name: rng.choice(np.array(values, object), rows) for name, values in NAMES.items()}
    made = pd.DataFrame({"size": rng.normal(size=rows), **columns, "mass": rng.normal(size=rows)})
    return made.assign(price=made.mass + 2.0 * (made["shape"] == "cube") * (made["town"] == "Ulm"))


def problem_of(embed=("shape", "town"), **options):
    how = {"hidden": (6,), "dtype": "float64", "loss": "squared_error", "activation": "relu"}
    how |= {"embed": embed, "embed_dim": 2, "standardize_target": False}
    return problems.table(frame_of(), "price", **{**how, **options})


def torchs(problem, theta, kinds):
    """Loss and gradient with embeddings looked up by torch, of features in the order of kinds."""
    flat = torch.tensor(theta, requires_grad=True)
    X, (n, m, k) = torch.tensor(problem.X), problem.aux[0].tolist()
    W, b = flat[: n * m].reshape(n, m), flat[n * m : (n + 1) * m]
    low = (n + 1) * m
    V, c = flat[low : low + m * k].reshape(m, k), flat[low + m * k : low + (m + 1) * k]
    low += (m + 1) * k
    others, made, at = [], [], 0
    for count, is_embedded in kinds:
        part = X[:, at : at + count]
        at += count
        if is_embedded:
            table = flat[low : low + count * 2].reshape(count, 2)
            low += count * 2
            made.append(f.embedding(part.argmax(1), table))
        else:
            others.append(part)
    assert (at, low) == (X.shape[1], len(flat))
    h = torch.cat([*others, *made], 1)
    loss = f.mse_loss(torch.relu(h @ W + b) @ V + c, torch.tensor(problem.y))
    loss.backward()
    return loss.item(), flat.grad.numpy()


def numbered():
    """The same table as an array, its categories by their numbers."""
    frame = frame_of()
    codes = {name: [NAMES[name].index(value) for value in frame[name]] for name in NAMES}
    return frame.assign(**codes).drop(columns="price").to_numpy(float), frame.price.to_numpy()


def array_problem(embed=(1, 3), **options):
    how = {"hidden": (6,), "dtype": "float64", "loss": "squared_error", "activation": "relu"}
    return problems.mlp(*numbered(), **{**how, "embed": embed, "embed_dim": 2, **options})


# Numbers first, then categories in the order of their columns.
CASES = {
    ("shape", "town"): [(2, False), (3, True), (2, False), (3, True)],
    ("shape", "red", "town"): [(2, False), (3, True), (2, True), (3, True)],
    ("red",): [(2, False), (3, False), (2, True), (3, False)],
}


@pytest.mark.parametrize("embed", CASES, ids=str)
def test_losses_and_gradients_are_those_of_torchs_embedding(embed):
    problem = problem_of(embed)
    theta = np.random.default_rng(2).normal(size=problem.n_params)
    loss, grad = loss_and_grad(problem, theta, 1)
    expected = torchs(problem, theta, CASES[embed])
    np.testing.assert_allclose(loss, expected[0], rtol=1e-12)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-9, atol=1e-13)
    assert wrong_component(lambda at: loss_and_grad(problem, at, 1), theta) is None


# Columns of the array: size, shape, red, town, mass.
ARRAYS = {
    (1, 3): [(3, False), (3, True), (3, True)],
    (-2, 2): [(3, False), (2, True), (3, True)],
}


@pytest.mark.parametrize("embed", ARRAYS, ids=str)
def test_whole_numbers_of_an_array_are_embedded_by_the_same_code(embed):
    problem = array_problem(embed)
    theta = np.random.default_rng(2).normal(size=problem.n_params)
    loss, grad = loss_and_grad(problem, theta, 1)
    expected = torchs(problem, theta, ARRAYS[embed])
    np.testing.assert_allclose(loss, expected[0], rtol=1e-12)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-9, atol=1e-13)
    assert wrong_component(lambda at: loss_and_grad(problem, at, 1), theta) is None
    X = numbered()[0]
    np.testing.assert_allclose(problem.X[:, 0], (X[:, 0] - X[:, 0].mean()) / X[:, 0].std())
    np.testing.assert_array_equal(array_problem((1, 3), standardize=False).X[:, 0], X[:, 0])


def test_a_model_of_numbered_categories_reads_arrays(tmp_path):
    problem, (X, y) = array_problem(), numbered()
    theta = np.random.default_rng(2).normal(size=problem.n_params)
    model = model_of(problem, theta)
    loss, _ = loss_and_grad(problem, theta, 1)
    np.testing.assert_allclose(np.mean((model.predict(X) - y) ** 2), loss, rtol=1e-12)
    again = Model.load(model.save(tmp_path / "model.safetensors"))
    for rows in (X, X.astype(np.float32), X.tolist()):
        np.testing.assert_array_equal(again.predict(rows), model.predict(rows))
    new = X[:5].copy()
    new[:, 3] = 7  # no town that any row has
    without = theta.copy()
    without[-6:] = 0.0
    np.testing.assert_array_equal(again.predict(new), model_of(problem, without).predict(X[:5]))


def test_numbered_categories_are_found_by_name_and_on_training_rows():
    X, y = numbered()
    named = pd.DataFrame(X, columns=["size", "shape", "red", "town", "mass"])
    problem = problems.mlp(named, y, embed=["town"], test=0.2, hidden=(6,), dtype="float64")
    assert problem.axes["embed_dim"] == 8
    assert problem.aux[3].tolist() == [4, 3, 8]
    rare = X.copy()
    rare[-1, 3] = 3  # only in the row that is tested on
    rest = np.arange(len(y) - 1, len(y))
    held = problems.mlp(rare, y, embed=[3], test=rest, hidden=(6,), dtype="float64")
    assert held.aux[3].tolist() == [4, 3, 8]
    assert not held.X_test[0, 4:].any()


def test_tables_begin_normal_and_the_rest_as_without_them():
    problem = problem_of(("shape",), embed_dim=400)
    theta, rest = np.empty(problem.n_params), problem.n_params - 3 * 400
    problem.init(theta, problem.aux, np.uint64(5))
    assert abs(theta[rest:].std() - 1) < 0.1
    assert abs(theta[rest:].mean()) < 0.1
    assert (theta[: rest - 6 - 7] != 0).all()
    np.testing.assert_array_equal(theta[rest - 1], 0)  # a bias


def test_nothing_to_embed_is_the_plain_network():
    plain, without = problem_of(()), problem_of(("shape",))
    assert plain.loss_and_grad is not without.loss_and_grad
    assert "embed_dim" not in plain.axes
    assert len(plain.aux) == 3


def test_bits_do_not_depend_on_company_or_threads():
    problem = problem_of(validation=None, folds=2)
    space = {"embed_dim": [1, 4], "lr": [0.01, 0.1], "fold": [0, 1]}
    how = {"epochs": 3, "batch_size": 50}
    result = run(problem, space, n_jobs=1, **how)
    pd.testing.assert_frame_equal(
        run(problem, space, n_jobs=2, **how).to_frame(), result.to_frame()
    )
    row = result.to_frame().iloc[-1]
    assert result.to_frame().val_loss.nunique() == 8
    alone = run(problem.varied(embed_dim=4, fold=1), {"lr": [row.lr]}, **how)
    assert alone.to_frame().val_loss[0] == row.val_loss
    np.testing.assert_array_equal(alone.trials_weights([0]), result.trials_weights([row.trial_id]))


@pytest.mark.parametrize(("dtype", "eps"), [("float32", 1e-6), ("float64", 1e-13)])
def test_models_predict_the_same_everywhere(dtype, eps, tmp_path):
    problem = problem_of(dtype=dtype)
    model = model_of(problem, np.random.default_rng(2).normal(size=problem.n_params))
    frame = frame_of(30).drop(columns="price")
    expected = model.outputs(frame)
    again = Model.load(model.save(tmp_path / "model.safetensors"))
    assert repr(again) == repr(model)
    assert "embeddings.1  3 categories -> 2" in model.summary()
    np.testing.assert_array_equal(again.outputs(frame), expected)
    assert again.weights["embeddings.0.weight"].shape == (3, 2)
    bare, X = model.bare(), model.transform(frame)
    bound = {"rtol": 0, "atol": eps * np.abs(expected).max()}
    with torch.no_grad():
        np.testing.assert_allclose(bare.to_torch()(torch.tensor(X)).numpy(), expected, **bound)
    graph = onnx.reference.ReferenceEvaluator(str(bare.to_onnx(tmp_path / "model.onnx")))
    found = graph.run(["outputs"], {"X": X.astype(np.float64)})[0]
    np.testing.assert_allclose(found, expected, **bound)
    with pytest.raises(SpecError, match="scikit-learn has no network with embeddings"):
        model.to_sklearn()


def test_a_new_category_is_zeros_and_its_neighbours_stay():
    problem = problem_of()
    theta = np.random.default_rng(2).normal(size=problem.n_params)
    rows, without = frame_of(5).drop(columns="price"), theta.copy()
    without[-6:] = 0.0  # the table of towns
    new = model_of(problem, theta).outputs(rows.assign(town="Graz"))
    np.testing.assert_array_equal(new, model_of(problem, without).outputs(rows))


REFUSED = [
    ({"embed": ["shap"]}, "embed"),
    ({"embed": ["size"]}, "column 'size' is numeric, and only categories are embedded"),
    ({"embed_dim": 0}, "embed_dim must be an integer >= 1; got 0"),
    ({"embed_dim": "8"}, "got '8'"),
    ({"input_noise": 0.1}, "input_noise=0.1 would blur"),
]


ARRAYS_REFUSED = [
    ({"embed": [5]}, "embed: 5 is no column of X, which has 5"),
    ({"embed": [0]}, r"embed: column 0 is [-\d.]+ in row 0; only whole numbers"),
    ({"embed": ["town"]}, "embed"),
    ({"embed": [True]}, "embed: True is no column"),
    ({"weights": np.ones(520)}, "standardized by rows, not by their weights; give standardize"),
    ({"embed_dim": 0}, "embed_dim must be an integer >= 1; got 0"),
]


@pytest.mark.parametrize(("options", "says"), ARRAYS_REFUSED)
def test_what_cannot_be_embedded_of_an_array_is_refused(options, says):
    with pytest.raises((SpecError, ValueError), match=says):
        array_problem(**options)


def test_too_many_categories_of_an_array_are_refused():
    X = np.arange(2002.0)[:, None]
    with pytest.raises(ValueError, match=r"column 0 has 2,002 different values, .* 1,000"):
        problems.mlp(X, X[:, 0] / 2, embed=[0])


@pytest.mark.parametrize(("options", "says"), REFUSED)
def test_what_cannot_be_embedded_is_refused(options, says):
    with pytest.raises((SpecError, ValueError), match=says):
        problem_of(**options)
