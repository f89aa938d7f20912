"""scikit-learn's interface at the engine's speed: estimators, and a grid search over its own.

Imports common, space, problems, engine, running, models and run. ``import sweeps`` does not bring
it, since scikit-learn takes longer to import than most sweeps take to run.
"""

from sweeps.sklearn.estimators import SweepClassifier, SweepRegressor
from sweeps.sklearn.search import SweepSearchCV

__all__ = ["SweepClassifier", "SweepRegressor", "SweepSearchCV"]
