"""Gradients from JAX on the CPU, steps from fastopt.

JAX compiles the loss and its gradient. ``np.asarray`` reads the gradients where they are (JAX's own
memory, read-only, which is all that a step needs), and the NumPy parameters are updated in place.
"""

from __future__ import annotations

import numpy as np

import fastopt

try:
    import jax
    import jax.numpy as jnp
except ImportError:
    jax = None


def main():
    if jax is None:
        print('This example needs JAX, which is not installed: pip install "jax[cpu]"')
        return None

    @jax.jit
    @jax.value_and_grad
    def loss(params, X, y):
        hidden = jnp.tanh(X @ params["W1"] + params["b1"])
        return jnp.mean((hidden @ params["W2"] + params["b2"] - y) ** 2)

    rng = np.random.default_rng(0)
    X = rng.uniform(-3.0, 3.0, (256, 1)).astype(np.float32)
    y = np.sin(2.0 * X)
    params = {
        "W1": rng.normal(size=(1, 32)).astype(np.float32),
        "b1": np.zeros(32, np.float32),
        "W2": rng.normal(scale=0.2, size=(32, 1)).astype(np.float32),
        "b2": np.zeros(1, np.float32),
    }
    opt = fastopt.AdamW(params, lr=1e-2, weight_decay=0.0)
    first = None
    for step in range(2000):
        # jnp.array copies: JAX may go on reading an array after the call has returned, and the
        # step below writes to ours.
        inputs = {name: jnp.array(p) for name, p in params.items()}
        value, grads = loss(inputs, X, y)
        first = float(value) if first is None else first
        opt.step({name: np.asarray(g) for name, g in grads.items()}, max_norm=1.0)
        if step % 500 == 499:
            print(f"step {step + 1}: loss {float(value):.5f}")
    return first, float(value)


if __name__ == "__main__":
    main()
