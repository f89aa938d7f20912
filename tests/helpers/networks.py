"""The multi-layer perceptrons once more, in float64 NumPy, sharing no code with ours.

Written layer by layer with lists of matrices, as in Goodfellow, Bengio and Courville, *Deep
learning*, algorithms 6.3 and 6.4, where ours works on one flat buffer.
"""

from __future__ import annotations

import itertools

import numpy as np


def layers_of(theta, sizes):
    """Split flat parameters in ``[(W_1, b_1), ...]``, float64."""
    theta, layers = np.asarray(theta, np.float64), []
    for n, m in itertools.pairwise(sizes):
        layers.append((theta[: n * m].reshape(n, m), theta[n * m : (n + 1) * m]))
        theta = theta[(n + 1) * m :]
    assert theta.size == 0
    return layers


def outputs_of(theta, sizes, activation, X):
    """Every layer's output, the last one linear."""
    outputs, layers = [np.asarray(X, np.float64)], layers_of(theta, sizes)
    for k, (W, b) in enumerate(layers):
        z = outputs[-1] @ W + b
        if k < len(layers) - 1:
            z = np.tanh(z) if activation == "tanh" else np.maximum(z, 0.0)
        outputs.append(z)
    return outputs


def probabilities(loss, z):
    """What the last layer says of each class."""
    if loss == "logistic":
        return 1.0 / (1.0 + np.exp(-z))
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def mean_loss(loss, z, y):
    """Mean loss of the rows."""
    if loss == "squared_error":
        return ((z - y) ** 2).mean()
    p = probabilities(loss, z)
    if loss == "logistic":
        return -np.where(y == 1, np.log(p[:, 0]), np.log1p(-p[:, 0])).mean()
    return -np.log(p[np.arange(len(y)), y]).mean()


def accuracy(loss, z, y):
    """Share of rows whose largest output is their label; NaN without labels."""
    if loss == "squared_error":
        return np.nan
    chosen = z[:, 0] > 0 if loss == "logistic" else z.argmax(axis=1)
    return (chosen == y).mean()


def loss_and_grad(theta, sizes, activation, loss, X, y):
    """Mean loss of the rows and its gradient, flat."""
    outputs, layers = outputs_of(theta, sizes, activation, X), layers_of(theta, sizes)
    z, rows = outputs[-1], len(X)
    if loss == "squared_error":
        delta = 2.0 * (z - y) / z.size
    elif loss == "logistic":
        delta = (probabilities(loss, z) - np.asarray(y)[:, None]) / rows
    else:
        delta = (probabilities(loss, z) - np.eye(z.shape[1])[y]) / rows
    grads = []
    for k in range(len(layers) - 1, -1, -1):
        below = outputs[k]
        grads = [(below.T @ delta).ravel(), delta.sum(axis=0), *grads]
        slope = 1.0 - below**2 if activation == "tanh" else (below > 0)
        delta = (delta @ layers[k][0].T) * slope
    return mean_loss(loss, z, y), np.concatenate(grads)


def facts_of(problem):
    """Layer sizes, activation and loss of one of our problems, by name."""
    sizes, kind, *_ = problem.aux
    if problem.y.ndim == 2:
        loss = "squared_error"
    else:
        loss = "logistic" if sizes[-1] == 1 else "softmax_cross_entropy"
    return tuple(sizes.tolist()), ("relu", "tanh")[kind[0]], loss
