"""A grid search over scikit-learn's estimators, all of its fits in one compiled launch."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.model_selection import GridSearchCV

from sweeps.sklearn.base import set_params_of_init
from sweeps.sklearn.searching import Search
from sweeps.sklearn.settings import Refusal


class SweepSearchCV(GridSearchCV):
    """``GridSearchCV`` whose fits are trained compiled, all of them in one launch.

    Parameters
    ----------
    estimator : estimator
        :class:`SweepClassifier`, :class:`SweepRegressor`, or one of scikit-learn's in
        :data:`sweeps.sklearn.adapters.ADAPTERS`: ``MLPClassifier``, ``MLPRegressor``,
        ``LogisticRegression``, ``Ridge``, ``Lasso``, ``ElasticNet``, ``PoissonRegressor``,
        ``HuberRegressor``, ``LinearSVC``, ``SGDClassifier``, ``SGDRegressor``; or a ``Pipeline``
        that ends in one of them, whose other steps are fitted on the training rows of each fold.
    param_grid : dict or list of dict
        Of a ``Pipeline``, parameters of any steps, ``step__name``, and steps themselves. What goes
        before the last step is fitted for each of its settings on each fold.
    cv : int, splitter or iterable, optional
    scoring : str, callable, list, tuple or dict, optional
    refit : bool, str or callable
        As in scikit-learn. Networks are trained compiled on all rows; linear models are fitted by
        their own ``fit``.
    n_jobs : int, optional
        Threads; all cores by default. Results do not depend on it, bit for bit.
    store : path-like, optional
        Folder to keep the fits in, as ``store`` of :func:`sweeps.sweep`: those that it has are not
        trained again. Give estimators a ``random_state``, or they are others each time.
    pruner : optional
        As of :func:`sweeps.sweep`. All candidates race on the first fold, by the loss on its rows;
        those that are not pruned are trained on all folds, and the scores of the others are NaN.
    error_score : "raise" or number
        Score of a fit that diverges.
    return_train_score : bool
    fallback : bool
        Whether what is not trained compiled runs as by ``GridSearchCV``; else it is refused.
    verbose : int
        Of the fallback: a launch tells nothing.

    Attributes
    ----------
    cv_results_, best_estimator_, best_params_, best_score_, best_index_, scorer_, n_splits_, \
    refit_time_, multimetric_, classes_, n_features_in_, feature_names_in_
        As of ``GridSearchCV``. ``mean_fit_time`` is a share of the launch.

    Notes
    -----
    A network of scikit-learn's begins with zero biases, in another order of rows, in float32; and
    any lower training loss is an improvement to ``n_iter_no_change`` (``tol`` is 0). A linear model
    is brought to the minimum of its objective, however it would get there: ``solver``, ``tol``,
    ``max_iter`` and the learning rates of SGD change nothing. The corner of a hinge is rounded.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sweeps.sklearn import SweepSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPClassifier((8,), max_iter=50, random_state=0)
    >>> grid = {"learning_rate_init": [0.003, 0.03], "alpha": [1e-4, 1.0]}
    >>> search = SweepSearchCV(net, grid, cv=3).fit(X, y)
    >>> search.best_params_["learning_rate_init"], round(float(search.best_score_))
    (0.03, 1)
    >>> type(search.best_estimator_).__name__, search.cv_results_["mean_test_score"].shape
    ('MLPClassifier', (4,))
    """

    pre_dispatch = "2*n_jobs"
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **GridSearchCV._parameter_constraints,
        "store": "no_validation",
        "pruner": "no_validation",
        "fallback": ["boolean"],
    }

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        cv: Any = None,
        scoring: Any = None,
        refit: Any = True,
        n_jobs: int | None = None,
        store: Any = None,
        pruner: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        fallback: bool = False,
        verbose: int = 0,
    ) -> None:
        set_params_of_init(self, locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.sparse and self.fallback
        return tags

    def fit(self, X: Any, y: Any = None, **params: Any) -> SweepSearchCV:
        """Train all candidates on all folds, choose one, and fit it on all rows.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n, features)
        y : array_like, shape (n,) or (n, outputs)
        **params
            ``sample_weight``, ``groups``, and what metadata routing passes to the splitter and the
            scorers.

        Returns
        -------
        self

        Raises
        ------
        SpecError
            Something is not trained compiled, and ``fallback`` is False.
        """
        self._validate_params()
        try:
            search = Search(self, X, y, params)
            jobs = search.jobs()
        except Refusal:
            if not self.fallback:
                raise
            return super().fit(X, y, **params)
        return search.finish(jobs)
