"""A compiled search beside GridSearchCV on the same grid: all that both leave behind."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import HuberRegressor, Lasso, LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, TimeSeriesSplit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler, TargetEncoder

from fastopt.errors import FastoptError, SpecError
from sweeps.sklearn import SweepClassifier, SweepSearchCV

X, Y = load_iris(return_X_y=True)
GROUPS = np.arange(len(Y)) % 7
WEIGHTS = np.random.default_rng(0).integers(0, 3, len(Y)).astype(float)
TIMES = ("mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time")
GRID = {"alpha": [1e-4, 1.0], "solver": ["sgd", "adam"]}


def own(**given):
    settings = {"hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 0, "dtype": "float64"}
    return SweepClassifier(**{**settings, **given})


def both(estimator, grid, *rows, fit=None, **options):
    """Fit a compiled search and scikit-learn's."""
    searches = []
    for kind in (SweepSearchCV, GridSearchCV):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search = kind(estimator, grid, **{"cv": 3, **options})
            searches.append(search.fit(*(rows or (X, Y)), **(fit or {})))
    return searches


def assert_alike(ours, theirs, rtol=0.0):
    """Keys in their order, types, masks and scores; and every attribute that is left."""
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for name, expected in theirs.cv_results_.items():
        found = ours.cv_results_[name]
        assert type(found) is type(expected), name
        if name == "params":
            assert found == expected
            continue
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), name
        assert np.array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(expected))
        if name not in TIMES and found.dtype.kind == "f":
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol, err_msg=name)
    assert {k for k in vars(theirs) if k.endswith("_")} == {k for k in vars(ours) if k[-1] == "_"}
    for name in ("best_index_", "best_params_", "multimetric_", "n_splits_"):
        assert getattr(ours, name, None) == getattr(theirs, name, None), name
    if hasattr(theirs, "best_score_"):
        assert ours.best_score_ == pytest.approx(theirs.best_score_, rel=rtol, abs=rtol)
    assert type(ours.scorer_) is type(theirs.scorer_)
    if hasattr(theirs, "best_estimator_"):
        np.testing.assert_array_equal(ours.predict(X[:9]), theirs.predict(X[:9]))


def figures(estimator, X, y):
    """Two scores, as a function of scikit-learn's users returns them."""
    hits = accuracy_score(y, estimator.predict(X))
    return {"hits": hits, "misses": -estimator.predict_proba(X).max(axis=1).mean()}


SCORINGS = {
    "a name": {"scoring": "neg_log_loss"},
    "a list": {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"},
    "a tuple, no refit": {"scoring": ("accuracy", "neg_log_loss"), "refit": False},
    "a dict": {
        "scoring": {"b": make_scorer(accuracy_score), "a": "neg_log_loss"}, "refit": "a",
        "return_train_score": True,
    },
    "a function": {"scoring": figures, "refit": "misses"},
    "refit by a function": {
        "scoring": ["accuracy", "neg_log_loss"],
        "refit": lambda results: int(results["rank_test_neg_log_loss"].argmax()),
    },
    "one score, refit by a function": {"refit": lambda results: 1, "return_train_score": True},
    "no refit": {"refit": False},
}  # fmt: skip


@pytest.mark.parametrize("name", SCORINGS)
def test_scorings_and_refits_leave_what_grid_search_leaves(name):
    assert_alike(*both(own(), GRID, **SCORINGS[name]))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scoring": ["accuracy", "neg_log_loss"]}, "For multi-metric scoring"),
        ({"scoring": ["accuracy"], "refit": "f1"}, "For multi-metric scoring"),
        ({"scoring": "no score"}, "scoring"),
        ({"scoring": figures}, "For multi-metric scoring"),
        ({"refit": lambda results: 99}, "best_index_ index out of range"),
        ({"refit": lambda results: 0.5}, "best_index_ returned is not an integer"),
        ({"cv": 1}, "Got 1 instead"),
    ],
)
def test_what_grid_search_refuses_is_refused_in_its_words(options, says):
    for kind in (SweepSearchCV, GridSearchCV):
        with pytest.raises((ValueError, TypeError, IndexError), match=says):
            kind(own(), GRID, **{"cv": 2, **options}).fit(X, Y)


@pytest.mark.parametrize("piped", [False, True])
def test_metadata_goes_where_it_is_asked_for(piped):
    with sklearn.config_context(enable_metadata_routing=True):
        net = own().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        estimator = make_pipeline(scaler, net) if piped else net
        if hasattr(estimator, "set_score_request"):  # scikit-learn 1.7 asks pipelines, too
            estimator.set_score_request(sample_weight=True)
        grid = {"sweepclassifier__alpha": [0.1, 1.0]} if piped else {"alpha": [0.1, 1.0]}
        cv = GroupKFold(3).set_split_request(groups=True)
        fit = {"sample_weight": WEIGHTS, "groups": GROUPS}
        assert_alike(*both(estimator, grid, cv=cv, fit=fit))
        silent = make_pipeline(StandardScaler(), own()) if piped else own()
        for kind in (SweepSearchCV, GridSearchCV):
            with pytest.raises(ValueError, match="sample_weight"):
                kind(silent, grid, cv=2).fit(X, Y, sample_weight=WEIGHTS)


def test_groups_go_to_the_splitter_and_weights_to_the_last_step():
    fit = {"groups": GROUPS, "own__sample_weight": WEIGHTS}
    estimator = Pipeline([("scale", StandardScaler()), ("own", own())])
    assert_alike(*both(estimator, {"own__alpha": [0.1, 1.0]}, cv=GroupKFold(3), fit=fit))
    order = np.random.default_rng(0).permutation(len(Y))  # or no fold had rows of all classes
    rows, fit = (X[order], Y[order]), {"groups": GROUPS}
    assert_alike(*both(own(), {"alpha": [0.1]}, *rows, cv=TimeSeriesSplit(3), fit=fit))


# --- pipelines ------------------------------------------------------------------------------------

TABLE = pd.DataFrame({
    "kind": np.array(["red", "white", "rose", "grey"])[np.arange(len(Y)) * 3 % 4],
    "a": np.where(np.arange(len(Y)) % 5, X[:, 0], np.nan),
    "b": X[:, 2],
})  # fmt: skip
NAMES = np.array(["x", "y", "z"])[Y]


def mixed(last, encoder=None):
    encoder = encoder or OneHotEncoder(handle_unknown="ignore")
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    before = make_column_transformer((encoder, ["kind"]), (numbers, ["a", "b"]))
    return Pipeline([("before", before), ("last", last)])


PIPELINES = {
    "names, gaps and text": (mixed(own()), {"last__alpha": [1e-4, 1.0]}, (TABLE, NAMES), 0.0),
    "a transformer that looks at targets": (
        mixed(Ridge(), TargetEncoder(random_state=0)), {"last__alpha": [0.1, 9.0]},
        (TABLE, X[:, 1]), 1e-6,
    ),
    "one step": (Pipeline([("last", own())]), {"last__alpha": [1e-4, 1.0]}, (X, Y), 0.0),
    "passthrough": (
        Pipeline([("no", "passthrough"), ("last", own())]), {"last__alpha": [1e-4]}, (X, Y), 0.0,
    ),
    "frames between": (
        make_pipeline(StandardScaler().set_output(transform="pandas"), SelectKBest(k=2), own()),
        {"sweepclassifier__alpha": [1e-4]}, (TABLE[["b"]].assign(c=X[:, 1], d=X[:, 0]), Y), 0.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_are_fitted_on_the_training_rows_of_each_fold(name):
    estimator, grid, rows, rtol = PIPELINES[name]
    before = pickle.dumps(estimator)
    ours, theirs = both(estimator, grid, *rows, return_train_score=True)
    assert pickle.dumps(estimator) == before  # the one that was given stays as it was
    for name, expected in theirs.cv_results_.items():
        if name.endswith("_score"):
            np.testing.assert_allclose(ours.cv_results_[name], expected, rtol=rtol, atol=rtol)
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    assert type(ours.best_estimator_) is Pipeline
    np.testing.assert_array_equal(ours.predict(rows[0]), theirs.predict(rows[0]))


def test_the_best_network_of_scikit_learns_comes_with_its_fitted_steps():
    net = MLPClassifier((8,), max_iter=60, learning_rate_init=0.05, random_state=0)
    search = SweepSearchCV(mixed(net), {"last__alpha": [1e-4, 30.0]}, cv=3).fit(TABLE, NAMES)
    again = pickle.loads(pickle.dumps(clone(search).fit(TABLE, NAMES)))
    best = search.best_estimator_
    assert best.named_steps["last"].coefs_[0].shape == (6, 8)
    assert best.named_steps["last"].alpha == search.best_params_["last__alpha"] == 1e-4
    assert best.score(TABLE, NAMES) > 0.8
    np.testing.assert_array_equal(search.feature_names_in_, TABLE.columns)
    np.testing.assert_array_equal(best.predict_proba(TABLE), again.predict_proba(TABLE))


def test_no_row_of_a_fold_that_is_scored_changes_its_training():
    kept = []

    def scorer(fitted, X, y):
        kept.append(fitted.named_steps["last"].coefs_[0].copy())
        return 0.0

    split = [(np.flatnonzero(np.arange(150) % 3), np.arange(0, 150, 3))]
    other = TABLE.copy()
    other.loc[::3, ["a", "b"]] = 1e6
    other.loc[::3, "kind"] = "unseen"
    for table in (TABLE, other):
        grid = {"before__pipeline__standardscaler__with_mean": [True, False]}
        search = SweepSearchCV(mixed(own()), grid, cv=split, scoring=scorer, refit=False)
        search.fit(table, Y)
    np.testing.assert_array_equal(kept[:2], kept[2:])
    assert (kept[0] != kept[1]).any()


def test_a_store_tells_folds_of_other_steps_apart(tmp_path):
    def search(scaler):
        estimator = Pipeline([("scale", scaler), ("last", own())])
        return SweepSearchCV(estimator, {"last__alpha": [1e-4]}, cv=3, store=tmp_path / "kept")

    first, again = (search(StandardScaler()).fit(X, Y) for _ in range(2))
    np.testing.assert_array_equal(*(s.cv_results_["mean_test_score"] for s in (first, again)))
    with pytest.raises(FastoptError, match=r"content|data|differ"):
        search(StandardScaler(with_std=False)).fit(X, Y)


REFUSED = {
    "trains SweepClassifier, .*, not it": (mixed(own()), {"last": [RandomForestClassifier()]}, {}),
    "chooses among classifiers, or among regressors, and the grid has both": (
        mixed(own()), {"last": [own(), Ridge()]}, {},
    ),
    "trains SweepClassifier, SweepRegressor, .*, not it": (mixed(RandomForestClassifier()), {}, {}),
    "passes arguments of fit to the last step, not to the step 'scale'": (
        Pipeline([("scale", StandardScaler()), ("last", own())]), {},
        {"scale__sample_weight": WEIGHTS},
    ),
    "trains SweepClassifier, .* not it": (FeatureUnion([("a", StandardScaler())]), {}, {}),
}  # fmt: skip


@pytest.mark.parametrize("says", REFUSED)
def test_pipelines_that_are_not_trained_compiled_are_refused_by_name(says):
    estimator, grid, fit = REFUSED[says]
    with pytest.raises(SpecError, match=f"{says}.* fallback=True runs it as GridSearchCV would"):
        SweepSearchCV(estimator, grid, cv=2, scoring="accuracy").fit(X, Y, **fit)


def test_steps_that_refuse_rows_are_named():
    estimator = mixed(LogisticRegression(), OneHotEncoder())
    table = TABLE.assign(kind=[f"kind {k}" for k in range(len(TABLE))])
    with pytest.raises(
        SpecError, match=r"the steps before LogisticRegression \(before\) refuse .*"
    ):
        SweepSearchCV(estimator, {}, cv=2).fit(table, Y)


@pytest.mark.parametrize(
    ("estimator", "grid", "fit", "says"),
    [
        (mixed(own()), {}, {"y": Y, "q__sample_weight": WEIGHTS}, "must be one of before, last"),
        (mixed(own()), {}, {}, "SweepClassifier is trained on targets; give y to fit"),
        (mixed("passthrough"), {}, {"y": Y}, "'passthrough' is no estimator; give it one"),
        (mixed(own()), {"last": ["passthrough"]}, {"y": Y}, "'passthrough' is no estimator"),
    ],
)
def test_what_no_pipeline_can_be_fitted_with_is_refused(estimator, grid, fit, says):
    with pytest.raises(SpecError, match=says):
        SweepSearchCV(estimator, grid, cv=2, scoring="accuracy").fit(TABLE, **fit)


def test_a_parameter_without_the_name_of_its_step_is_no_parameter():
    with pytest.raises(SpecError, match=r"no parameter alpha; use last__alpha"):
        SweepSearchCV(mixed(own()), {"alpha": [1.0]}, cv=2, fallback=True).fit(TABLE, NAMES)


def steps(last):
    return Pipeline([("scale", StandardScaler()), ("pca", PCA()), ("last", last)])


PRICES = X @ [1.0, -2.0, 0.5, 3.0] + np.random.default_rng(1).normal(size=len(X))
LINEAR = {"last": [Ridge(), Ridge(fit_intercept=False)], "last__alpha": [0.1, 9.0]}
VARIED = {
    "parameters of two steps": (
        steps(Ridge()),
        {"scale__with_mean": [True, False], "pca__n_components": [1, 3], "last__alpha": [0.1, 9.0]},
    ),
    "steps": (
        steps(Ridge()),
        {"scale": [MinMaxScaler(), "passthrough"], "pca": [PCA(2)], "last__alpha": [0.1, 9.0]},
    ),
    "estimators": (
        steps(Ridge()),
        [
            {**LINEAR, "pca__n_components": [2]},
            {"last": [HuberRegressor()], "last__alpha": [1e-4]},
            {"pca": ["passthrough"], "last": [Lasso()], "last__alpha": [0.1]},
        ],
    ),
    "networks": (steps(own()), {"pca__n_components": [1, 3], "last__alpha": [1e-4, 1.0]}),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIED)
def test_earlier_steps_vary_as_in_a_grid_search(name):
    """Scores of linear models at their minimum are those of scikit-learn's solvers."""
    estimator, grid = VARIED[name]
    y = Y if name == "networks" else PRICES
    ours, theirs = both(
        estimator, grid, X, y, return_train_score=True, cv=KFold(3, shuffle=True, random_state=0)
    )
    assert_alike(ours, theirs, 0.0 if name == "networks" else 1e-4)
    assert type(ours.best_estimator_) is Pipeline
    found, expected = (s.best_estimator_.get_params() for s in (ours, theirs))
    assert repr(found) == repr(expected)


def test_the_best_of_scikit_learns_networks_has_the_earlier_steps_that_won():
    net = MLPClassifier((8,), max_iter=60, learning_rate_init=0.05, random_state=0)
    space = {"pca__n_components": [1, 3], "scale__with_std": [True, False]}
    search = SweepSearchCV(steps(net), space, cv=3).fit(X, Y)
    best = search.best_estimator_
    for name, value in search.best_params_.items():
        assert best.get_params()[name] == value
    n = search.best_params_["pca__n_components"]
    assert best.named_steps["pca"].components_.shape == (n, 4)
    assert best.named_steps["last"].coefs_[0].shape == (n, 8)
    assert best.score(X, Y) > 0.9
    scores = search.cv_results_["mean_test_score"].reshape(2, 2)
    assert len(np.unique(scores)) > 2


def test_each_setting_of_earlier_steps_is_fitted_once_a_fold():
    """And the table is never seen as a whole but by the best one."""
    fits = []

    class Counting(StandardScaler):
        def fit(self, X, y=None, sample_weight=None):
            fits.append((self.with_mean, len(X)))
            return super().fit(X, y, sample_weight)

    estimator = Pipeline([("scale", Counting()), ("last", Ridge())])
    grid = {"scale__with_mean": [True, False], "last__alpha": [0.1, 1.0, 9.0]}
    SweepSearchCV(estimator, grid, cv=3).fit(X, X[:, 3])
    assert sorted(fits[:-1]) == [(False, 100)] * 3 + [(True, 100)] * 3
    assert fits[-1][1] == 150
