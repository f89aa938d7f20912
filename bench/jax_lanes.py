"""The JAX side of bench/test_lanes.py, a process of its own: JAX has its own environment.

Reads ``trials steps`` from its arguments, then runs the sweep once for every line on stdin and
answers with a line when the results are there.
"""

from __future__ import annotations

import sys

import numpy as np


def sweep(trials: int, steps: int):
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
        (p, _, _, best, path), _ = jax.lax.scan(step, start, jnp.arange(1.0, steps + 1.0))
        return value(p), jnp.minimum(best, value(p)), path

    run = jax.jit(jax.vmap(trial))
    h = jnp.asarray(hyperparameters(trials))
    return lambda: jax.block_until_ready(run(h))


def hyperparameters(trials: int) -> np.ndarray:
    """Return ``(trials, 4)`` values of lr, beta1, beta2 and eps over the ranges of the sweep."""
    k = np.linspace(0.0, 1.0, trials)
    return np.stack([10.0 ** (3.0 * k - 4.0), 0.8 + 0.19 * k, 0.9 + 0.0999 * k, 1e-8 + 0.0 * k], 1)


def main() -> None:
    """Answer every line with ``done``."""
    run = sweep(int(sys.argv[1]), int(sys.argv[2]))
    for _ in sys.stdin:
        run()
        print("done", flush=True)


if __name__ == "__main__":
    main()
