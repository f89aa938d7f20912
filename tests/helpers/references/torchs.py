"""What torch has beside SGD and Adam, written from the papers and torch's documentation."""

from __future__ import annotations

import math

import numpy as np

from tests.helpers.reference import _direction, _shrunk, in_step


def nadam(h, t, p, g, m, v):
    """Dozat 2016, with the momentum schedule of torch's documentation."""

    def mu(i):
        now = in_step(i, h, t)
        return now["beta1"] * (1 - 0.5 * 0.96 ** (i * now["momentum_decay"]))

    g = _direction(h, p, g)
    m = h["beta1"] * m + (1 - h["beta1"]) * g
    v = h["beta2"] * v + (1 - h["beta2"]) * g**2
    product = math.prod(mu(i) for i in range(1, t + 1))
    m_hat = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
    v_hat = v / (1 - h["beta2"] ** t)
    return _shrunk(h, p) - h["lr"] * m_hat / (np.sqrt(v_hat) + h["eps"]), m, v


def radam(h, t, p, g, m, v):
    """Liu et al., arXiv:1908.03265, with torch's threshold of 5."""
    g, b2 = _direction(h, p, g), h["beta2"]
    m = h["beta1"] * m + (1 - h["beta1"]) * g
    v = b2 * v + (1 - b2) * g**2
    m_hat = m / (1 - h["beta1"] ** t)
    rho_inf = 2 / (1 - b2) - 1
    rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
    if rho <= 5:
        return _shrunk(h, p) - h["lr"] * m_hat, m, v
    rect = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    adaptive = np.sqrt(1 - b2**t) / (np.sqrt(v) + h["eps"])
    return _shrunk(h, p) - h["lr"] * m_hat * math.sqrt(rect) * adaptive, m, v


def adamax(h, t, p, g, m, u):
    """Kingma and Ba, arXiv:1412.6980, algorithm 2, with torch's eps."""
    g = _direction(h, p, g)
    m = h["beta1"] * m + (1 - h["beta1"]) * g
    u = np.maximum(h["beta2"] * u, np.abs(g) + h["eps"])
    return _shrunk(h, p) - h["lr"] / (1 - h["beta1"] ** t) * m / u, m, u


def adagrad(h, t, p, g, total):
    """Duchi, Hazan and Singer, JMLR 2011, with torch's decay of the learning rate."""
    g = _direction(h, p, g)
    total = total + g**2
    lr = h["lr"] / (1 + (t - 1) * h["lr_decay"])
    return _shrunk(h, p) - lr * g / (np.sqrt(total) + h["eps"]), total


def rmsprop(h, t, p, g, v):
    """Tieleman and Hinton, lecture 6e, 2012."""
    g = _direction(h, p, g)
    v = h["alpha"] * v + (1 - h["alpha"]) * g**2
    return _shrunk(h, p) - h["lr"] * g / (np.sqrt(v) + h["eps"]), v


def rmsprop_momentum(h, t, p, g, v, buffer):
    """The same with torch's momentum on the scaled gradient."""
    g = _direction(h, p, g)
    v = h["alpha"] * v + (1 - h["alpha"]) * g**2
    buffer = h["momentum"] * buffer + g / (np.sqrt(v) + h["eps"])
    return _shrunk(h, p) - h["lr"] * buffer, v, buffer


def _deviation(v, mean):
    """Root of the variance; a mean that is older than v may make that negative."""
    return np.sqrt(np.maximum(v - mean**2, 0))


def rmsprop_centered(h, t, p, g, v, mean):
    """Graves, arXiv:1308.0850, equations 38-39."""
    g = _direction(h, p, g)
    v = h["alpha"] * v + (1 - h["alpha"]) * g**2
    mean = h["alpha"] * mean + (1 - h["alpha"]) * g
    return _shrunk(h, p) - h["lr"] * g / (_deviation(v, mean) + h["eps"]), v, mean


def rmsprop_centered_momentum(h, t, p, g, v, mean, buffer):
    """Graves, arXiv:1308.0850, equations 38-45."""
    g = _direction(h, p, g)
    v = h["alpha"] * v + (1 - h["alpha"]) * g**2
    mean = h["alpha"] * mean + (1 - h["alpha"]) * g
    buffer = h["momentum"] * buffer + g / (_deviation(v, mean) + h["eps"])
    return _shrunk(h, p) - h["lr"] * buffer, v, mean, buffer


def adadelta(h, t, p, g, v, u):
    """Zeiler, arXiv:1212.5701, algorithm 1."""
    g, rho, eps = _direction(h, p, g), h["rho"], h["eps"]
    v = rho * v + (1 - rho) * g**2
    delta = np.sqrt(u + eps) / np.sqrt(v + eps) * g
    return _shrunk(h, p) - h["lr"] * delta, v, rho * u + (1 - rho) * delta**2


def asgd(h, t, p, g, mean):
    """Bottou's SGD with averaging, as torch documents it; eta and mu lag by one step."""
    g, before = _direction(h, p, g), max(t - 1, 1)
    then = in_step(before, h, t)
    lr = then["lr"]
    eta = lr / (1 + then["lambd"] * lr * (t - 1)) ** then["alpha"]
    p = _shrunk(h, p) - h["lambd"] * eta * p - eta * g
    mu = 1 / max(1, t - 1 - then["t0"])
    return p, p if mu == 1 else mean + mu * (p - mean)


def rprop(h, t, p, g, last, size):
    """Riedmiller and Braun 1993, without backtracking (iRprop-), as in torch."""
    g = -g if h["maximize"] else g
    turn = np.sign(g * last)
    factor = np.where(turn > 0, h["etaplus"], np.where(turn < 0, h["etaminus"], 1.0))
    size = np.clip(size * factor, h["step_size_min"], h["step_size_max"])
    g = np.where(turn < 0, 0.0, g)
    return p - np.sign(g) * size, g, size
