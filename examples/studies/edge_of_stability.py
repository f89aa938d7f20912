"""The edge of stability: full-batch gradient descent raises the sharpness to 2 / lr.

A tanh network on iris (Cohen et al., arXiv:2103.00065). The Hessian's largest eigenvalue comes from
power iteration on differences of gradients in plain NumPy.
"""

import numpy as np
from sklearn.datasets import load_iris

from sweeps import problems, trace
from sweeps.studies import Findings, main

H = 20  # hidden units


def gradient(theta, X, Y):
    n, k = X.shape[1], Y.shape[1]
    W1, b1, W2, b2 = np.split(theta, np.cumsum([n * H, H, H * k]))
    A = np.tanh(X @ W1.reshape(n, H) + b1)
    E = 2 * (A @ W2.reshape(H, k) + b2 - Y) / Y.size
    D = (E @ W2.reshape(H, k).T) * (1 - A * A)
    return np.concatenate([(X.T @ D).ravel(), D.sum(0), (A.T @ E).ravel(), E.sum(0)])


def sharpness(theta, X, Y):
    v = np.random.default_rng(0).normal(size=theta.size)
    for _ in range(30):
        v *= 1e-4 / np.linalg.norm(v)
        v = (gradient(theta + v, X, Y) - gradient(theta - v, X, Y)) / 2e-4
    return np.linalg.norm(v)


def study(full=False):
    found, (X, y), curves = Findings(), load_iris(return_X_y=True), {}
    Y, steps = np.eye(3)[y], 12_000 if full else 6_000
    net = {"hidden": (H,), "activation": "tanh", "dtype": "float64"}
    problem, how = problems.mlp(X, Y, **net), {"batch_size": 150, "vectors": True}
    for lr in (0.4, 0.6, 0.8):
        run = trace(problem, "sgd", lr=lr, steps=steps, **how)
        theta, slopes = (run.filter(regex=rf"{of}_\d").to_numpy() for of in ("theta", "grad"))
        error = np.abs(gradient(theta[99], problem.X, Y) - slopes[100]).max()
        found.check(f"lr {lr}: gradient of step 101 against NumPy", 0.0, error, 1e-13)
        curves[lr] = [sharpness(point, problem.X, Y) for point in theta[:: steps // 120]]
        late = np.median(curves[lr][-40:])
        found.check(f"lr {lr}: sharpness in the last third, 2 / lr", 2 / lr, late, 0.1 / lr)

    @found.figure
    def draw(figure):
        axes = figure.subplots()
        for k, (lr, curve) in enumerate(curves.items()):
            axes.plot(range(0, steps, steps // 120), curve, color=f"C{k}", label=f"lr {lr}")
            axes.axhline(2 / lr, color=f"C{k}", ls=":")
        axes.set(xlabel="step", ylabel="sharpness (dotted: 2 / lr)")
        axes.legend(loc="upper right", ncols=3), axes.set_ylim(1.5, 6)

    return found


if __name__ == "__main__":
    main(__file__)
