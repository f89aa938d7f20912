"""Losses against scikit-learn and torch, gradients against differences, weights against rows."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn import _loss, metrics

from fastopt.compile import kernel
from fastopt.errors import ArrayError, SpecError
from sweeps.problems.losses import LINKS, LOSSES, check_targets, constants_of, find_loss
from sweeps.problems.mlp import BLOCK, aux_of, functions, n_parameters, work_per_row
from sweeps.problems.passes import Design
from tests.helpers.compiled import call_template

ROWS, SIZES = 7, (3, 4, 1)
OTHERS = {
    "softmax_cross_entropy": {"label_smoothing": 0.1},
    "focal": {"focusing": 1.5},
    "huber": {"delta": 0.4},
    "quantile": {"quantile": 0.9},
    "smoothed_hinge": {"margin": 1.3, "smoothing": 0.6},
    "tweedie": {"variance_power": 1.2},
}
POWERS = [-1.0, 0.0, 1.0, 1.5, 2.0, 3.0]
CASES = [
    *((name, {}) for name in LOSSES),
    *OTHERS.items(),
    *(("tweedie", {"variance_power": power}) for power in POWERS),
]
every_case = pytest.mark.parametrize(("name", "given"), CASES, ids=str)


def outputs_and_targets(name, rows=ROWS, outputs=None, dtype=np.float64, seed=0):
    """Scores and targets that the loss takes."""
    rng, row = np.random.default_rng(seed), LOSSES[name]
    if row.task == "binary":
        return rng.normal(size=(rows, 1)).astype(dtype), rng.integers(0, 2, rows)
    outputs = outputs or 3
    z = rng.normal(size=(rows, outputs)).astype(dtype)
    if row.task == "classification":
        return z, rng.integers(0, outputs, rows)
    if row.task == "multilabel":
        return z, rng.integers(0, 2, z.shape).astype(dtype)
    return z, rng.gamma(2.0, size=z.shape).astype(dtype) + dtype(0.1)


def with_weights(y, weights):
    """Targets whose last column are weights."""
    return np.column_stack([y, weights]).astype(np.float64)


def total(name, z, y, weights=None, given=None, function=None):
    """Loss summed over rows, and its gradient."""
    slopes = z.copy()
    function = function or LOSSES[name].function
    constants = constants_of(name, given)
    if weights is None:
        return float(function(slopes, y, None, constants)), slopes
    packed = with_weights(y, weights)
    return float(function(slopes, packed, packed[:, -1], constants)), slopes


@every_case
def test_gradient_is_the_slope_of_the_loss(name, given):
    for outputs in (1, 3, 10) if LOSSES[name].task == "regression" else (2, 10):
        z, y = outputs_and_targets(name, outputs=outputs)
        weights = np.linspace(0.5, 2.0, ROWS)
        for w in (None, weights):
            _, actual = total(name, z, y, w, given)
            for place in itertools.product(*map(range, z.shape)):
                ends = []
                for h in (1e-6, -1e-6):
                    moved = z.copy()
                    moved[place] += h
                    ends.append(total(name, moved, y, w, given)[0])
                # h^2 f''' / 6 and eps |f| / h: below 1e-8 of losses of order one to a hundred.
                expected = (ends[0] - ends[1]) / 2e-6
                assert actual[place] == pytest.approx(expected, abs=1e-7, rel=1e-7)


def of_torch(name, z, y, given):
    """Sum of torch's losses."""
    f, c = torch.nn.functional, {**LOSSES[name].constants, **given}
    y = torch.tensor(y)
    if name == "softmax_cross_entropy":
        return f.cross_entropy(z, y, reduction="sum", label_smoothing=c["label_smoothing"])
    if name == "focal":
        log_p = f.log_softmax(z, 1)[torch.arange(len(y)), y]
        return -((1 - log_p.exp()) ** c["focusing"] * log_p).sum()
    if name in ("logistic", "multilabel"):
        y = y[:, None] if name == "logistic" else y
        return f.binary_cross_entropy_with_logits(z, y.double(), reduction="sum")
    if "hinge" in name:
        y = y[:, None] if LOSSES[name].task == "binary" else y
        lack = f.relu(c.get("margin", 1.0) - (2 * y - 1) * z)
        if "smoothed" in name:  # Huber's loss of what is lacking, to another scale
            return (
                f.huber_loss(lack, 0 * lack, delta=c["smoothing"], reduction="sum") / c["smoothing"]
            )
        return (lack**2 if "squared" in name else lack).sum()
    kinds = {
        "squared_error": lambda: f.mse_loss(z, y, reduction="sum"),
        "absolute_error": lambda: f.l1_loss(z, y, reduction="sum"),
        "huber": lambda: f.huber_loss(z, y, reduction="sum", delta=c["delta"]),
        "quantile": lambda: torch.maximum(c["quantile"] * (y - z), (c["quantile"] - 1) * (y - z)),
    }
    return kinds[name]().sum() / z.shape[1]


def of_scikit_learn(name, z, y, given):
    """Sum of scikit-learn's half deviances, each at its best zero."""
    kind = {
        "poisson": _loss.HalfPoissonLoss,
        "gamma": _loss.HalfGammaLoss,
        "tweedie": _loss.HalfTweedieLoss,
    }[name]
    constants = {**LOSSES[name].constants, **given}
    loss, y = kind(**{k.removeprefix("variance_"): v for k, v in constants.items()}), y.ravel()
    values, slopes = loss.loss_gradient(y_true=y, raw_prediction=z.ravel())
    best = loss.constant_to_optimal_zero(y_true=y)
    return (values + best).sum() / z.shape[1], slopes.reshape(z.shape) / z.shape[1]


@every_case
def test_losses_and_gradients_are_torchs_or_scikit_learns(name, given):
    for outputs in (1, 3) if LOSSES[name].task == "regression" else (2, 10):
        z, y = outputs_and_targets(name, outputs=outputs)
        actual, slopes = total(name, z, y, given=given)
        if LOSSES[name].link == "exp":
            expected, gradient = of_scikit_learn(name, z, y, given)
        else:
            tensor = torch.tensor(z, requires_grad=True)
            value = of_torch(name, tensor, y, given)
            value.backward()
            expected, gradient = value.item(), tensor.grad.numpy()
        # Sums of some 30 numbers of order one.
        assert actual == pytest.approx(expected, rel=1e-13, abs=1e-13)
        np.testing.assert_allclose(slopes, gradient, rtol=1e-13, atol=1e-14)


def test_losses_of_metrics():
    """Pinball and hinge have a function of scikit-learn's of their own."""
    z, y = outputs_and_targets("quantile", outputs=1)
    expected = metrics.mean_pinball_loss(y, z, alpha=0.9)
    assert total("quantile", z, y, given={"quantile": 0.9})[0] / ROWS == pytest.approx(expected)
    z, y = outputs_and_targets("hinge")
    assert total("hinge", z, y)[0] / ROWS == pytest.approx(metrics.hinge_loss(y, z[:, 0]))


@every_case
def test_a_row_of_weight_k_is_k_rows_and_of_weight_zero_none(name, given):
    z, y = outputs_and_targets(name)
    times = np.array([2, 0, 1, 3, 0, 1, 1])
    value, slopes = total(name, z, y, times, given)
    expected, each = total(name, np.repeat(z, times, 0), np.repeat(y, times, 0), given=given)
    assert value == pytest.approx(expected, rel=1e-13)
    firsts = np.cumsum(times)[times > 0] - times[times > 0]
    there = times[:, None] * np.ones_like(z)
    np.testing.assert_allclose(slopes[times > 0], (there[times > 0] * each[firsts]), rtol=1e-13)
    np.testing.assert_array_equal(slopes[times == 0], 0)


@pytest.mark.parametrize("name", LOSSES)
def test_nan_stays_nan_and_hits_are_weighed(name):
    z, y = outputs_and_targets(name)
    weights = np.arange(1.0, ROWS + 1)
    row = LOSSES[name]
    packed = with_weights(y, weights)
    if row.task == "regression":
        assert row.hits(z, y, None) < 0
        assert row.hits(z, packed, weights) < 0
    else:
        scores = z > 0 if row.task != "classification" else z.argmax(axis=1)
        guesses = scores[:, 0] if row.task == "binary" else scores
        shares = [metrics.accuracy_score(y, guesses, sample_weight=w) for w in (None, weights)]
        assert row.hits(z, y, None) == pytest.approx(shares[0] * ROWS)
        assert row.hits(z, packed, weights) == pytest.approx(shares[1] * weights.sum())
    z[2, 0] = np.nan
    value, slopes = total(name, z, y)
    assert math.isnan(value)
    assert np.isnan(slopes[2, 0])
    assert not np.isnan(np.delete(slopes, 2, axis=0)).any()


def of_network(made, theta, X, y, aux):
    """Loss, gradient, loss and accuracy again."""
    grad, work = np.full_like(theta, np.nan), np.empty(work_per_row(SIZES) * BLOCK)
    loss = made.loss_and_grad(theta, X, y, aux, grad, work)
    return (loss, grad, *made.evaluate(theta, X, y, aux, np.empty_like(theta), work))


@pytest.mark.parametrize("name", LOSSES)
def test_rows_of_a_network_count_by_their_weights(name):
    """By plain Python; those of each kind of targets are compiled in test_weights.py."""
    rng, row = np.random.default_rng(0), LOSSES[name]
    aux, theta = aux_of(SIZES, "tanh", constants_of(name)), rng.normal(size=n_parameters(SIZES))
    X, y = rng.normal(size=(ROWS, SIZES[0])), outputs_and_targets(name, outputs=1)[1]
    y = y * 0 if row.task == "classification" else y
    times = np.array([2, 0, 1, 3, 0, 1, 1])
    weighted, plain = (functions(name, w, design=Design("tanh")) for w in (True, False))
    actual = of_network(weighted, theta, X, with_weights(y, times), aux)
    expected = of_network(plain, theta, np.repeat(X, times, 0), np.repeat(y, times, 0), aux)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "focal"])
def test_constants_that_are_zero_may_be_a_simpler_loss(name):
    z, y = outputs_and_targets(name)
    given = dict.fromkeys(LOSSES[name].constants, 0.0)
    weights = np.linspace(0.5, 2.0, ROWS)
    for w in (None, weights):
        value, slopes = total(name, z, y, w, given)
        simpler, expected = total(name, z, y, w, given, LOSSES[name].at_zero)
        assert value == pytest.approx(simpler, rel=1e-14)
        np.testing.assert_allclose(slopes, expected, rtol=1e-13)


# In float32 as well one of each shape: both softmaxes, and branches of one output at a time.
IN_FLOAT32 = {"softmax_cross_entropy", "focal", "tweedie"}


@pytest.mark.parametrize("name", LOSSES)
def test_compiled_losses_are_the_plain_ones(name):
    function = kernel(call_template, LOSSES[name].function)
    times = np.array([2.0, 0, 1, 3, 0, 1, 1])
    for dtype in (np.float64, np.float32)[: 1 + (name in IN_FLOAT32)]:
        z, y = outputs_and_targets(name, dtype=dtype)
        double, numbers = z.astype(np.float64), y.astype(np.float64) if y.dtype == dtype else y
        eps = float(np.finfo(dtype).eps)
        for weights in (None, times) if dtype == np.float64 else (None,):
            expected, slopes = total(name, double, numbers, weights)
            actual, compiled = total(name, z, y, weights, function=function)
            # Of 21 numbers that are rounded a few times each, the largest slopes being 4 and
            # weights 3.
            assert actual == pytest.approx(expected, rel=64 * eps)
            bound = 64 * eps if weights is None else 192 * eps
            np.testing.assert_allclose(compiled, slopes, atol=bound, rtol=0)
            assert compiled.dtype == dtype


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "focal", "poisson", "logistic", "hinge"])
def test_large_scores_have_finite_losses(name):
    z, y = outputs_and_targets(name)
    scale = 500.0 if name != "poisson" else 100.0
    value, slopes = total(name, z * scale, y)
    assert math.isfinite(value)
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("link", LINKS)
def test_links(link):
    z = np.random.default_rng(0).normal(size=(5, 3))
    actual = z.copy()
    LINKS[link](actual)
    expected = {
        "identity": z,
        "exp": np.exp(z),
        "sigmoid": 1 / (1 + np.exp(-z)),
        "softmax": np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
        "sign": z + 0.5,
    }[link]
    np.testing.assert_allclose(actual, expected, rtol=1e-14)


REFUSED = {
    "loss": (("hubr", {}), "did you mean 'huber'"),
    "number": ((3, {}), "got 3"),
    "constant": (("huber", {"detla": 1}), "no such constant; it has delta"),
    "no constants": (("hinge", {"delta": 1}), "it has none"),
    "delta": (("huber", {"delta": 0}), "delta of the loss huber must be a number > 0; got 0"),
    "quantile": (("quantile", {"quantile": 1.0}), "between 0 and 1; got 1.0"),
    "variance_power": (("tweedie", {"variance_power": 0.5}), "<= 0 or >= 1"),
    "smoothing": (("softmax_cross_entropy", {"label_smoothing": -0.1}), "from 0 to 1"),
    "focusing": (("focal", {"focusing": math.inf}), "a number >= 0; got inf"),
    "text": (("focal", {"focusing": "2"}), "a number >= 0; got '2'"),
    "boolean": (("focal", {"focusing": True}), "a number >= 0; got True"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_constants_are_refused(name):
    arguments, message = REFUSED[name]
    with pytest.raises(SpecError, match=message):
        constants_of(*arguments)


@pytest.mark.parametrize(
    ("loss", "given", "value"),
    [
        ("poisson", {}, -1.0),
        ("gamma", {}, 0.0),
        ("tweedie", {}, -0.5),
        ("tweedie", {"variance_power": 2.5}, 0.0),
        ("multilabel", {}, 0.5),
    ],
)
def test_targets_without_a_loss_are_refused(loss, given, value):
    y = np.ones((3, 2))
    constants = constants_of(loss, given)
    check_targets("y", loss, y, constants)
    y[1, 1] = value
    with pytest.raises(ArrayError, match=rf"y\[1, 1\] is {value}; the loss {loss} needs"):
        check_targets("y", loss, y, constants)


def test_any_target_is_a_squared_errors():
    for loss, given in (("squared_error", {}), ("tweedie", {"variance_power": -1.0})):
        check_targets("y", loss, np.array([[-3.0], [0.0]]), constants_of(loss, given))
    assert find_loss("squared_error").targets == "any"
