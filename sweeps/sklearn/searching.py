"""A fit of :class:`sweeps.sklearn.SweepSearchCV`, from the table it is given to what it leaves."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import clone, is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import ParameterGrid, check_cv
from sklearn.model_selection._validation import _score
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _check_method_params, validate_data

from fastopt.errors import SpecError
from sweeps.sklearn.adapters import adapter_of, rows_for
from sweeps.sklearn.base import weights_of
from sweeps.sklearn.folds import Fold
from sweeps.sklearn.launches import Job, Ran, alive, launched
from sweeps.sklearn.settings import refused
from sweeps.sklearn.training import Rows

__all__ = ["Search"]

NAMES = ("n_features_in_", "feature_names_in_")
"""What is known of the columns of a table."""

Scores = Any  # a number, or a dict of them by scorer


class Search:
    """One fit: the table, its folds, the candidates, and the scores.

    Parameters
    ----------
    owner : SweepSearchCV
    X, y : array_like
    params : dict
        What ``fit`` was given beside them.

    Raises
    ------
    SpecError
        The estimator or the table is not trained compiled.
    """

    def __init__(self, owner: Any, X: Any, y: Any, params: Mapping[str, Any]) -> None:
        self.owner, self.adapter = owner, adapter_of(owner.estimator)
        if scipy.sparse.issparse(X):
            raise refused(owner.estimator, "takes dense rows, X.toarray(), not sparse ones")
        self.scorers, self.refit_metric = owner._get_scorers()
        self.X, self.y = indexable(X, y)
        params = _check_method_params(self.X, params=params)
        self.routed = owner._get_routed_params_for_fit(params)
        others = sorted({*self.routed.estimator.fit} - {"sample_weight"})
        if others:
            raise refused(owner.estimator, f"passes sample_weight to fit, not {', '.join(others)}")
        self.base = clone(owner.estimator)
        self.rows = self._table()
        cv = check_cv(owner.cv, self.y, classifier=is_classifier(owner.estimator))
        self.splits = list(cv.split(self.X, self.y, **self.routed.splitter.split))
        self.candidates = list(ParameterGrid(owner.param_grid))

    def _table(self) -> Rows:
        classifier = is_classifier(self.base)
        X, y = validate_data(
            self.base, self.X, self.y, dtype=np.float64, multi_output=True, y_numeric=not classifier
        )
        weights = weights_of(self.routed.estimator.fit.get("sample_weight"), len(X))
        return rows_for(self.base, X, y, weights)

    def estimator(self, candidate: Mapping[str, Any]) -> Any:
        """Return an estimator with the parameters of a candidate."""
        return clone(self.base).set_params(**clone(candidate, safe=False))

    def jobs(self) -> list[Job]:
        """Return all candidates on all folds, those of a candidate side by side."""
        several = len(self.splits) > 1
        folds = [
            Fold(self.rows, train, k if several else None)
            for k, (train, _) in enumerate(self.splits)
        ]
        made = []
        for candidate in self.candidates:
            estimator = self.estimator(candidate)
            params = estimator.get_params(deep=False)
            made += [Job(*self.adapter.training(estimator, params, fold), fold) for fold in folds]
        return made

    def finish(self, jobs: Sequence[Job]) -> Any:
        """Train the jobs, and set on the owner what GridSearchCV sets."""
        owner, n = self.owner, len(self.splits)
        out = self._scored(jobs)
        with warnings.catch_warnings():
            if owner.pruner is not None:  # the scores of the others are missing on purpose
                warnings.filterwarnings("ignore", "One or more of the", UserWarning)
            results = owner._format_results(self.candidates, n, out)
        owner.n_splits_, owner.multimetric_ = n, isinstance(out[0]["test_scores"], dict)
        if callable(owner.scoring) and owner.multimetric_:
            owner._check_refit_for_multimetric(out[0]["test_scores"])
            self.refit_metric = owner.refit
        if owner.refit or not owner.multimetric_:
            owner.best_index_ = owner._select_best_index(owner.refit, self.refit_metric, results)
            if not callable(owner.refit):
                owner.best_score_ = results[f"mean_test_{self.refit_metric}"][owner.best_index_]
            owner.best_params_ = results["params"][owner.best_index_]
        if owner.refit:
            began = time.perf_counter()
            owner.best_estimator_ = self._fitted(owner.best_params_)
            owner.refit_time_ = time.perf_counter() - began
            if hasattr(owner.best_estimator_, "feature_names_in_"):
                owner.feature_names_in_ = owner.best_estimator_.feature_names_in_
        owner.scorer_ = getattr(self.scorers, "_scorers", self.scorers)
        owner.cv_results_ = results
        return owner

    def _n_jobs(self) -> int:
        return -1 if self.owner.n_jobs is None else self.owner.n_jobs

    def _scored(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Return what GridSearchCV notes of each job."""
        chosen = self._survivors(jobs)
        out: list[dict[str, Any]] = [{"fit_time": 0.0, "score_time": 0.0} for _ in jobs]
        some = [jobs[k] for k in chosen]
        where = {"n_jobs": self._n_jobs(), "store": self.owner.store}
        weights = not self._counts_hits
        for k, ran in launched(some, self.rows, self.splits, weights=weights, **where):
            out[chosen[k]] = self._noted(chosen[k], ran)
        self._fill_failed(out, chosen)
        return out

    def _survivors(self, jobs: Sequence[Job]) -> list[int]:
        """Return the jobs that are run: a pruner races all candidates on the first fold."""
        if self.owner.pruner is None:
            return list(range(len(jobs)))
        n = len(self.splits)
        left = alive(jobs[::n], self.rows, self.splits, self.owner.pruner, self._n_jobs())
        return [k for k in range(len(jobs)) if k // n in left]

    def _noted(self, k: int, ran: Ran) -> dict[str, Any]:
        """Return times and scores of a job; no scores if it failed."""
        noted: dict[str, Any] = {"fit_time": ran.seconds, "score_time": 0.0}
        if ran.trial.diverged:
            return noted
        began = time.perf_counter()
        train, test = self.splits[k % len(self.splits)]
        if self._counts_hits:
            figures = ran.trial.figures
            noted["test_scores"] = figures["val_accuracy"]
            train_score: Scores = figures["train_accuracy"]
        else:
            fitted = self._made(self.candidates[k // len(self.splits)], ran)
            noted["test_scores"] = self._score(fitted, test)
            train_score = self._score(fitted, train) if self.owner.return_train_score else None
        noted["score_time"] = time.perf_counter() - began
        if self.owner.return_train_score:
            noted["train_scores"] = train_score
        return noted

    @property
    def _counts_hits(self) -> bool:
        """Whether the score is the accuracy that was counted while it was evaluated anyway."""
        owner = self.owner
        unweighted = self.rows.weights is None and not self.routed.scorer.score
        simple = is_classifier(self.base) and owner.scoring in (None, "accuracy")
        weighing = getattr(self.base, "class_weight", None) is not None or any(
            "class_weight" in candidate for candidate in self.candidates
        )
        return (
            simple
            and unweighted
            and self.rows.y.ndim == 1
            and not (owner.return_train_score and weighing)
        )

    def _made(self, candidate: Mapping[str, Any], ran: Ran) -> Any:
        """Return a fitted estimator with the weights of a trial."""
        estimator = self.estimator(candidate)
        fitted = self.adapter.fill(estimator, ran.problem, ran.trial, ran.job.trial)
        for name in NAMES:
            if hasattr(self.base, name):
                setattr(fitted, name, getattr(self.base, name))
        return fitted

    def _score(self, fitted: Any, rows: np.ndarray) -> Scores:
        params = _check_method_params(self.X, params=self.routed.scorer.score, indices=rows)
        some = _safe_indexing(self.X, rows), _safe_indexing(self.y, rows)
        return _score(fitted, *some, self.scorers, params, self.owner.error_score)

    def _fill_failed(self, out: list[dict[str, Any]], ran: Sequence[int]) -> None:
        """Give the jobs that diverged the error score, and those that did not run none."""
        failed = [k for k in ran if "test_scores" not in out[k]]
        told = (
            f"{len(failed)} fits out of {len(ran)} diverged, so their parameters are not finite; "
            "lower learning rates, or scaled features, would mend that"
        )
        if len(failed) == len(ran) or (failed and self.owner.error_score == "raise"):
            raise SpecError(told)
        if failed:
            warnings.warn(
                f"{told}. Their score is {self.owner.error_score}", FitFailedWarning, stacklevel=5
            )
        like = next(noted["test_scores"] for noted in out if "test_scores" in noted)
        parts = ["test_scores"] + ["train_scores"] * self.owner.return_train_score
        for k, noted in enumerate(out):
            value = self.owner.error_score if k in failed else np.nan
            every = dict.fromkeys(like, value) if isinstance(like, dict) else value
            for part in parts:
                noted.setdefault(part, every)

    def _fitted(self, candidate: Mapping[str, Any]) -> Any:
        """Return the best estimator, fitted on all rows."""
        estimator = self.estimator(candidate)
        if self.adapter.refits:
            return estimator.fit(self.X, self.y, **self.routed.estimator.fit)
        fold = Fold(self.rows, np.arange(len(self.rows.X)))
        params = estimator.get_params(deep=False)
        job = Job(*self.adapter.training(estimator, params, fold), fold)
        ((_, ran),) = launched([job], self.rows, [], n_jobs=1)
        if ran.trial.diverged:
            raise SpecError(f"the best candidate, {candidate}, diverges on all rows together")
        return self._made(candidate, ran)
