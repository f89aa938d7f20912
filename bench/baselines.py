"""The digits MLP as others train it: vectorised NumPy, scikit-learn, torch.

Each trainer runs ``epochs`` passes of Adam over the training rows of :func:`sweeps.problems.digits`
in minibatches and returns the number of minibatch steps it made.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np

from sweeps.problems import DataProblem


def numpy_adam(problem: DataProblem, batch: int, epochs: int, lr: float = 1e-3) -> int:
    """Train with in-place NumPy and its BLAS, the way a careful NumPy user writes it."""
    rng = np.random.default_rng(0)
    X, y = problem.X, problem.y
    sizes = problem.aux[0].tolist()
    theta = [
        rng.uniform(-0.2, 0.2, shape).astype(X.dtype)
        for n, m in itertools.pairwise(sizes)
        for shape in ((n, m), (m,))
    ]
    first, second = [np.zeros_like(p) for p in theta], [np.zeros_like(p) for p in theta]
    steps = 0
    for _ in range(epochs):
        order = rng.permutation(len(X))
        for low in range(0, len(X), batch):
            rows = order[low : low + batch]
            steps += 1
            for p, g, m, v in zip(theta, _gradients(theta, X[rows], y[rows]), first, second):
                m *= 0.9
                m += 0.1 * g
                v *= 0.999
                v += 0.001 * g * g
                size = lr / (1 - 0.9**steps)
                p -= size * m / (np.sqrt(v) / np.sqrt(1 - 0.999**steps) + 1e-8)
    return steps


def _gradients(theta: list[np.ndarray], X: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    outputs = [X]
    for w, b in zip(theta[::2], theta[1::2]):
        outputs.append(np.maximum(outputs[-1] @ w + b, 0))
    z = outputs[-2] @ theta[-2] + theta[-1]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    delta = e / e.sum(axis=1, keepdims=True)
    delta[np.arange(len(y)), y] -= 1
    delta /= len(y)
    grads: list[np.ndarray] = []
    for layer in range(len(theta) // 2 - 1, -1, -1):
        grads[:0] = [outputs[layer].T @ delta, delta.sum(axis=0)]
        if layer:
            delta = (delta @ theta[2 * layer].T) * (outputs[layer] > 0)
    return grads


def sklearn_mlp(problem: DataProblem, batch: int, epochs: int, lr: float = 1e-3) -> int:
    """Train scikit-learn's ``MLPClassifier`` with early stopping out of the way."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        hidden_layer_sizes=tuple(problem.aux[0][1:-1].tolist()),
        batch_size=batch,
        learning_rate_init=lr,
        max_iter=epochs,
        n_iter_no_change=epochs + 1,
        tol=0.0,
        alpha=0.0,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(problem.X, problem.y)
    return epochs * -(-len(problem.X) // batch)


def torch_mlp(problem: DataProblem, batch: int, epochs: int, lr: float = 1e-3) -> int:
    """Train with eager torch on one thread (two are slower at this size) and its fused Adam."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sizes = problem.aux[0].tolist()
        layers: list[torch.nn.Module] = []
        for n, m in itertools.pairwise(sizes):
            layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
        net = torch.nn.Sequential(*layers[:-1])
        optimizer = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
        X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
        steps = 0
        for _ in range(epochs):
            order = torch.randperm(len(X))
            for low in range(0, len(X), batch):
                rows = order[low : low + batch]
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(X[rows]), y[rows]).backward()
                optimizer.step()
                steps += 1
        return steps
    finally:
        torch.set_num_threads(before)


TRAINERS = {"NumPy": numpy_adam, "scikit-learn": sklearn_mlp, "torch": torch_mlp}
