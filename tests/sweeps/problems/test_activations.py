"""Activations and initialisations against torch and their formulas."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from fastopt.compile import kernel
from fastopt.errors import SpecError
from sweeps.problems.activations import ACTIVATIONS, find_activation, layers_of
from sweeps.problems.initialisations import INITIALISATIONS, initialisation
from sweeps.problems.losses import constants_of
from sweeps.problems.mlp import BLOCK, aux_of, functions, n_parameters, work_per_row
from sweeps.problems.passes import Design
from tests.helpers.compiled import call_template

f = torch.nn.functional
OF_TORCH = {
    "identity": lambda x: x,
    "gelu": f.gelu,
    "gelu_tanh": lambda x: f.gelu(x, approximate="tanh"),
    "softplus": lambda x: -f.logsigmoid(-x),  # torch's own is x from 20 on
    **{n: getattr(f, n) for n in ("leaky_relu", "elu", "selu", "silu", "mish")},
    **{n: getattr(torch, n) for n in ("relu", "tanh", "sigmoid")},
}
DTYPES = [np.float32, np.float64]
X = np.concatenate([np.linspace(-30, 30, 601), [1e-8, -1e-8, 1e-3, -1e-3]])


def loops(name, dtype):
    """The loops of an activation over a layer, compiled for float32; ReLU has no plain ones."""
    functions = layers_of(name)[:2]
    compiled = dtype == np.float32 or name == "relu"
    return [kernel(call_template, f) for f in functions] if compiled else functions


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_slopes_are_torchs(name, dtype):
    row, x = ACTIVATIONS[name], X.astype(dtype).reshape(5, -1)
    activate, backpropagate = loops(name, dtype)
    tensor = torch.tensor(x.astype(np.float64), requires_grad=True)
    expected = OF_TORCH[name](tensor)
    expected.sum().backward()
    a = x.copy()
    activate(a)
    # Some roundings of numbers up to 30; float64 is torch's own accuracy.
    eps = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(a, expected.detach().numpy(), rtol=eps, atol=eps)
    kept = x.copy() if row.keeps_inputs else a.copy()
    backpropagate(kept, np.full_like(x, 3))
    # A slope that is found from an output is as exact as that, and gelu's grows with x^2.
    np.testing.assert_allclose(kept, 3 * tensor.grad.numpy(), rtol=16 * eps, atol=16 * eps)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan(name):
    activate, backpropagate = loops(name, np.float32)
    z = np.array([[1.0, np.nan, -1.0]], np.float32)
    activate(z)
    assert np.isnan(z).tolist() == [[False, True, False]]
    backpropagate(z, np.array([[1.0, np.nan, 1.0]], np.float32))
    assert np.isnan(z).tolist() == [[False, True, False]]


@pytest.mark.parametrize("x", [-1000.0, 1000.0])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_large_inputs_have_finite_slopes(name, x):
    row = ACTIVATIONS[name]
    activate, backpropagate = loops(name, np.float32)
    z = np.array([[x]], np.float32)
    a = z.copy()
    activate(a)
    assert math.isfinite(a[0, 0])
    kept = z if row.keeps_inputs else a
    backpropagate(kept, np.ones((1, 1), np.float32))
    assert math.isfinite(kept[0, 0])


def test_codes_are_told_apart():
    assert len({row.code for row in ACTIVATIONS.values()}) == len(ACTIVATIONS)
    assert find_activation("relu").code == 0
    with pytest.raises(SpecError, match="did you mean 'gelu'"):
        find_activation("gellu")


def torch_gradient(theta, X, y, sizes, activation):
    flat = torch.tensor(theta, requires_grad=True)
    z, at = torch.tensor(X), 0
    for k, (n, m) in enumerate(itertools.pairwise(sizes)):
        z = z @ flat[at : at + n * m].reshape(n, m) + flat[at + n * m : at + (n + 1) * m]
        at += (n + 1) * m
        z = OF_TORCH[activation](z) if k < len(sizes) - 2 else z
    value = f.mse_loss(z, torch.tensor(y))
    value.backward()
    return value.item(), flat.grad.numpy()


@pytest.mark.parametrize("sizes", [(4, 6, 3, 2), (4, 5, 2), (3, 2)], ids=str)
def test_networks_that_keep_inputs_have_torchs_gradient_in_the_scratch_they_ask_for(sizes):
    """In plain Python; test_layers.py has one compiled, with layer norm and dropout.

    Those that keep outputs are in test_problems.py, with relu and tanh.
    """
    rng, activation = np.random.default_rng(0), "silu"
    made = functions("squared_error", design=Design(activation))
    aux = aux_of(sizes, activation, constants_of("squared_error"))
    for rows in (1, 9, BLOCK):
        X, y = rng.normal(size=(rows, sizes[0])), rng.normal(size=(rows, sizes[-1]))
        theta = rng.normal(size=n_parameters(sizes))
        grad = np.full_like(theta, np.nan)
        whole = np.full(work_per_row(sizes, Design(activation)) * BLOCK + 64, 12345.0)
        loss = made.loss_and_grad(theta, X, y, aux, grad, whole[:-64])
        np.testing.assert_array_equal(whole[-64:], 12345.0)
        expected, slopes = torch_gradient(theta, X, y, sizes, activation)
        # Sums of some 1 500 rounded numbers.
        assert loss == pytest.approx(expected, rel=1e-13)
        np.testing.assert_allclose(grad, slopes, rtol=0, atol=1e-13 * np.abs(slopes).max())


def test_networks_whose_activations_are_found_from_outputs_keep_their_memory():
    for name, row in ACTIVATIONS.items():
        more = work_per_row((4, 8, 6, 2), Design(name)) - work_per_row((4, 8, 6, 2))
        assert more == (14 if row.keeps_inputs else 0)


SIZES = (40, 30, 60)
SPREAD = {"glorot": lambda n, m: 2 / (n + m), "he": lambda n, m: 2 / n, "lecun": lambda n, m: 1 / n}


def layers(name, gain=1.0, seed=3, dtype=np.float64):
    """The weights of each layer, and all biases."""
    theta = np.full(n_parameters(SIZES), np.nan, dtype)
    aux = aux_of(SIZES, "relu", np.empty(0))
    init = initialisation(name, gain)
    init = kernel(call_template, init) if name == "orthogonal" and dtype == np.float64 else init
    init(theta, aux, np.uint64(seed))
    weights, biases, at = [], [], 0
    for n, m in itertools.pairwise(SIZES):
        weights.append(theta[at : at + n * m].reshape(n, m))
        biases.append(theta[at + n * m : at + (n + 1) * m])
        at += (n + 1) * m
    return weights, np.concatenate(biases)


@pytest.mark.parametrize("name", [n for n in INITIALISATIONS if n != "orthogonal"])
def test_initial_weights_have_their_distribution(name):
    kind, _, shape = name.partition("_")
    weights, biases = layers(name, gain=2.0)
    np.testing.assert_array_equal(biases, 0)
    for w in weights:
        deviation = 2.0 * math.sqrt(SPREAD[kind](*w.shape))
        r = deviation * math.sqrt(3.0)
        law = stats.uniform(-r, 2 * r) if shape == "uniform" else stats.norm(0, deviation)
        assert stats.kstest(w.ravel(), law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("dtype", DTYPES)
def test_orthogonal_weights_are_orthogonal(dtype):
    weights, biases = layers("orthogonal", gain=2.0, dtype=dtype)
    np.testing.assert_array_equal(biases, 0)
    for w in weights:
        small = w if w.shape[0] <= w.shape[1] else w.T
        # Sums of some 60 numbers.
        eps = 64 * np.finfo(dtype).eps
        np.testing.assert_allclose(small @ small.T, 4 * np.eye(len(small)), atol=eps)
    again, _ = layers("orthogonal", gain=2.0, seed=4, dtype=dtype)
    assert (again[0] != weights[0]).all()


def test_orthogonal_matrices_are_spread_evenly():
    """The angle of the first row of 2 x 2 matrices is uniform, and their determinant is +-1."""
    init, aux, angles, signs = initialisation("orthogonal"), (np.array([2, 2]),), [], []
    theta = np.empty(6)
    for seed in range(300):
        init(theta, aux, np.uint64(seed))
        angles.append(math.atan2(theta[1], theta[0]))
        signs.append(np.linalg.det(theta[:4].reshape(2, 2)))
    assert stats.kstest(angles, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-3
    np.testing.assert_allclose(np.abs(signs), 1)
    assert 100 < np.sum(np.array(signs) > 0) < 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("glorot",), "init must be one of .* [(]did you mean 'glorot_"),
        (("he_normal", 0.0), "gain must be a number > 0; got 0.0"),
        (("he_normal", math.inf), "gain must be"),
        (("he_normal", "2"), "gain must be"),
    ],
)
def test_wrong_initialisations_are_refused(arguments, message):
    with pytest.raises(SpecError, match=message):
        initialisation(*arguments)
