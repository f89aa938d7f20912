"""Optimizers whose step depends on sums over the tensor, written from their papers."""

from __future__ import annotations

import numpy as np

from tests.helpers.reference import _direction, _shrunk


def norm(a):
    """Return the Euclidean norm, in the precision of ``a``."""
    return np.sqrt(np.sum(a * a))


def ratio(a, b):
    """Return ``a / b``, and one if either is zero."""
    return a / b if a and b else a * 0 + 1


def mars(h, t, p, g, m, v, last):
    """Yuan et al., arXiv:2411.10438, algorithm 2 (MARS-AdamW), the approximate form."""
    g, b1 = _direction(h, p, g), h["beta1"]
    c = g + h["gamma"] * b1 / (1 - b1) * (g - last)
    if h["clip"] and norm(c) > 1:
        c = c / norm(c)
    if h["plain_start"] and t == 1:
        c = g
    m = b1 * m + (1 - b1) * c
    v = h["beta2"] * v + (1 - h["beta2"]) * c**2
    m_hat, v_hat = m / (1 - b1**t), v / (1 - h["beta2"] ** t)
    return _shrunk(h, p) - h["lr"] * m_hat / (np.sqrt(v_hat) + h["eps"]), m, v, g


def mask(u, g):
    """Return the mask of Liang et al., scaled to a mean of one."""
    agrees = (u * g > 0).astype(g.dtype)
    return agrees / max(agrees.mean(), 1e-3) if g.size else agrees


def cautious_adamw(h, t, p, g, m, v):
    """Liang et al., arXiv:2411.16085, algorithm 1, with the decay of AdamW."""
    g = _direction(h, p, g)
    m = h["beta1"] * m + (1 - h["beta1"]) * g
    v = h["beta2"] * v + (1 - h["beta2"]) * g**2
    m_hat, v_hat = m / (1 - h["beta1"] ** t), v / (1 - h["beta2"] ** t)
    u = m_hat / (np.sqrt(v_hat) + h["eps"])
    return _shrunk(h, p) - h["lr"] * mask(u, g) * u, m, v


def cautious_lion(h, t, p, g, m):
    """Liang et al., arXiv:2411.16085, algorithm 2."""
    g = _direction(h, p, g)
    u = np.sign(h["beta1"] * m + (1 - h["beta1"]) * g)
    m = h["beta2"] * m + (1 - h["beta2"]) * g
    return _shrunk(h, p) - h["lr"] * mask(u, g) * u, m


def lamb(h, t, p, g, m, v):
    """You et al., arXiv:1904.00962, algorithm 2."""
    g = -g if h["maximize"] else g
    m = h["beta1"] * m + (1 - h["beta1"]) * g
    v = h["beta2"] * v + (1 - h["beta2"]) * g**2
    m_hat, v_hat = m / (1 - h["beta1"] ** t), v / (1 - h["beta2"] ** t)
    u = m_hat / (np.sqrt(v_hat) + h["eps"]) + h["weight_decay"] * p
    return p - h["lr"] * ratio(norm(p), norm(u)) * u, m, v


def lars(h, t, p, g, v):
    """You, Gitman and Ginsburg, arXiv:1708.03888, algorithm 1."""
    g = -g if h["maximize"] else g
    below = norm(g) + h["weight_decay"] * norm(p) + h["eps"]
    local = h["trust_coefficient"] * norm(p) / below if norm(p) and norm(g) else 1
    v = h["momentum"] * v + h["lr"] * local * (g + h["weight_decay"] * p)
    return p - v, v


def stable_adamw(h, t, p, g, m, v):
    """Wortsman et al., arXiv:2304.13013, algorithm 2."""
    g = -g if h["maximize"] else g
    # The paper writes 1 - a as beta (1 - beta**(t - 1)) / (1 - beta**t), which loses digits of a.
    a1 = g.dtype.type(1 - h["beta1"]) / (1 - h["beta1"] ** t)
    a2 = g.dtype.type(1 - h["beta2"]) / (1 - h["beta2"] ** t)
    m, v = (1 - a1) * m + a1 * g, (1 - a2) * v + a2 * g**2
    rms = np.sqrt(np.mean(g**2 / np.maximum(v, h["eps"] ** 2))) if g.size else 1
    lr = h["lr"] / max(1, rms)
    return p - lr * h["weight_decay"] * p - lr * m / (np.sqrt(v) + h["eps"]), m, v
