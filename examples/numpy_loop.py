"""Train a softmax classifier in plain NumPy: fastopt takes arrays and gradients as they are.

The parameters live in one arena, so a step is one kernel call; the same call clips by the global
norm and keeps a moving average of the weights. The learning rate warms up and falls.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import fastopt

EPOCHS, BATCH = 20, 64


def loss_and_gradients(params, X, y, grads):
    """Return the mean cross-entropy of a minibatch; write its gradients to ``grads``."""
    logits = X @ params["W"] + params["b"]
    logits -= logits.max(axis=1, keepdims=True)
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    loss = -np.log(p[rows, y]).mean()
    p[rows, y] -= 1.0
    p /= len(y)
    np.matmul(X.T, p, out=grads["W"])
    np.sum(p, axis=0, out=grads["b"])
    return float(loss)


def accuracy(params, X, y):
    return float(np.mean(np.argmax(X @ params["W"] + params["b"], axis=1) == y))


def main():
    data, rng = load_digits(), np.random.default_rng(0)
    order = rng.permutation(len(data.target))
    X, y = (data.data[order] / 16.0).astype(np.float32), data.target[order]
    X, X_test, y, y_test = X[:1400], X[1400:], y[:1400], y[1400:]

    buffer = fastopt.flatten({"W": np.zeros((64, 10), np.float32), "b": np.zeros(10, np.float32)})
    steps = EPOCHS * -(-len(X) // BATCH)
    opt = fastopt.AdamW(
        buffer,
        lr=1e-2,
        weight_decay=1e-3,
        ema=0.98,
        schedule=fastopt.schedules.warmup_cosine(warmup_steps=20, total_steps=steps),
    )
    for epoch in range(EPOCHS):
        losses = []
        for rows in np.array_split(rng.permutation(len(X)), steps // EPOCHS):
            losses.append(loss_and_gradients(buffer.params, X[rows], y[rows], buffer.grads))
            opt.step(max_norm=1.0)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1:2d}: loss {np.mean(losses):.4f}, norm {opt.grad_norm:.3f}")
    print(f"test accuracy: {accuracy(buffer.params, X_test, y_test):.3f}")
    print(f"test accuracy of the average: {accuracy(opt.ema, X_test, y_test):.3f}")
    return accuracy(opt.ema, X_test, y_test)


if __name__ == "__main__":
    main()
