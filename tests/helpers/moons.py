"""The two moons of the tutorial of study 3, with its network and its loss as printed."""

from __future__ import annotations

import functools
import math

import numpy as np
from sklearn.datasets import make_moons
from sklearn.model_selection import train_test_split


@functools.cache
def two_moons():
    """Training and test rows, and the first parameters."""
    X, y = make_moons(1000, noise=0.2, random_state=42)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=42)
    np.random.seed(42)  # noqa: NPY002
    w1, w2 = np.random.randn(2, 10), np.random.randn(10, 1)  # noqa: NPY002
    theta0 = np.concatenate([w1.ravel(), np.zeros(10), w2.ravel(), np.zeros(1)])
    return {"X": X, "y": y, "X_test": X_test, "y_test": y_test, "theta0": theta0}


def naive_moons(theta, X, y, aux, grad):
    """The tutorial's network and its loss as printed, log(1 - p) and all."""
    loss, slopes = 0.0, np.empty(10)
    grad[:] = 0.0
    for i in range(X.shape[0]):
        z = theta[40]
        for j in range(10):
            h = math.tanh(X[i, 0] * theta[j] + X[i, 1] * theta[10 + j] + theta[20 + j])
            slopes[j] = h
            z += h * theta[30 + j]
        p = 1.0 / (1.0 + np.exp(-z))
        loss -= y[i] * np.log(p) + (1.0 - y[i]) * np.log(1.0 - p)
        error = (p - y[i]) / X.shape[0]
        grad[40] += error
        for j in range(10):
            h = slopes[j]
            grad[30 + j] += error * h
            back = error * theta[30 + j] * (1.0 - h * h)
            grad[20 + j] += back
            grad[10 + j] += back * X[i, 1]
            grad[j] += back * X[i, 0]
    return loss / X.shape[0]
