"""A saved model is the model that is loaded, or the file is refused."""

from __future__ import annotations

import json
import shutil
import struct

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given
from safetensors.numpy import load_file, save_file
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from fastopt.digest import DIGEST, digest
from fastopt.errors import SpecError, StateError
from sweeps.models import files
from sweeps.models.columns import Category, Columns, Gap, Number
from sweeps.models.ensemble import Ensemble
from sweeps.models.model import Model
from sweeps.models.network import Network
from sweeps.models.trained import model_of
from tests.sweeps.models.made import KINDS, made


def everything(model):
    """What a model is, as plain Python."""
    classes = model.classes
    labels = None if classes is None else (classes.dtype.str, classes.tolist())
    network = model.network
    numbers = network.theta.tobytes(), network.theta.dtype, network.sizes
    named = network.activation, network.loss, dict(network.constants)
    before = None if model.preprocess is None else msgspec.to_builtins(model.preprocess)
    return (
        numbers,
        named,
        labels,
        before,
        model.feature_names,
        model.target_name,
        model.kinds,
        model.about,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_loaded_is_what_was_saved(kind, dtype, tmp_path):
    model, _, X = made(kind, dtype=dtype)
    path = model.save(tmp_path / "m.safetensors")
    again = Model.load(path)
    assert everything(again) == everything(model)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.outputs(X), model.outputs(X))
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    weights = load_file(path)
    for name, array in model.weights.items():  # any program finds them
        np.testing.assert_array_equal(weights[name], array)


LABELS = [
    np.array([False, True]),
    np.array([-5, 2**62]),
    np.array([0, 2**64 - 1], np.uint64),
    np.array([0.1, 1e300]),
    np.array(["", 'é"\n\0b']),
    np.array(["a", "b"], "<U9"),
    np.array([b"\xff", b"a"]),
    np.array(["2020-01-01", "2021-01-01"], "M8[D]"),
]


def with_facts(model, **changed):
    facts = {
        name: getattr(model, name)
        for name in ("classes", "preprocess", "feature_names", "target_name", "about")
    }
    return Model(changed.pop("network", model.network), **{**facts, **changed})


@pytest.mark.parametrize("classes", LABELS, ids=lambda a: str(a.dtype))
def test_labels_of_every_dtype_come_back(classes, tmp_path):
    model = with_facts(made("logistic")[0], classes=classes)
    again = Model.load(model.save(tmp_path / "m"))
    assert again.classes.dtype == classes.dtype
    np.testing.assert_array_equal(again.classes, classes)


ENTRIES = [
    Number(0, 0.1, 1e-300, fill=-1.5),
    Gap(1, 0.25, 0.5),
    Category(2, ["a", 3, None, 0.5], fill="a", dropped=1, refuses_unknown=True),
]


def test_preprocessing_names_and_what_is_told_come_back(tmp_path):
    network = made("three")[0].network
    network = Network(np.resize(network.theta, 8 * 6 + 27), (5, 8, 3), "tanh", network.loss)
    model = Model(
        network,
        preprocess=Columns(4, ENTRIES),
        feature_names=["a", "b", "ç", ""],
        target_name="y",
        about={"problem": "p", "trial_id": 7, "params": {"lr": 0.1, "s": None, "b": True}},
    )
    assert everything(Model.load(model.save(tmp_path / "m"))) == everything(model)


def test_a_fitted_scaler_is_saved_as_numbers_and_others_are_refused_by_name(tmp_path):
    model, _, X = made("three")
    scaled = with_facts(model, preprocess=StandardScaler().fit(X))
    again = Model.load(scaled.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.outputs(X), model.outputs(X))
    ranks = QuantileTransformer(n_quantiles=9).fit(X)
    before = (tmp_path / "m").read_bytes()
    with pytest.raises(SpecError, match=r"QuantileTransformer cannot be .* model\.bare\(\)"):
        with_facts(model, preprocess=ranks).save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == before


def test_what_is_told_of_a_model_is_plain(tmp_path):
    model = with_facts(made("three")[0], about={"params": {"lr": [1]}})
    with pytest.raises(SpecError, match=r"model\.about cannot be saved: .*params"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_loading_and_predicting_imports_no_other_library(python, tmp_path):
    model, _, X = made("three")
    path = model.save(tmp_path / "m")
    np.save(tmp_path / "X.npy", X)
    code = (
        "import sys, numpy as np\n"
        "from sweeps import Model\n"
        f"model = Model.load({str(path)!r})\n"
        f"print(model.predict(np.load({str(tmp_path / 'X.npy')!r})).tolist())\n"
        "print({'sklearn', 'torch', 'pickle5', 'onnx'} & {*sys.modules})"
    )
    predicted, imported = python(code).stdout.splitlines()
    assert json.loads(predicted.replace("'", '"')) == model.predict(X).tolist()
    assert imported == "set()"


# --- damaged and hostile files --------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The bytes of a file, what is in it, and a place to write others."""
    folder = tmp_path_factory.mktemp("models")
    model = made("logistic")[0]
    return model.save(folder / "good").read_bytes(), everything(model), folder / "bad"


def refused_or_alike(content, known, path):
    """Load a file: either an error of ours, or exactly the model that was saved."""
    path.write_bytes(content)
    try:
        found = everything(Model.load(path))
    except StateError:
        return True
    assert found == known
    return False


@given(st.data())
def test_a_changed_byte_is_never_another_model(saved, data):
    content, known, path = saved
    place = data.draw(st.integers(0, len(content) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = bytearray(content)
    changed[place] ^= flip
    refused_or_alike(bytes(changed), known, path)


@pytest.mark.parametrize("most", [400, pytest.param(10**6, marks=pytest.mark.soak)])
def test_every_byte_flipped_is_refused_but_where_it_says_the_same(saved, most, counted):
    content, known, path = saved
    step = max(1, len(content) // most)
    accepted = []
    for place in range(0, len(content), step):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        if not refused_or_alike(bytes(changed), known, path):
            accepted.append(content[place : place + 1])
    assert set(accepted) <= {b" "}  # padding of the header
    counted(len(range(0, len(content), step)))


@pytest.mark.parametrize("part", range(25))
def test_a_file_that_was_cut_off_or_grew_is_refused(saved, part):
    content, known, path = saved
    assert refused_or_alike(content[: len(content) * part // 25], known, path)
    assert refused_or_alike(content + b"\0" * (part + 1), known, path)


def rewritten(path, edit, tensors=None):
    """Write a file whose digest is right and whose content is not: what an attacker can."""
    model = made("three")[0]
    good = model.save(path.with_suffix(".good"))
    size = struct.unpack("<Q", good.read_bytes()[:8])[0]
    header = json.loads(good.read_bytes()[8 : 8 + size])
    record = json.loads(header["__metadata__"][files.KEY])
    edit(record)
    text = json.dumps(record)
    own = load_file(good) if tensors is None else tensors(load_file(good))
    codes = {"float32": "F32", "float64": "F64", "int64": "I64"}
    flat = ((n, codes[a.dtype.name], a.shape, a.reshape(-1)) for n, a in own.items())
    save_file(own, path, {files.KEY: text, DIGEST: digest(text, flat)})


def put(*keys, value):
    def edit(record):
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = value

    return edit


FORGED = {
    "a version to come": (put("version", value=2), "format version"),
    "no version": (lambda r: r.pop("version"), "format version"),
    "something unknown": (put("run", value="import os"), "unknown field `run`"),
    "a loss": (put("loss", value="hope"), "loss 'hope' is none"),
    "an activation": (put("activation", value="sign"), "activation 'sign' is none"),
    "a dtype": (put("dtype", value="float16"), "dtype 'float16' is none"),
    "other widths": (put("sizes", value=[4, 9, 3]), "must be float32 of"),
    "no widths": (put("sizes", value=[]), "widths"),
    "widths below one": (put("sizes", value=[4, -8, 3]), "each is >= 1"),
    "more layers": (put("sizes", value=[4] * 10**5), "not those of layers"),
    "widths of text": (put("sizes", value=["4"]), "well formed"),
    "classes too many": (put("classes", "values", value=[*"abcd"]), "fit"),
    "classes of objects": (put("classes", "dtype", value="|O"), "dtype"),
    "long labels": (put("classes", "dtype", value="<U999999999"), "labels"),
    "other classes": (put("classes", "values", value=[0, 1, 2]), "do not fit"),
    "a column": (put("preprocess", "entries", 0, "column", value=4), "no sense"),
    "a scale of zero": (put("preprocess", "entries", 0, "scale", value=0.0), "no sense"),
    "fewer features": (lambda r: r["preprocess"]["entries"].pop(), "makes 3 features"),
    "an entry": (put("preprocess", "entries", 0, "type", value="pickle"), "well formed"),
    "names": (put("feature_names", value=["a"] * 4), "other names"),
    "a deep tale": (put("about", value={"a": json.loads("[" * 400 + "]" * 400)}), "well formed"),
    "a tale of axes": (put("about", "params", value=3), "well formed"),
    "a constant": (put("constants", value={"delta": 1.0}), "no such constant"),
    "binary": (lambda r: r.update(loss="logistic", constants={}), "classes do not fit"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_files_that_contradict_themselves_are_refused(name, tmp_path):
    edit, said = FORGED[name]
    rewritten(tmp_path / "m", edit)
    with pytest.raises(StateError, match=said):
        Model.load(tmp_path / "m")


TENSORS = {
    "one less": (lambda t: {k: a for k, a in t.items() if k != "layers.1.bias"}, "not those of"),
    "one more": (lambda t: {**t, "layers.2.bias": t["layers.1.bias"]}, "not those of"),
    "integers": (lambda t: {k: a.astype(np.int64) for k, a in t.items()}, "weights are F32"),
    "float64": (lambda t: {k: a.astype(float) for k, a in t.items()}, "must be float32"),
    "turned": (lambda t: {k: np.ascontiguousarray(a.T) for k, a in t.items()}, r"of \(8, 4\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_are_not_those_of_the_layers_are_refused(name, tmp_path):
    tensors, said = TENSORS[name]
    rewritten(tmp_path / "m", lambda record: None, tensors)
    with pytest.raises(StateError, match=said):
        Model.load(tmp_path / "m")


def test_other_files_are_refused(tmp_path):
    save_file({"a": np.zeros(1)}, tmp_path / "other")
    with pytest.raises(StateError, match=r"was not written by Model\.save"):
        Model.load(tmp_path / "other")
    shutil.copy("tests/golden/checkpoint_2.safetensors", tmp_path / "checkpoint")
    with pytest.raises(StateError, match=r"was not written by Model\.save"):
        Model.load(tmp_path / "checkpoint")
    with pytest.raises(OSError, match="is not a file"):
        Model.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        Model.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        made("three")[0].save(tmp_path / "no" / "m")


# --- ensembles ------------------------------------------------------------------------------------


def several(kind):
    """An ensemble of two networks of other widths, which predict the same."""
    model, problem, X = made(kind)
    wider = problem.varied(hidden="4-3")
    theta = np.random.default_rng(2).normal(size=wider.n_params)
    return Ensemble([model, model_of(wider, theta, {"trial_id": 5})]), X


@pytest.mark.parametrize("kind", ["three", "numbers"])
def test_an_ensemble_comes_back_whole_from_one_file(kind, tmp_path):
    ensemble, X = several(kind)
    path = ensemble.save(tmp_path / "both.safetensors")
    again = Ensemble.load(path)
    assert [*map(everything, again.models)] == [*map(everything, ensemble.models)]
    np.testing.assert_array_equal(again.predict(X), ensemble.predict(X))
    assert [p.name for p in tmp_path.iterdir()] == ["both.safetensors"]
    weights = load_file(path)
    assert len(weights) == sum(len(model.weights) for model in ensemble.models)
    for k, model in enumerate(ensemble.models):
        for name, array in model.weights.items():
            np.testing.assert_array_equal(weights[f"models.{k}.{name}"], array)


def forged_ensemble(path, edit=lambda record: None, tensors=lambda tensors: tensors):
    """Write an ensemble whose digest is right and whose content is not."""
    good = several("three")[0].save(path.with_suffix(".good"))
    size = struct.unpack("<Q", good.read_bytes()[:8])[0]
    record = json.loads(json.loads(good.read_bytes()[8 : 8 + size])["__metadata__"][files.SEVERAL])
    edit(record)
    own, text = tensors(load_file(good)), json.dumps(record)
    flat = ((n, "F32", a.shape, a.reshape(-1)) for n, a in own.items())
    save_file(own, path, {files.SEVERAL: text, DIGEST: digest(text, flat)})


OTHER_ENSEMBLES = {
    "none": ({"edit": put("models", value=[])}, "are of none of its 0 models"),
    "a model less": ({"edit": lambda r: r["models"].pop()}, "are of none of its 1 models"),
    "nothing": (
        {"edit": put("models", value=[]), "tensors": lambda t: {}},
        "(needs one model or more|InvalidHeader)",  # safetensors 0.4 reads no file of no tensors
    ),
    "a tensor less": (
        {"tensors": lambda t: {k: a for k, a in t.items() if k != "models.1.layers.0.bias"}},
        "not those of layers",
    ),
    "other losses": (
        {"edit": lambda r: r["models"][0].update(loss="focal", constants={})},
        "models that predict the same",
    ),
    "a version to come": ({"edit": put("version", value=2)}, "format version '2'"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_ENSEMBLES)
def test_ensembles_that_contradict_themselves_are_refused(name, tmp_path):
    given, said = OTHER_ENSEMBLES[name]
    forged_ensemble(tmp_path / "m", **given)
    with pytest.raises(StateError, match=rf"m: .*{said}"):
        Ensemble.load(tmp_path / "m")


def test_a_model_is_no_ensemble_and_an_ensemble_no_model(tmp_path):
    ensemble, _ = several("three")
    with pytest.raises(StateError, match=r"not written by Model\.save; .* Ensemble\.load\(path\)"):
        Model.load(ensemble.save(tmp_path / "many"))
    with pytest.raises(StateError, match=r"not written by Ensemble\.save; .* Model\.load\(path\)"):
        Ensemble.load(ensemble.models[0].save(tmp_path / "one"))
    content = bytearray((tmp_path / "many").read_bytes())
    content[-1] ^= 1
    (tmp_path / "many").write_bytes(bytes(content))
    with pytest.raises(StateError, match="many: the file is damaged"):
        Ensemble.load(tmp_path / "many")
