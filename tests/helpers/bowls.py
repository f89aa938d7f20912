"""A landscape that tests share, because each function costs a compilation."""

from __future__ import annotations

import numpy as np

from sweeps import problems


def _tilted(w11, w12, w21, w22, aux):
    (a,) = aux
    c, k = a[4], a[5]
    g11, g12, g21, g22 = a[0] + k * w11, a[1] + k * w12, a[2] + k * w21, a[3] + k * w22
    value = (a[0] + g11) * w11 + (a[1] + g12) * w12 + (a[2] + g21) * w21 + (a[3] + g22) * w22
    return 0.5 * c * value, (c * g11, c * g12, c * g21, c * g22)


def tilted(weights, gradient, scale=1.0, curvature=0.0):
    r"""The four-dimensional :math:`c (g^T w + \frac k2 w^T w)`; with k = 0 a plane."""
    aux = np.concatenate([np.ravel(gradient), [scale, curvature]])
    return problems.landscape(_tilted, np.ravel(weights), aux=(aux,), name="tilted")
