"""The problems that a spec can name, each in a line, which ``fastopt list`` prints.

They stand apart from what makes them, since that takes a second to import. Rows are in the order in
which they are listed; every one has its constructor in :mod:`sweeps.problems`.
"""

from __future__ import annotations

DATASETS = {
    "digits": "Handwritten digits: 1 797 images of 8 x 8, 10 classes.",
    "iris": "Iris flowers: 150 rows of 4 features, 3 classes.",
    "wine": "Wines: 178 rows of 13 features, 3 classes.",
    "breast_cancer": "Tumours: 569 rows of 30 features, 2 classes.",
    "diabetes": "Diabetes progression: 442 rows, 10 features.",
    "moons": "Two interleaved half circles: 1 000 points with noise 0.2, 2 classes.",
}
"""Datasets of :mod:`sweeps.problems.datasets`, and what they are."""

TEST_FUNCTIONS = {
    "rosenbrock": "Rosenbrock's banana valley.",
    "ellipse": r"Elliptical bowl :math:`f = \tfrac12 x^2 + \tfrac\kappa2 y^2`, "
    "the smallest real problem.",
    "double_well": "Two wells on a line, :math:`f = 0.1 x^4 - 3 x^2 + x`.",
    "beale": "Beale's function: a flat valley between sharp walls.",
    "himmelblau": "Himmelblau's function :math:`f = (x^2 + y - 11)^2 + (x + y^2 - 7)^2`, "
    "with four minima of 0.",
    "rastrigin": "Rastrigin's egg box: a bowl with a local minimum near every integer point.",
    "ackley": "Ackley's function: a nearly flat, rippled plain with a hole.",
    "styblinski_tang": "Styblinski and Tang's function, with two minima along every coordinate.",
    "ravine": "Narrow ravine with flat shoulders, given without a gradient: central differences.",
    "random_quadratic": r"Quadratic :math:`f = \tfrac12 (x - c)^T A (x - c)` "
    "with a random symmetric matrix.",
    "noisy_quadratic": "Elliptical bowl whose centre jumps about: a model of minibatch noise.",
}
"""Test functions of :mod:`sweeps.problems.functions`: the first lines of their doc strings."""
