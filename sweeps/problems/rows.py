"""Rows with and without weights: how losses and metrics read targets, labels and weights.

Weights that are None are so when a function compiles: what it does with them is then not there.
Targets ``y`` are labels 0, 1, ... of shape (rows,), or numbers of shape (rows, outputs). Those of
weighted rows have one more column, of the weights; labels are numbers in column 0 then.
"""

from __future__ import annotations

import numpy as np

from fastopt.compile import inlinable, jitable


@inlinable
def weighed(number, weights, i):
    """Multiply by the weight of row ``i``; without weights it is the number itself."""
    if weights is None:
        return number
    return number * weights[i]


@jitable
def mass(weights, rows):
    """Sum the weights: the number of rows where they have none."""
    if weights is None:
        return rows
    total = 0.0
    for i in range(rows):
        total += weights[i]
    return total


@inlinable
def label_of(y, i):
    """Return the label of row ``i``, in column 0 where rows have weights."""
    if y.ndim == 1:
        return y[i]
    return int(y[i, 0])


@inlinable
def target_of(y, i, j):
    """Return the target of output ``j`` of row ``i``; labels are targets of one output."""
    if y.ndim == 1:
        return y[i]
    return y[i, j]


@jitable
def labels_of(y):
    """Return the labels of all rows, as integers."""
    if y.ndim == 1:
        return y
    labels = np.empty(y.shape[0], np.int64)
    for i in range(labels.size):
        labels[i] = int(y[i, 0])
    return labels


@jitable
def last_column(y):
    """Return the weights of rows that have them."""
    return y[:, y.shape[1] - 1]


@jitable
def no_weights(y):
    """Return what stands for the weights of rows that have none."""
    return


@jitable
def but_last_column(y):
    """Return the targets of rows that have weights."""
    return y[:, : y.shape[1] - 1]


@jitable
def plain_targets(y):
    """Return the targets of rows without weights: all of them."""
    return y
