"""The optimizers once more, in float64 NumPy, written from their papers and sharing no code.

Each reference takes the hyperparameters by name, the number ``t >= 1`` of the step, the parameters
``p``, the gradient ``g`` and the state arrays, and returns the new ``(p, *state)``. Nothing is
written in place. Formulas stand as in the papers: no coefficient is shared between variants, so a
switch that our rules express as a vanishing coefficient is an ``if`` here.
"""

from __future__ import annotations

import numpy as np


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


def ulps(actual, expected, *scales):
    """Return ``|actual - expected|`` in units of the last place of the largest of ``scales``.

    The unit is the spacing of ``actual``'s dtype at ``max(|expected|, |scale|, ...)``; ``expected``
    may be of higher precision. Equal values, two infinities of one sign and two NaNs are 0 apart.
    """
    expected = np.asarray(expected, dtype=np.float64)
    size = np.abs(expected)
    for scale in scales:
        size = np.maximum(size, np.abs(np.asarray(scale, dtype=np.float64)))
    with np.errstate(invalid="ignore", over="ignore"):
        unit = np.spacing(size.astype(actual.dtype)).astype(np.float64)
        away = np.abs(actual.astype(np.float64) - expected) / unit
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    return np.where(same, 0.0, away)
