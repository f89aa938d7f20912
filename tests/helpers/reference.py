"""The optimizers once more, in wide NumPy, written from their papers and sharing no code.

Each reference takes the hyperparameters by name, the number ``t >= 1`` of the step, the parameters
``p``, the gradient ``g`` and the state arrays, and returns the new ``(p, *state)``. Nothing is
written in place. Formulas stand as in the papers: no coefficient is shared between variants, so a
switch that our rules express as a vanishing coefficient is an ``if`` here. Hyperparameters that
changed on the way come with those of every step before, in ``h["before"]``.
"""

from __future__ import annotations

import numpy as np


def in_step(i, h, t):
    """Return the hyperparameters of step ``i <= t``: those of now, unless others are known."""
    return h["before"][i - 1] if i < t and "before" in h else h


def _direction(h, p, g):
    """Return the gradient to descend along: ascent first, then L2 decay (torch's order)."""
    if h["maximize"]:
        g = -g
    if h["weight_decay"] and not h["decoupled"]:
        g = g + h["weight_decay"] * p
    return g


def _shrunk(h, p):
    """Return the parameters after decoupled decay (Loshchilov and Hutter, arXiv:1711.05101)."""
    if h["weight_decay"] and h["decoupled"]:
        p = p - h["lr"] * h["weight_decay"] * p
    return p


def sgd(h, t, p, g):
    """Robbins and Monro, 1951."""
    g = _direction(h, p, g)
    return (_shrunk(h, p) - h["lr"] * g,)


def momentum(h, t, p, g, v):
    """Polyak 1964 (torch's form), its moving-average form, and Sutskever et al. 2013 (velocity)."""
    g, p = _direction(h, p, g), _shrunk(h, p)
    lr, mu = h["lr"], h["momentum"]
    if h["form"] == "velocity":
        v = mu * v - lr * g
        return (p + mu * v - lr * g if h["nesterov"] else p + v), v
    if h["form"] == "ema":
        v = mu * v + (1 - mu) * g
        ahead = mu * v + (1 - mu) * g
    else:
        # torch: the first buffer is the gradient itself, not damped
        v = g if t == 1 else mu * v + (1 - h["dampening"]) * g
        ahead = g + mu * v
    return p - lr * (ahead if h["nesterov"] else v), v


def adam(h, t, p, g, m, v):
    """Kingma and Ba, arXiv:1412.6980, algorithm 1."""
    g = _direction(h, p, g)
    m = h["beta1"] * m + (1 - h["beta1"]) * g
    v = h["beta2"] * v + (1 - h["beta2"]) * g**2
    m_hat = m / (1 - h["beta1"] ** t)
    v_hat = v / (1 - h["beta2"] ** t)
    return _shrunk(h, p) - h["lr"] * m_hat / (np.sqrt(v_hat) + h["eps"]), m, v


def amsgrad(h, t, p, g, m, v, v_max):
    """Reddi, Kale and Kumar, ICLR 2018, with the bias corrections of Adam (as in torch)."""
    g = _direction(h, p, g)
    m = h["beta1"] * m + (1 - h["beta1"]) * g
    v = h["beta2"] * v + (1 - h["beta2"]) * g**2
    v_max = np.maximum(v_max, v)
    m_hat = m / (1 - h["beta1"] ** t)
    v_hat = v_max / (1 - h["beta2"] ** t)
    return _shrunk(h, p) - h["lr"] * m_hat / (np.sqrt(v_hat) + h["eps"]), m, v, v_max


def ulps(actual, expected, size):
    """Return ``|actual - expected|`` in units of the last place at ``size``, in ``actual``'s dtype.

    ``expected`` and ``size`` may be of higher precision than ``actual``.
    """
    unit = np.spacing(np.asarray(size).astype(actual.dtype)).astype(expected.dtype)
    return np.abs(actual.astype(expected.dtype) - expected) / unit


def owed(step, arrays, exact, nudge=1e-5):
    r"""Return what each result of ``step(*arrays)``, which is ``exact``, owes to each array.

    A row an array: :math:`|x_i\, \partial f / \partial x_i|` by finite differences.
    """
    rows = []
    for i, array in enumerate(arrays):
        nudged = step(*arrays[:i], array * (1 + nudge), *arrays[i + 1 :])
        rows.append([np.abs(b - a) / nudge for a, b in zip(exact, nudged)])
    return rows


def terms(rows):
    """Return how large the terms are whose sum each result is, of rows of :func:`owed`.

    As large as the result when nothing cancels, and larger by the cancellation when something
    does. No algorithm that rounds its intermediate results once can do better than an ulp of this
    size.
    """
    return [sum(column) for column in zip(*rows)]
