"""Converged linear models are scikit-learn's: seven of its solvers, two data sets each.

Plain gradient descent on all rows, with the proximal step where there is l1. Ours is the mean loss
of rows + l1 |W|_1 + l2 |W|^2 / 2. LinearSVC also penalises biases, here a ten-thousandth as much.
"""

import numpy as np
import pandas as pd
from sklearn import datasets, svm
from sklearn import linear_model as lm
from sklearn.preprocessing import StandardScaler

from sweeps import problems, sweep
from sweeps.studies import Findings, main

REAL, BINARY, LABELS = ("diabetes", "proline"), ("breast_cancer", "two_wines"), ("iris", "wine")
COLUMNS = ["model", "data", "rows", "features", "l1", "l2", "difference"]
NEAR = {"tol": 1e-12, "max_iter": 100_000}


def load(name):
    own = {"proline": "wine", "two_wines": "wine"}.get(name, name)
    X, y = getattr(datasets, f"load_{own}")(return_X_y=True)
    X, y = (X[:, :-1], X[:, -1]) if name == "proline" else (X, y == 1 if name == "two_wines" else y)
    return StandardScaler().fit_transform(X), (y / np.mean(y) if name in REAL else y)


LINEAR = {  # scikit-learn's, data, our loss, its largest curvature, penalties l1, l2 of n rows
    "Ridge": (lm.Ridge(5.0), REAL, "squared_error", 2, lambda n: (0, 10 / n)),
    "Lasso": (lm.Lasso(0.05, **NEAR), REAL, "squared_error", 2, lambda n: (0.1, 0)),
    "ElasticNet": (
        lm.ElasticNet(0.05, l1_ratio=0.6, **NEAR), REAL, "squared_error", 2, lambda n: (0.06, 0.04)
    ),
    "PoissonRegressor": (
        lm.PoissonRegressor(alpha=0.1, **NEAR), REAL, "poisson", 4, lambda n: (0, 0.1)
    ),
    "LogisticRegression, 2 classes": (
        lm.LogisticRegression(C=0.5, **NEAR), BINARY, "logistic", 0.25, lambda n: (0, 2 / n)
    ),
    "LogisticRegression, 3 classes": (
        lm.LogisticRegression(C=0.5, **NEAR), LABELS, "softmax_cross_entropy", 0.5,
        lambda n: (0, 2 / n),
    ),
    "LinearSVC": (
        svm.LinearSVC(C=0.01, intercept_scaling=100, **NEAR), BINARY, "squared_hinge", 2,
        lambda n: (0, 100 / n),
    ),
}  # fmt: skip


def study(full=False):
    found, rows = Findings(), []
    for name, (model, data, loss, bend, penalties) in LINEAR.items():
        for X, y, which in ((*load(each), each) for each in data):
            (l1, l2), _ = penalties(len(X)), model.fit(X, y)
            own = problems.mlp(X, y, hidden=(), loss=loss, dtype="float64")
            lr = 1 / (bend * max(1, np.linalg.eigvalsh(X.T @ X / len(X)).max()) + l2)
            how = {"optimizer": "sgd", "batch_size": len(X), "steps": 20_000, "progress": False}
            result = sweep(own, {"lr": [lr]}, l1=l1, l2=l2, **how)
            W, theirs = result.model().weights["layers.0.weight"], np.atleast_2d(model.coef_).T
            away = np.abs(W - theirs).max() / np.abs(theirs).max()
            found.check(f"{name}, {which}: largest difference", 0.0, away, 1e-4)
            if l1:
                found.check(f"{name}, {which}: zeros", (theirs == 0).sum(), (W == 0).sum())
            rows.append((name, which, *X.shape, l1, l2, away))
    found.tables["differences"] = pd.DataFrame(rows, columns=COLUMNS)
    return found


if __name__ == "__main__":
    main(__file__)
