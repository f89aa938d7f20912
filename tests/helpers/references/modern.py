"""Optimizers that torch does not have, written from their papers."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tests.helpers.reference import _direction, _shrunk, in_step


def lion(h, t, p, g, m):
    """Chen et al., arXiv:2302.06675, algorithm 2."""
    g = _direction(h, p, g)
    u = np.sign(h["beta1"] * m + (1 - h["beta1"]) * g)
    return _shrunk(h, p) - h["lr"] * u, h["beta2"] * m + (1 - h["beta2"]) * g


def signum(h, t, p, g, m):
    """Bernstein et al., arXiv:1802.04434, algorithm 2."""
    m = h["momentum"] * m + (1 - h["momentum"]) * _direction(h, p, g)
    return _shrunk(h, p) - h["lr"] * np.sign(m), m


def ademamix(h, t, p, g, m1, m2, v):
    """Pagliardini, Ablin and Grangier, arXiv:2409.03137, algorithm 1 and its schedulers."""
    wide = p.dtype.type  # 1 - exp(x) would lose digits in the precision of the kernel
    b1, b2, b3, alpha = h["beta1"], h["beta2"], wide(h["beta3"]), h["alpha"]
    if t < h["alpha_warmup"]:
        alpha = alpha * t / h["alpha_warmup"]
    if t < h["beta3_warmup"]:
        x, ln1, ln3 = t / h["beta3_warmup"], math.log(b1), math.log(b3)
        b3 = np.exp(wide(ln1 * ln3 / ((1 - x) * ln3 + x * ln1)))
    g = _direction(h, p, g)
    m1, m2 = b1 * m1 + (1 - b1) * g, b3 * m2 + (1 - b3) * g
    v = b2 * v + (1 - b2) * g**2
    top = m1 / (1 - b1**t) + alpha * m2
    return _shrunk(h, p) - h["lr"] * top / (np.sqrt(v / (1 - b2**t)) + h["eps"]), m1, m2, v


def adopt(h, t, p, g, m, v):
    """Taniguchi et al., arXiv:2411.02853, algorithm 2 (clipped) and algorithm 1."""
    g = _direction(h, p, g)
    if t == 1:
        return p.copy(), m.copy(), g**2
    n = g / np.maximum(np.sqrt(v), h["eps"])
    if h["clip"]:
        limit = (t - 1) ** h["clip_exp"]
        n = np.clip(n, -limit, limit)
    m = h["beta1"] * m + (1 - h["beta1"]) * n
    return _shrunk(h, p) - h["lr"] * m, m, h["beta2"] * v + (1 - h["beta2"]) * g**2


def adan(h, t, p, g, m, w, v, last):
    """Xie et al., arXiv:2208.06677, algorithm 1; betas as in the authors' program."""
    b1, b2, b3, lr = h["beta1"], h["beta2"], h["beta3"], h["lr"]
    g = -g if h["maximize"] else g
    d = g - last if t > 1 else 0 * g
    m, w = b1 * m + (1 - b1) * g, b2 * w + (1 - b2) * d
    v = b3 * v + (1 - b3) * (g + b2 * d) ** 2
    top = m / (1 - b1**t) + b2 * w / (1 - b2**t)
    step = lr * top / (np.sqrt(v / (1 - b3**t)) + h["eps"])
    fade = p.dtype.type(lr * h["weight_decay"])  # 1 - fade and 1 + fade in full
    if h["no_prox"]:
        return (1 - fade) * p - step, m, w, v, g
    return (p - step) / (1 + fade), m, w, v, g


def laprop(h, t, p, g, m, v):
    """Ziyin, Wang and Ueda, arXiv:2002.04839, algorithm 1."""
    g = _direction(h, p, g)
    v = h["beta2"] * v + (1 - h["beta2"]) * g**2
    n = g / (np.sqrt(v / (1 - h["beta2"] ** t)) + h["eps"])
    m = h["beta1"] * m + (1 - h["beta1"]) * n
    return _shrunk(h, p) - h["lr"] * m / (1 - h["beta1"] ** t), m, v


def adabelief(h, t, p, g, m, s):
    """Zhuang et al., arXiv:2010.07468, algorithm 2."""
    g = _direction(h, p, g)
    m = h["beta1"] * m + (1 - h["beta1"]) * g
    s = h["beta2"] * s + (1 - h["beta2"]) * (g - m) ** 2 + h["eps"]
    m_hat, s_hat = m / (1 - h["beta1"] ** t), s / (1 - h["beta2"] ** t)
    return _shrunk(h, p) - h["lr"] * m_hat / (np.sqrt(s_hat) + h["eps"]), m, s


def yogi(h, t, p, g, m, v):
    """Zaheer et al., NeurIPS 2018, algorithm 2, with Adam's bias corrections."""
    g = _direction(h, p, g)
    m = h["beta1"] * m + (1 - h["beta1"]) * g
    v = v - (1 - h["beta2"]) * np.sign(v - g**2) * g**2
    m_hat, v_hat = m / (1 - h["beta1"] ** t), v / (1 - h["beta2"] ** t)
    return _shrunk(h, p) - h["lr"] * m_hat / (np.sqrt(v_hat) + h["eps"]), m, v


def schedule_free(h, t, p, z, d, beta):
    """Defazio et al., arXiv:2405.15682, equations 3-5 solved for y; ``d`` is the direction."""

    def lr(i):
        now = in_step(i, h, t)
        return now["lr"] * min(1, i / now["warmup_steps"]) if now["warmup_steps"] else now["lr"]

    def weight(i, largest):
        now = in_step(i, h, t)
        return i ** now["r"] * largest ** now["weight_lr_power"]

    # The largest rate so far in every step; looked for anew in each, a thousand steps take minutes.
    largest = itertools.accumulate(map(lr, range(1, t + 1)), max)
    weights = list(map(weight, range(1, t + 1), largest))
    # One after the other, as the paper's program adds: since 3.12 sum() corrects its rounding.
    *_, total = itertools.accumulate(weights)
    c = p.dtype.type(weights[-1] / total)
    beta, d = p.dtype.type(beta), d + h["weight_decay"] * p
    # y = (1 - beta) z + beta x, so x follows from y and z; then both take their step.
    x = (p - (1 - beta) * z) / beta
    z = z - lr(t) * d
    x = (1 - c) * x + c * z
    return (1 - beta) * z + beta * x, z


def schedule_free_sgd(h, t, p, g, z):
    """Schedule-free SGD."""
    return schedule_free(h, t, p, z, -g if h["maximize"] else g, h["momentum"])


def schedule_free_adamw(h, t, p, g, z, v):
    """Schedule-free AdamW: the direction is scaled by the second moment."""
    g = -g if h["maximize"] else g
    v = h["beta2"] * v + (1 - h["beta2"]) * g**2
    d = g / (np.sqrt(v / (1 - h["beta2"] ** t)) + h["eps"])
    return *schedule_free(h, t, p, z, d, h["beta1"]), v
