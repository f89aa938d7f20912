"""JAX's side of the benchmarks, a process of its own: JAX has its own environment.

``jax_side.py lanes TRIALS STEPS`` and ``jax_side.py mlp TRIALS EPOCHS BATCH DATA.npz`` run their
sweep once for every line on stdin and answer with a line when the results are there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np


def lanes(trials: str, steps: str) -> Callable[[], object]:
    """Return a call that runs ``vmap`` of a scan of Adam over Rosenbrock's function, compiled."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def value(p):
        x, y = p
        return (1.0 - x) ** 2 + 100.0 * (y - x * x) ** 2

    def trial(h):
        lr, beta1, beta2, eps = h

        def step(state, t):
            p, m, v, best, path = state
            loss, g = jax.value_and_grad(value)(p)
            m = beta1 * m + (1.0 - beta1) * g
            v = beta2 * v + (1.0 - beta2) * g * g
            size = lr / (1.0 - beta1**t)
            new = p - size * m / (jnp.sqrt(v) / jnp.sqrt(1.0 - beta2**t) + eps)
            path = path + jnp.sqrt(jnp.sum((new - p) ** 2))
            return (new, m, v, jnp.minimum(best, loss), path), None

        zero = jnp.zeros(2)
        start = jnp.array([-2.0, 2.0]), zero, zero, jnp.inf, 0.0
        (p, _, _, best, path), _ = jax.lax.scan(step, start, jnp.arange(1.0, int(steps) + 1.0))
        return value(p), jnp.minimum(best, value(p)), path

    run = jax.jit(jax.vmap(trial))
    h = jnp.asarray(hyperparameters(int(trials)))
    return lambda: jax.block_until_ready(run(h))


def hyperparameters(trials: int) -> np.ndarray:
    """Return ``(trials, 4)`` values of lr, beta1, beta2 and eps over the ranges of the sweep."""
    k = np.linspace(0.0, 1.0, trials)
    return np.stack([10.0 ** (3.0 * k - 4.0), 0.8 + 0.19 * k, 0.9 + 0.0999 * k, 1e-8 + 0.0 * k], 1)


def mlp(trials: str, epochs: str, batch: str, data: str) -> Callable[[], object]:
    """Return a call that trains networks with Adam side by side, each with shuffles of its own.

    Each is evaluated at the end on training and test rows, as a sweep's trials are. The last rows
    of an epoch that do not fill a minibatch are left out: shapes are static.
    """
    import jax
    import jax.numpy as jnp

    with np.load(data) as file:
        X, y, *test = (jnp.asarray(file[name]) for name in ("X", "y", "X_test", "y_test"))
        sizes = file["sizes"].tolist()
    steps = len(X) // int(batch)

    def scores(layers, z):
        for w, b in layers[:-1]:
            z = jax.nn.relu(z @ w + b)
        w, b = layers[-1]
        return jax.nn.log_softmax(z @ w + b)

    def cross_entropy(scores, y):
        return -jnp.take_along_axis(scores, y[:, None], axis=1).mean()

    def loss(layers, rows):
        return cross_entropy(scores(layers, X[rows]), y[rows])

    def evaluated(layers, X, y):
        at = scores(layers, X)
        return cross_entropy(at, y), (at.argmax(1) == y).mean()

    def initial(key):
        shapes = zip(jax.random.split(key, len(sizes) - 1), sizes, sizes[1:])
        glorot = jax.nn.initializers.glorot_uniform()
        return [(glorot(k, (n, m)), jnp.zeros(m)) for k, n, m in shapes]

    def trial(lr, key):
        layers = initial(key)
        zeros = jax.tree.map(jnp.zeros_like, layers)

        def step(state, rows):
            p, m, v, t = state
            t = t + 1.0
            g = jax.grad(loss)(p, rows)
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            size, root = lr / (1.0 - 0.9**t), jnp.sqrt(1.0 - 0.999**t)
            p = jax.tree.map(lambda p, m, v: p - size * m / (jnp.sqrt(v) / root + 1e-8), p, m, v)
            return (p, m, v, t), None

        def epoch(state, key):
            order = jax.random.permutation(key, len(X))[: steps * int(batch)]
            return jax.lax.scan(step, state, order.reshape(steps, int(batch)))

        keys = jax.random.split(key, int(epochs))
        (layers, *_), _ = jax.lax.scan(epoch, (layers, zeros, zeros, 0.0), keys)
        return evaluated(layers, X, y), evaluated(layers, *test)

    run = jax.jit(jax.vmap(trial))
    lr = jnp.asarray(np.geomspace(1e-4, 1e-2, int(trials)), jnp.float32)
    keys = jax.random.split(jax.random.key(0), int(trials))
    return lambda: jax.block_until_ready(run(lr, keys))


SIDES = {"lanes": lanes, "mlp": mlp}


def main(kind: str, *arguments: str) -> None:
    """Answer every line with ``done``."""
    run = SIDES[kind](*arguments)
    for _ in sys.stdin:
        run()
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
