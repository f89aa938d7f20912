"""A whole training run inside your own compiled function: no Python between two steps.

``fastopt.embed`` gives the step of a rule as a function that ``@njit`` code can call. Here a
physicist fits a damped oscillation; the model and its gradient are plain loops of the user's.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

import fastopt

step = fastopt.embed("adam").step


@njit
def loss_and_gradient(p, t, y, g):
    """Mean square of ``a exp(-k t) cos(w t + f) - y``; the gradient in (a, k, w, f) is added up."""
    a, k, w, f = p
    g[:] = 0.0
    loss = 0.0
    for i in range(t.size):
        decay, phase = math.exp(-k * t[i]), w * t[i] + f
        value = a * decay * math.cos(phase)
        slope = -a * decay * math.sin(phase)
        error = value - y[i]
        loss += error * error
        g[0] += 2.0 * error * decay * math.cos(phase)
        g[1] -= 2.0 * error * t[i] * value
        g[2] += 2.0 * error * t[i] * slope
        g[3] += 2.0 * error * slope
    g /= t.size
    return loss / t.size


@njit
def train(h, clock, g, x, t, y, steps):
    """Run ``steps`` steps on ``x = (p, *slots)`` in place; return the last loss."""
    loss = np.inf
    for _ in range(steps):
        loss = loss_and_gradient(x[0], t, y, g)
        step(h, clock, g, x)
    return loss


def main():
    truth = np.array([1.5, 0.3, 4.0, 0.5])
    t = np.linspace(0.0, 6.0, 200)
    noise = np.random.default_rng(0).normal(scale=0.02, size=t.size)
    y = truth[0] * np.exp(-truth[1] * t) * np.cos(truth[2] * t + truth[3]) + noise

    p = np.array([1.0, 0.1, 3.8, 0.0])
    h = fastopt.hyper("adam", lr=0.01)
    clock = fastopt.clock("adam", h)
    x = (p, *fastopt.slots("adam", p))
    loss = train(h, clock, np.empty(4), x, t, y, 20_000)
    print(f"{int(clock[0])} steps inside one compiled function, loss {loss:.2e}")
    for name, found, true in zip(("amplitude", "damping", "frequency", "phase"), p, truth):
        print(f"{name:>10}: {found:.3f} (true {true:.3f})")
    return float(np.abs(p - truth).max())


if __name__ == "__main__":
    main()
