"""scikit-learn's own checks of estimators."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sweeps.sklearn import SweepClassifier, SweepRegressor, SweepSearchCV

pytestmark = pytest.mark.filterwarnings("default")

SETTINGS: dict = {
    "dtype": "float64",
    "hidden_layer_sizes": (8,),
    "random_state": 0,
    "learning_rate_init": 0.02,
}
ESTIMATORS = [
    SweepClassifier(**SETTINGS, max_iter=60),
    SweepRegressor(**SETTINGS, max_iter=60),
    *(
        SweepSearchCV(kind(**SETTINGS, max_iter=60), {"alpha": [0.1, 0.001]}, cv=2)
        for kind in (SweepClassifier, SweepRegressor)
    ),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks_it(estimator, check):
    check(estimator)
