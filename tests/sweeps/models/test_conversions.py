"""Models as objects of other libraries: the same outputs, from the same raw rows."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted

from fastopt.compile import kernel
from fastopt.errors import ArrayError, SpecError
from sweeps.models import estimators, onnx_graphs, torch_modules
from sweeps.models.columns import Category, Columns, Number
from sweeps.models.ensemble import Ensemble
from sweeps.models.model import Model
from sweeps.models.network import Network
from sweeps.models.transformers import columns_of
from sweeps.problems.activations import ACTIVATIONS, layers_of
from sweeps.tracing.minibatches import call_template
from tests.sweeps.models.made import KINDS, LINKS, made, rows_of

# Outputs are of the order of 1: products of 8 float32 numbers round by a few units of 6e-8 each.
TOLERANCE = {"float32": {"rtol": 1e-6, "atol": 1e-6}, "float64": {"rtol": 1e-13, "atol": 1e-13}}
SHAPES = ((), (8,), (8, 4))
RELU = [(kind, hidden, "relu", "float32") for kind in KINDS for hidden in SHAPES]
WIDE = [(kind, (8,), "relu", "float64") for kind in ("three", "numbers")]
# Each compiles a pass; of all of them, what the libraries make is compared below.
OTHERS = [("three", (8,), name, "float32") for name in ("tanh", "sigmoid", "gelu")]
FAMILIAR = [way for way in OTHERS if way[2] in estimators.ACTIVATIONS]


def every(ways):
    return pytest.mark.parametrize(("kind", "hidden", "activation", "dtype"), ways)


def told_apart(model, X):
    """Rows whose label does not hang on the last bits."""
    z = np.sort(model.outputs(X), axis=1)
    margin = np.abs(z[:, 0]) if z.shape[1] == 1 else z[:, -1] - z[:, -2]
    assert (margin > 1e-5).mean() > 0.9
    return X[margin > 1e-5]


@every(RELU + WIDE + OTHERS)
def test_torch_has_the_same_outputs(kind, hidden, activation, dtype):
    model, _, X = made(kind, hidden=hidden, activation=activation, dtype=dtype)
    state = torch.get_rng_state()
    module = model.to_torch()
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        found = module(torch.from_numpy(X))
    assert isinstance(module, torch.nn.Sequential)
    assert found.numpy().dtype == model.network.theta.dtype
    np.testing.assert_allclose(found.numpy(), model.outputs(X), **TOLERANCE[dtype])
    again = model.to_torch()  # its state is all there is
    again.load_state_dict({k: torch.zeros_like(v) for k, v in module.state_dict().items()})
    again.load_state_dict(module.state_dict())
    assert torch.equal(again(torch.from_numpy(X)), module(torch.from_numpy(X)))


@every(RELU + WIDE + FAMILIAR)
def test_scikit_learn_predicts_the_same(kind, hidden, activation, dtype):
    model, problem, X = made(kind, hidden=hidden, activation=activation, dtype=dtype)
    fitted = model.to_sklearn()
    check_is_fitted(fitted)
    assert isinstance(clone(fitted), type(fitted))
    if problem.classes is None:
        np.testing.assert_allclose(fitted.predict(X), model.predict(X), **TOLERANCE[dtype])
        return
    np.testing.assert_allclose(
        fitted.predict_proba(X), model.predict_proba(X), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(fitted.classes_, problem.classes)
    clear = told_apart(model, X)
    np.testing.assert_array_equal(fitted.predict(clear), model.predict(clear))
    assert fitted.score(clear, model.predict(clear)) == 1.0


@every(RELU + WIDE + OTHERS)
def test_onnx_has_the_same_outputs(kind, hidden, activation, dtype, tmp_path):
    model, problem, X = made(kind, hidden=hidden, activation=activation, dtype=dtype)
    path = model.to_onnx(tmp_path / "m.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    outputs, *more = ReferenceEvaluator(str(path)).run(None, {"X": X})
    assert outputs.dtype == model.network.theta.dtype
    np.testing.assert_allclose(outputs, model.outputs(X), **TOLERANCE[dtype])
    told = {p.key: json.loads(p.value) for p in onnx.load(path).metadata_props}
    if problem.classes is None:
        assert (more, "classes" in told) == ([], False)
        return
    expected = model.predict_proba(X)
    expected = expected[:, 1:] if problem.aux[0][-1] == 1 else expected
    np.testing.assert_allclose(more[0], expected, rtol=1e-5, atol=1e-6)
    assert told["classes"] == [*map(str, problem.classes.tolist())]


def same(kind, found, expected):
    """Numbers to 1e-5, labels exactly."""
    if kind == "poisson":
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("hidden", [(), (8,)])
@pytest.mark.parametrize("kind", LINKS)
def test_models_of_other_links(kind, hidden, tmp_path):
    """Margins, means of counts, and several labels a row."""
    model, problem, X = made(kind, hidden=hidden)
    z = model.to_torch()(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(z, model.outputs(X), rtol=1e-6, atol=1e-6)
    path = model.to_onnx(tmp_path / "m.onnx")
    outputs, *more = ReferenceEvaluator(str(path)).run(None, {"X": X})
    np.testing.assert_allclose(outputs, z, rtol=1e-6, atol=1e-6)
    assert len(more) == (kind == "multilabel")
    clear = X[(np.abs(z) > 1e-5).all(axis=1)]
    expected = {
        "hinge": lambda: problem.classes[(z[:, 0] > 0).astype(int)],
        "poisson": lambda: np.exp(z[:, 0]),
        "multilabel": lambda: (z > 0).astype(int),
    }[kind]()
    found = model.predict(X)
    same(kind, found, expected)
    again = Model.load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), found)
    np.testing.assert_array_equal(Ensemble([model, again]).predict(X), found)
    if kind == "hinge":
        with pytest.raises(SpecError, match=r"no probabilities; use decision_function\(X\)"):
            model.predict_proba(X)
    if kind == "hinge" and hidden:
        with pytest.raises(SpecError, match="MLPClassifier has no hinge"):
            model.to_sklearn()
        return
    same(kind, model.to_sklearn().predict(clear), model.predict(clear))
    assert model.score(X, found) == 1.0


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_modules_of_activations_are_what_networks_compute(name):
    z = np.linspace(-9, 9, 1001, dtype=np.float32).reshape(7, -1)
    expected = torch_modules.ACTIVATIONS[name]()(torch.from_numpy(z)).numpy()
    kernel(call_template, layers_of(name).activate)(found := z.copy())
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_every_activation_has_a_module_and_an_operator():
    assert {*ACTIVATIONS} == {*torch_modules.ACTIVATIONS}
    assert {*torch_modules.ACTIVATIONS} == {*onnx_graphs.ACTIVATIONS}
    assert {*estimators.ACTIVATIONS} <= {*torch_modules.ACTIVATIONS}


@pytest.mark.parametrize("name", torch_modules.ACTIVATIONS)
def test_modules_and_operators_of_activations_agree(name, tmp_path):
    """Two libraries' words for one function; ours is compared with them above."""
    model = made("three")[0].bare()
    facts = model.network.theta, model.network.sizes, name, model.network.loss
    model = Model(Network(*facts))
    path, X = model.to_onnx(tmp_path / "m.onnx"), rows_of() / 100
    with torch.no_grad():
        z = model.to_torch()(torch.from_numpy(X.astype(np.float32))).numpy()
    np.testing.assert_allclose(ReferenceEvaluator(str(path)).run(None, {"X": X})[0], z, atol=2e-6)
    if name in estimators.ACTIVATIONS:
        np.testing.assert_array_equal(model.to_sklearn().predict(X), z.argmax(axis=1))
    else:
        with pytest.raises(SpecError, match=f"no activation '{name}', only relu"):
            model.to_sklearn()


@pytest.mark.parametrize(
    ("library", "module"), [("torch", "torch_modules"), ("onnx", "onnx_graphs")]
)
def test_a_missing_library_is_named(library, module, monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, f"sweeps.models.{module}")
    monkeypatch.setitem(sys.modules, library, None)
    model = made("three")[0]
    with pytest.raises(ImportError, match=rf'pip install "fastopt\[{library}\]"'):
        model.to_torch() if library == "torch" else model.to_onnx(tmp_path / "m")


def test_gaps_are_filled_in_everywhere(tmp_path):
    model, _, X = made("three")
    entries = [
        Number(e.column, e.mean, e.scale, 2.0 * k) for k, e in enumerate(model.preprocess.entries)
    ]
    model = Model(model.network, classes=model.classes, preprocess=Columns(4, entries[::-1]))
    X = np.where(X > 1, np.nan, X)
    z = model.outputs(X)
    path = model.to_onnx(tmp_path / "m.onnx")
    np.testing.assert_allclose(ReferenceEvaluator(str(path)).run(None, {"X": X})[0], z, atol=1e-6)
    np.testing.assert_allclose(
        model.to_torch()(torch.from_numpy(X)).detach().numpy(), z, rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(
        model.to_sklearn().predict_proba(X), model.predict_proba(X), rtol=1e-5, atol=1e-6
    )


# --- scikit-learn's transformers as plain data ----------------------------------------------------


def table(rows=60, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": rng.normal(size=rows) * 7 + 100,
            "n": rng.integers(0, 4, rows),
            "t": rng.choice(["x", "y", "z"], rows),
            "u": rng.choice(["p", "q", None], rows),
            "b": rng.random(rows) > 0.5,
            "left": rng.normal(size=rows),
        }
    )
    frame.loc[3:7, "a"] = np.nan
    return frame


NUMBERS = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
TEXTS = make_pipeline(
    SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
)
TRANSFORMERS = {
    "table": (
        ColumnTransformer(
            [("t", TEXTS, ["t", "u"]), ("n", NUMBERS, ["n", "a"]), ("l", "drop", ["left"])],
            remainder="passthrough",
        ),
        slice(None),
    ),
    "slices and masks": (
        ColumnTransformer(
            [
                ("one", RobustScaler(), slice(1, 2)),
                ("two", SimpleImputer(), [True, False, False, False, False, False]),
                ("three", OneHotEncoder(drop="first", handle_unknown="ignore"), [2, 3]),
            ],
            sparse_threshold=1.0,
        ),
        slice(None),
    ),
    "slices of names": (
        ColumnTransformer(
            [
                ("one", SimpleImputer(), slice("a", "n")),
                ("two", "passthrough", slice("b", None)),
                ("three", OneHotEncoder(handle_unknown="ignore"), slice("t", "u")),
            ],
            sparse_threshold=0.0,
        ),
        slice(None),
    ),
    "numbers": (make_pipeline(SimpleImputer(), MaxAbsScaler()), ["a", "n"]),
    "kept": (SimpleImputer(strategy="constant", fill_value=-1.0), ["a", "left"]),
    "only scale": (StandardScaler(with_mean=False), ["n", "left"]),
    "text": (OneHotEncoder(drop="if_binary", handle_unknown="ignore"), ["b", "t", "u"]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_plain_data_make_the_features_that_the_transformer_makes(name):
    transformer, chosen = TRANSFORMERS[name]
    known, new = (
        table()[table().columns[chosen] if isinstance(chosen, slice) else chosen],
        table(40, 1),
    )
    new = new[known.columns].astype({c: object for c in ("t", "b") if c in known})
    if "t" in new:
        new.loc[0, "t"] = "never seen"
    fitted = clone(transformer).fit(known)
    columns = columns_of(fitted)
    for frame in (known, new):
        made = fitted.transform(frame)
        made = made.toarray() if hasattr(made, "toarray") else made
        found = columns.transform(frame, list(frame.columns))
        np.testing.assert_array_equal(found, np.asarray(made, float))
    assert columns.width == found.shape[1]


def test_a_category_that_nobody_knows_is_refused_by_place_where_the_encoder_would():
    columns = columns_of(OneHotEncoder().fit(table()[["t"]]))
    with pytest.raises(ArrayError, match=r"row 1, column 'kind': 'w' is no category .*'x', 'y'"):
        columns.transform([["x"], ["w"]], ["kind"])


REFUSED = {
    "OrdinalEncoder": OrdinalEncoder(),
    "MinMaxScaler": MinMaxScaler(),
    "OneHotEncoder with min_frequency": OneHotEncoder(min_frequency=2),
    "StandardScaler after another scaler": make_pipeline(StandardScaler(), StandardScaler()),
    r"SimpleImputer\(missing_values=0": SimpleImputer(missing_values=0),
    "RobustScaler with unit_variance": RobustScaler(unit_variance=True),
    r"FunctionTransformer\(log1p\)": FunctionTransformer(np.log1p),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_plain_data_cannot_say_is_refused_by_name(name):
    fitted = REFUSED[name].fit(table()[["n", "left"]].round())
    with pytest.raises(SpecError, match=name):
        columns_of(fitted)


def test_a_model_behind_a_table_of_text():
    """The transformer itself and its plain data give the same; torch takes the features."""
    frame = table()
    before = TRANSFORMERS["table"][0].fit(frame)
    width = np.asarray(before.transform(frame)).shape[1]
    theta = np.random.default_rng(0).normal(size=(width + 1) * 3).astype(np.float32)
    network = Network(theta, (width, 3), "relu", "softmax_cross_entropy")
    classes, names = np.array(["k", "l", "m"]), list(frame.columns)
    model = Model(network, classes=classes, preprocess=before, feature_names=names)
    plain = Model(network, classes=classes, preprocess=columns_of(before), feature_names=names)
    np.testing.assert_array_equal(model.outputs(frame), plain.outputs(frame[names[::-1]]))
    for each in (model, plain):
        clear = told_apart_frame(each, frame)
        np.testing.assert_array_equal(each.to_sklearn().predict(clear), each.predict(clear))
        with pytest.raises(SpecError, match=r"to_torch: .*model\.bare\(\)\.to_torch"):
            each.to_torch()
    features = torch.from_numpy(model.transform(frame))
    np.testing.assert_allclose(
        model.bare().to_torch()(features).detach().numpy(),
        model.outputs(frame),
        rtol=1e-5,
        atol=1e-6,
    )
    assert isinstance(plain.preprocess.entries[0], Category)


def told_apart_frame(model, frame):
    z = np.sort(model.outputs(frame), axis=1)
    return frame[z[:, -1] - z[:, -2] > 1e-5]
