"""Train scikit-learn's ``MLPClassifier`` with fastopt: same model, same predictions, our steps.

The public attributes ``coefs_`` and ``intercepts_`` are the parameters. One call of ``partial_fit``
makes them; then the gradients are computed here, in NumPy, and :class:`fastopt.Adam` updates the
arrays in place, so ``predict``, ``score`` and the rest of scikit-learn see the trained network.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import fastopt

EPOCHS, BATCH, LR = 20, 32, 3e-3


def forward(model, X):
    """Return the activations of every layer: relu inside, softmax at the end."""
    activations = [X]
    for k, (W, b) in enumerate(zip(model.coefs_, model.intercepts_)):
        z = activations[-1] @ W + b
        if k + 1 < len(model.coefs_):
            z = np.maximum(z, 0.0)
        else:
            z = np.exp(z - z.max(axis=1, keepdims=True))
            z /= z.sum(axis=1, keepdims=True)
        activations.append(z)
    return activations


def gradients(model, X, y):
    """Return the mean cross-entropy, and its gradients for the weights and then the biases."""
    activations = forward(model, X)
    rows = np.arange(len(y))
    loss = -np.log(np.maximum(activations[-1][rows, y], 1e-30)).mean()
    delta = activations[-1].copy()
    delta[rows, y] -= 1.0
    delta /= len(y)
    weights, biases = [], []
    for k in reversed(range(len(model.coefs_))):
        weights.insert(0, activations[k].T @ delta)
        biases.insert(0, delta.sum(axis=0))
        if k:
            delta = (delta @ model.coefs_[k].T) * (activations[k] > 0.0)
    return float(loss), weights + biases


def train(model, X, y, rng):
    opt = fastopt.Adam([*model.coefs_, *model.intercepts_], lr=LR)
    for epoch in range(EPOCHS):
        losses = []
        for rows in np.array_split(rng.permutation(len(X)), -(-len(X) // BATCH)):
            loss, grads = gradients(model, X[rows], y[rows])
            opt.step(grads)
            losses.append(loss)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1:2d}: loss {np.mean(losses):.4f}")


def main():
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16.0, y, test_size=0.25, random_state=0)

    options = {"hidden_layer_sizes": (32,), "alpha": 0.0, "batch_size": BATCH, "random_state": 0}
    ours = MLPClassifier(**options, learning_rate_init=1e-12)
    ours.partial_fit(X[:BATCH], y[:BATCH], classes=np.arange(10))  # makes the arrays
    train(ours, X, y, np.random.default_rng(0))

    theirs = MLPClassifier(**options, learning_rate_init=LR, max_iter=EPOCHS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(X, y)
    scores = ours.score(X_test, y_test), theirs.score(X_test, y_test)
    print(f"test accuracy: {scores[0]:.3f}; with scikit-learn's own Adam: {scores[1]:.3f}")
    return scores


if __name__ == "__main__":
    main()
