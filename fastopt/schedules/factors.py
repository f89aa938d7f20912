"""The formulas of the schedules: ``factor(t, a)``, plain functions that kernels call.

``t`` is the number of completed steps, a float; ``a`` the parameters in the order of the table,
filled up with zeros. A number of steps that is zero stands for "none" or "as another parameter".
"""

from __future__ import annotations

import math

from fastopt.code.roles import jitable


@jitable
def rise(t, length, start):
    """Return the point ``t`` of a line from ``start`` at 0 to 1 at ``length``."""
    return start + (1.0 - start) * (t / length)


@jitable
def fall(t, length, final):
    """Return the point ``t`` of half a cosine from 1 at 0 to ``final`` at ``length``."""
    return final + (1.0 - final) * (0.5 * (1.0 + math.cos(math.pi * t / length)))


@jitable
def constant_factor(t, a):
    """Return ``factor`` for some steps, then 1; ``a = (factor, total_iters, ...)``."""
    return a[0] if t < a[1] else 1.0


@jitable
def step_factor(t, a):
    """Return ``gamma ** (t // step_size)``; ``a = (step_size, gamma, ...)``."""
    return a[1] ** (t // a[0])


@jitable
def exponential_factor(t, a):
    """Return ``gamma ** (t / transition_steps)``; ``a = (gamma, transition_steps, ...)``."""
    return a[0] ** (t / a[1])


@jitable
def cosine_factor(t, a):
    """Return half a cosine from 1 to ``final``; ``a = (total_steps, final, ...)``."""
    return a[1] if t >= a[0] else fall(t, a[0], a[1])


@jitable
def warmup_cosine_factor(t, a):
    """Return a ramp, then a cosine; ``a = (warmup_steps, total_steps, final, start, ...)``."""
    warmup_steps, total_steps, final, start, _, _ = a
    if t < warmup_steps:
        return rise(t, warmup_steps, start)
    return final if t >= total_steps else fall(t - warmup_steps, total_steps - warmup_steps, final)


@jitable
def multi_step_factor(t, a):
    """Return ``gamma`` to the number of milestones passed; ``a = (milestone1, ..., 5, gamma)``."""
    m1, m2, m3, m4, m5, gamma = a
    passed = 0.0
    for milestone in (m1, m2, m3, m4, m5):
        if 0.0 < milestone <= t:
            passed += 1.0
    return gamma**passed


@jitable
def linear_factor(t, a):
    """Return a line from ``start`` to ``final``; ``a = (total_steps, start, final, ...)``."""
    total_steps, start, final, _, _, _ = a
    return final if t >= total_steps else start + (final - start) * (t / total_steps)


@jitable
def polynomial_factor(t, a):
    """Return a power of the time left; ``a = (total_steps, power, final, ...)``."""
    total_steps, power, final, _, _, _ = a
    return final if t >= total_steps else final + (1.0 - final) * (1.0 - t / total_steps) ** power


@jitable
def cosine_restarts_factor(t, a):
    """Return cosines of growing length in turn; ``a = (period, multiplier, final, ...)``."""
    length, multiplier, final, _, _, _ = a
    if multiplier == 1.0:
        return fall(t % length, length, final)
    while t >= length:
        t -= length
        length *= multiplier
    return fall(t, length, final)


@jitable
def one_cycle_factor(t, a):
    """Return half a cosine up, one down; ``a = (total, pct_start, div, final_div, ...)``."""
    total_steps, pct_start, div_factor, final_div_factor, _, _ = a
    start = 1.0 / div_factor
    final = start / final_div_factor
    last = total_steps - 1.0
    # torch counts the peak as a step of the rise: with 10 of 30 % it is the step t = 2.
    peak = pct_start * total_steps - 1.0
    if t >= last:
        return final
    if t < peak:
        return fall(peak - t, peak, start)
    return fall(t - peak, last - peak, final)


@jitable
def cyclic_factor(t, a):
    """Return triangles; ``a = (step_size_up, step_size_down, start, gamma, cycle_gamma, ...)``."""
    up, down, start, gamma, cycle_gamma, _ = a
    down = down if down > 0.0 else up
    cycle = t // (up + down)
    phase = t - cycle * (up + down)
    height = phase / up if phase <= up else (up + down - phase) / down
    return start + (1.0 - start) * height * gamma**t * cycle_gamma**cycle


@jitable
def wsd_factor(t, a):
    """Return ramp, plateau, decay; ``a = (warmup, decay, total steps, final, start, power)``."""
    warmup_steps, decay_steps, total_steps, final, start, power = a
    if t < warmup_steps:
        return rise(t, warmup_steps, start)
    if t >= total_steps:
        return final
    decayed = t - (total_steps - decay_steps)
    return 1.0 if decayed <= 0.0 else 1.0 + (final - 1.0) * (decayed / decay_steps) ** power


@jitable
def inverse_sqrt_factor(t, a):
    """Return a ramp, then a root; ``a = (warmup_steps, timescale, start, ...)``."""
    warmup_steps, timescale, start, _, _, _ = a
    if t < warmup_steps:
        return rise(t, warmup_steps, start)
    if timescale == 0.0:
        timescale = warmup_steps if warmup_steps > 0.0 else 10000.0
    return math.sqrt(timescale / (timescale + t - warmup_steps))
