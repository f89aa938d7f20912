"""Metrics of classes and their probabilities, as :mod:`sweeps.problems.metrics` has them."""

from __future__ import annotations

import math

import numpy as np

from fastopt.compile import inlinable, jitable
from sweeps.problems.rows import mass, weighed


@inlinable
def chosen(outputs, i):
    """Return the class of the largest probability, the first of them."""
    if outputs.shape[1] == 1:
        return int(outputs[i, 0] > 0.5)
    best = 0
    for k in range(1, outputs.shape[1]):
        best = k if outputs[i, k] > outputs[i, best] else best
    return best


@inlinable
def chance(outputs, i, k):
    """Return the probability of class ``k``."""
    if outputs.shape[1] == 1:
        return outputs[i, 0] if k == 1 else outputs.dtype.type(1) - outputs[i, 0]
    return outputs[i, k]


@jitable
def agreeing(outputs, y, i):
    """Tell whether all labels of row ``i`` are those of the outputs."""
    if y.ndim == 1:
        return chosen(outputs, i) == y[i]
    right = True
    for j in range(outputs.shape[1]):
        right = right and (outputs[i, j] > 0.5) == (y[i, j] == 1)
    return right


@jitable
def accuracy(outputs, y, weights):
    """Share of the rows whose labels are right, all of them (``accuracy_score``)."""
    hits = 0.0
    for i in range(outputs.shape[0]):
        hits += weighed(1.0 if agreeing(outputs, y, i) else 0.0, weights, i)
    return hits / mass(weights, outputs.shape[0])


@jitable
def tally(outputs, y, weights):
    """Count true positives, false positives and false negatives of each class or label."""
    rows, columns = outputs.shape
    counts = np.zeros((max(columns, 2) if y.ndim == 1 else columns, 3))
    for i in range(rows):
        one = weighed(1.0, weights, i)
        if y.ndim == 1:
            guess, right = chosen(outputs, i), y[i]
            if guess == right:
                counts[right, 0] += one
            else:
                counts[guess, 1] += one
                counts[right, 2] += one
        else:
            for j in range(columns):
                guess, right = outputs[i, j] > 0.5, y[i, j] == 1
                if guess or right:
                    counts[j, 0 if guess and right else (1 if guess else 2)] += one
    return counts


@jitable
def balanced_accuracy(outputs, y, weights):
    """Mean recall of the classes that there are (``balanced_accuracy_score``)."""
    counts = tally(outputs, y, weights)
    total, classes = 0.0, 0
    for k in range(counts.shape[0]):
        there = counts[k, 0] + counts[k, 2]
        if there > 0:
            total, classes = total + counts[k, 0] / there, classes + 1
    return total / classes if classes > 0 else np.nan


@inlinable
def f1_of(counts):
    """Return the F1 score of these counts; 0 where there is nothing to find, and nothing found."""
    size = 2 * counts[0] + counts[1] + counts[2]
    return 2 * counts[0] / size if size > 0 else 0.0


@jitable
def f1(outputs, y, weights):
    """F1 score of class 1 (``f1_score``)."""
    return f1_of(tally(outputs, y, weights)[1])


@jitable
def f1_macro(outputs, y, weights):
    """Mean F1 score of all classes that there are or are found, or of all labels."""
    counts = tally(outputs, y, weights)
    total, classes = 0.0, 0
    for k in range(counts.shape[0]):
        if y.ndim == 2 or counts[k].sum() > 0:
            total, classes = total + f1_of(counts[k]), classes + 1
    return total / classes if classes > 0 else np.nan


@jitable
def area_under_roc(scores, y, label, weights):
    """Return the chance that a row of the label has the larger score, half of it for ties."""
    order = np.argsort(scores)
    area, below, positives, rows, k = 0.0, 0.0, 0.0, scores.size, 0
    while k < rows:
        score, here, others = scores[order[k]], 0.0, 0.0
        if math.isnan(score):
            return np.nan
        while k < rows and scores[order[k]] == score:
            i = order[k]
            one = weighed(1.0, weights, i)
            here += one if y[i] == label else 0.0
            others += 0.0 if y[i] == label else one
            k += 1
        area += here * (below + 0.5 * others)
        below, positives = below + others, positives + here
    return area / (positives * below) if positives > 0 and below > 0 else np.nan


@jitable
def roc_auc(outputs, y, weights):
    """Area under the ROC curve, exactly; of more classes one against the rest, averaged."""
    columns, total = outputs.shape[1], 0.0
    if y.ndim == 2:
        for j in range(columns):
            total += area_under_roc(outputs[:, j], y[:, j], 1, weights)
        return total / columns
    first = columns - 1 if columns <= 2 else 0
    for j in range(first, columns):
        total += area_under_roc(outputs[:, j], y, 1 if columns <= 2 else j, weights)
    return total / (columns - first)


@jitable
def log_loss(outputs, y, weights):
    """Mean of -log p of the rows' classes, p at least an epsilon of its dtype (``log_loss``)."""
    total, least = 0.0, np.finfo(outputs.dtype).eps
    for i in range(outputs.shape[0]):
        p = chance(outputs, i, y[i])
        p = least if p < least else (1 - least if p > 1 - least else p)
        total -= weighed(math.log(p), weights, i)
    return total / mass(weights, outputs.shape[0])


@jitable
def brier(outputs, y, weights):
    """Mean squared error of the probabilities; of three classes and more their sum."""
    total, classes = 0.0, max(outputs.shape[1], 2)
    for i in range(outputs.shape[0]):
        square = 0.0
        for k in range(classes):
            d = np.float64(chance(outputs, i, k)) - (1.0 if y[i] == k else 0.0)
            square += d * d
        total += weighed(square, weights, i)
    return total / mass(weights, outputs.shape[0]) * (0.5 if classes == 2 else 1.0)
