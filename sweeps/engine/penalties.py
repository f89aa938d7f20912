r"""Penalties of the size of weights, which are no part of the loss that is reported.

A trial minimises :math:`L(\theta) + \lambda_1 \lVert W \rVert_1 + \frac{\lambda_2}{2} \lVert W
\rVert_2^2`, L being the mean loss of the rows and W all weights; biases are free, as in
scikit-learn. Each function is a kernel of its own, which trials without penalties never call.
"""

from __future__ import annotations


def penalizing():
    """Template of ``penalize(grad, theta, l2, weights)``: add the gradient of the squares."""

    def penalize(grad, theta, l2, weights):
        factor = theta.dtype.type(l2)
        for k in range(0, weights.size, 2):
            # Views: an index of the whole could be negative, which SIMD cannot bear.
            g, w = grad[weights[k] : weights[k + 1]], theta[weights[k] : weights[k + 1]]
            for j in range(g.size):
                g[j] += factor * w[j]

    return penalize


def shrinking():
    r"""Template of ``shrink(x, threshold, weights)``: the proximal step of the absolute values.

    Weights move towards zero by the threshold, :math:`\alpha \lambda_1`, and those within it are
    zero: a step of proximal gradient descent, which subgradients of \|w\| only circle around.

    Reference: A. Beck and M. Teboulle, *A fast iterative shrinkage-thresholding algorithm for
    linear inverse problems*, SIAM Journal on Imaging Sciences 2 (2009), equation (1.5).
    """

    def shrink(x, threshold, weights):
        limit, zero = x.dtype.type(threshold), x.dtype.type(0)
        for k in range(0, weights.size, 2):
            w = x[0][weights[k] : weights[k + 1]]
            for j in range(w.size):
                small = zero if w[j] == w[j] else w[j]  # a NaN stays one
                below = w[j] + limit if w[j] < -limit else small
                w[j] = w[j] - limit if w[j] > limit else below

    return shrink
