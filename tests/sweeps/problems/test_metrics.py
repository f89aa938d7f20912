"""Metrics against scikit-learn's functions, with and without weights."""

import functools
import math

import numpy as np
import pytest
from sklearn import metrics

from fastopt.compile import kernel
from fastopt.errors import SpecError
from sweeps import problems
from sweeps.problems.losses import LOSSES, constants_of
from sweeps.problems.metrics import (
    METRICS,
    check_metric,
    find_metric,
    names_of,
    score_function,
    scores_writer,
)
from sweeps.problems.mlp import BLOCK, aux_of, functions, n_parameters, work_per_row
from sweeps.problems.passes import Design
from tests.helpers.compiled import call_template

ROWS = 60
LOSS_OF = {
    "softmax": "softmax_cross_entropy",
    "two": "softmax_cross_entropy",
    "sigmoid": "logistic",
    "labels": "multilabel",
    "numbers": "squared_error",
    "means": "poisson",
}


def predictions(kind, rows=ROWS, seed=0):
    """Predictions with ties, and what they are predictions of."""
    rng = np.random.default_rng(seed)
    if kind in ("softmax", "two"):
        classes = 4 if kind == "softmax" else 2
        p = rng.integers(1, 5, (rows, classes)).astype(float)
        return p / p.sum(axis=1, keepdims=True), rng.integers(0, classes, rows)
    if kind == "sigmoid":
        return rng.integers(1, 10, (rows, 1)) / 10, rng.integers(0, 2, rows)
    if kind == "labels":
        return rng.integers(1, 10, (rows, 3)) / 10, rng.integers(0, 2, (rows, 3)).astype(float)
    shape = (rows, 2 if kind == "numbers" else 1)
    return rng.gamma(2.0, size=shape), rng.gamma(2.0, size=shape) + 0.1


def deviance(power):
    return functools.partial(metrics.mean_tweedie_deviance, power=power)


def chosen(p, y):
    if y.ndim == 2:
        return (p > 0.5).astype(float)
    return (p[:, 0] > 0.5).astype(int) if p.shape[1] == 1 else p.argmax(axis=1)


def of_classes(function, **options):
    return lambda y, p, sample_weight: function(
        y, chosen(p, y), sample_weight=sample_weight, **options
    )


def of_chances(function, **options):
    """Binary probabilities are those of class 1; of more classes, all of them."""

    def value(y, p, sample_weight):
        p = p[:, -1] if y.ndim == 1 and p.shape[1] <= 2 else p
        return function(y, p, sample_weight=sample_weight, **options)

    return value


def brier(y, p, sample_weight):
    """As ``brier_score_loss``, which takes more than two classes since scikit-learn 1.7."""
    if p.shape[1] <= 2:
        return metrics.brier_score_loss(y, p[:, -1], sample_weight=sample_weight)
    return np.average(((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1), weights=sample_weight)


F1 = of_classes(metrics.f1_score, average="macro", zero_division=0)
AUC = of_chances(metrics.roc_auc_score, multi_class="ovr")
ACCURACY = of_classes(metrics.accuracy_score)
BALANCED = of_classes(metrics.balanced_accuracy_score)
LOG_LOSS = of_chances(metrics.log_loss)
CASES = [
    *(("accuracy", kind, ACCURACY) for kind in ("softmax", "two", "sigmoid", "labels")),
    *(("balanced_accuracy", kind, BALANCED) for kind in ("softmax", "sigmoid")),
    *(("f1", kind, of_classes(metrics.f1_score)) for kind in ("two", "sigmoid")),
    *(("f1_macro", kind, F1) for kind in ("softmax", "sigmoid", "labels")),
    *(("roc_auc", kind, AUC) for kind in ("softmax", "two", "sigmoid", "labels")),
    *(("log_loss", kind, LOG_LOSS) for kind in ("softmax", "two", "sigmoid")),
    *(("brier", kind, brier) for kind in ("softmax", "two", "sigmoid")),
    ("mse", "numbers", metrics.mean_squared_error),
    ("rmse", "numbers", metrics.root_mean_squared_error),
    ("mae", "numbers", metrics.mean_absolute_error),
    ("r2", "numbers", metrics.r2_score),
    ("pinball", "numbers", metrics.mean_pinball_loss),
    ("poisson_deviance", "means", metrics.mean_poisson_deviance),
    ("gamma_deviance", "means", metrics.mean_gamma_deviance),
    ("tweedie_deviance", "means", deviance(1.5)),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "kind", "expected"), CASES)
def test_metrics_are_scikit_learns(name, kind, expected, weighted):
    p, y = predictions(kind)
    weights = np.random.default_rng(1).integers(0, 4, ROWS) / 2.0 if weighted else None
    assert LOSSES[LOSS_OF[kind]].task in METRICS[name].tasks
    actual = METRICS[name].function(p, y, weights)
    assert actual == pytest.approx(expected(y, p, sample_weight=weights), rel=1e-12)


def test_f1_is_of_one_class_of_two():
    """As scikit-learn's f1_score, which refuses more; test_f1 of class 1 of three says little."""
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 3
    with pytest.raises(SpecError, match=r"f1 is of one class of two, and there are 3 .* f1_macro"):
        problems.mlp(X, y, metrics=["f1"])
    assert problems.mlp(X, y > 0, metrics="f1").metrics == ("f1",)


def test_every_metric_is_tested():
    assert {name for name, *_ in CASES} == set(METRICS)


@pytest.mark.parametrize(("name", "kind", "expected"), CASES)
def test_a_row_of_weight_k_is_k_rows_and_of_weight_zero_none(name, kind, expected):
    p, y = predictions(kind)
    times = np.random.default_rng(2).integers(0, 4, ROWS)
    function = METRICS[name].function
    actual = function(p, y, times.astype(float))
    repeated = function(np.repeat(p, times, 0), np.repeat(y, times, 0), None)
    assert actual == pytest.approx(repeated, rel=1e-12)


def test_what_is_undefined_is_nan_or_what_scikit_learn_says():
    p, y = predictions("sigmoid")
    auc = METRICS["roc_auc"].function
    assert math.isnan(auc(p, np.zeros_like(y), None))
    assert math.isnan(auc(np.where(p > 0.5, p, np.nan), y, None))
    assert METRICS["f1"].function(np.zeros_like(p), np.zeros_like(y), None) == 0
    constant = np.ones((5, 1))
    assert METRICS["r2"].function(constant, constant, None) == 1
    for c in (1.0, 0.1, -0.731062009672552, 1e12 + 0.1, 1e-9):  # means of these are not exact
        for n in (5, 11, 1000):
            y, weights = np.full((n, 1), c), np.random.default_rng(n).random(n)
            assert METRICS["r2"].function(y + 1, y, None) == 0
            assert METRICS["r2"].function(y + 1, y, weights) == 0
    sure = np.array([[0.0], [1.0]])
    expected = metrics.log_loss([1, 1], sure[:, 0], labels=[0, 1])
    assert METRICS["log_loss"].function(sure, np.array([1, 1]), None) == pytest.approx(expected)


def test_metrics_of_a_constant_take_the_losses_own():
    p, y = predictions("numbers")
    constants = constants_of("quantile", {"quantile": 0.9})
    expected = metrics.mean_pinball_loss(y, p, alpha=0.9)
    assert score_function("pinball", "quantile")(p, y, None, constants) == pytest.approx(expected)
    expected = metrics.mean_pinball_loss(y, p)
    none = constants_of("squared_error")
    assert score_function("pinball", "squared_error")(p, y, None, none) == pytest.approx(expected)
    p, y = predictions("means")
    for power in (0.0, 1.0, 1.2, 2.0, 3.0):
        constants = constants_of("tweedie", {"variance_power": power})
        actual = score_function("tweedie_deviance", "tweedie")(p, y, None, constants)
        expected = metrics.mean_tweedie_deviance(y, p, power=power)
        assert actual == pytest.approx(expected, rel=1e-12)


def surprise(outputs, y, weights):
    """A metric of the user's: the largest -log p of a class."""
    most = 0.0
    for i in range(outputs.shape[0]):
        most = max(most, -math.log(outputs[i, y[i]]))
    return most


def scored(loss, given, y, made, weighted):
    """What a network's score says, and its outputs after the link."""
    rng = np.random.default_rng(5)
    sizes = (3, 4, 1 if LOSSES[loss].task == "binary" else 3)
    X = rng.normal(size=(len(y), 3))
    theta = rng.normal(size=n_parameters(sizes))
    aux = aux_of(sizes, "tanh", constants_of(loss))
    outputs, out = np.empty((len(y), sizes[-1])), np.full(len(given), np.nan)
    work = np.empty(work_per_row(sizes) * BLOCK)
    kernel(call_template, made.score)(theta, X, y, aux, work, outputs, out)
    loss_of_rows = made.evaluate(theta, X, y, aux, np.empty_like(theta), work)
    return outputs, out, loss_of_rows


@pytest.mark.parametrize("weighted", [False, True])
def test_networks_score_whole_sets(weighted):
    """More rows than a block, compiled, by our metrics and one of the user's."""
    rows = BLOCK + 44
    labels = np.random.default_rng(4).integers(0, 3, rows)
    weights = np.random.default_rng(3).integers(1, 4, rows) / 2.0 if weighted else None
    y = np.column_stack([labels, weights]).astype(float) if weighted else labels
    given = ("log_loss", surprise, *([] if weighted else ["roc_auc"]))
    made = functions("softmax_cross_entropy", weighted, given, Design("tanh"), np.zeros(1))
    p, out, (loss, accuracy) = scored("softmax_cross_entropy", given, y, made, weighted)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    expected = metrics.log_loss(labels, p, sample_weight=weights)
    assert out[0] == pytest.approx(expected, rel=1e-12)
    assert out[1] == pytest.approx(-np.log(p[np.arange(rows), labels]).min(), rel=1e-12)
    assert loss == pytest.approx(expected, rel=1e-12)
    right = metrics.accuracy_score(labels, p.argmax(axis=1), sample_weight=weights)
    assert accuracy == pytest.approx(right)
    if not weighted:
        assert out[2] == pytest.approx(metrics.roc_auc_score(labels, p, multi_class="ovr"))


def test_names_and_users_functions():
    assert names_of(("accuracy", surprise), "logistic") == ("accuracy", "surprise")
    assert names_of("mae", "huber") == ("mae",)
    assert names_of(surprise, "logistic") == ("surprise",)
    assert score_function(surprise, "logistic") is score_function(surprise, "logistic")
    check_metric(surprise, np.full((2, 2), 0.5), np.array([0, 1]), None)
    out = np.zeros(2)
    both = scores_writer((score_function(surprise, "focal"), score_function("accuracy", "focal")))
    both(np.full((2, 2), 0.5), np.array([0, 1]), None, np.zeros(1), out)
    np.testing.assert_allclose(out, [math.log(2), 0.5])


def text(outputs, y, weights):
    return "good"


def accuracy(outputs, y, weights):
    return 1.0


REFUSED = {
    "unknown": (("acuracy", "logistic"), "did you mean 'accuracy'"),
    "of a regression": (("r2", "logistic"), "r2 does not fit the loss logistic"),
    "of chances": (("brier", "hinge"), "brier does not fit the loss hinge"),
    "of another loss": (("r2", "logstic"), "did you mean 'logistic'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_metrics_are_refused(name):
    arguments, message = REFUSED[name]
    with pytest.raises(SpecError, match=message):
        find_metric(*arguments)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("mae", "mae"), "mae is there twice"),
        ((accuracy,), "accuracy is a metric of ours"),
        ((lambda outputs, y, weights: 0.0,), "a lambda has none"),
    ],
)
def test_wrong_names_are_refused(given, message):
    with pytest.raises(SpecError, match=message):
        names_of(given, "squared_error")


def test_wrong_functions_are_refused():
    with pytest.raises(SpecError, match="text must return a number; it returned 'good'"):
        check_metric(text, np.ones((2, 1)), np.ones((2, 1)), None)
    for wrong in (max, lambda outputs, y: 0.0):
        with pytest.raises(SpecError, match="must be a plain function f\\(outputs, y, weights\\)"):
            score_function(wrong, "logistic")
