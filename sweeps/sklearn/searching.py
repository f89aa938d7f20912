"""A fit of :class:`sweeps.sklearn.SweepSearchCV`, from the table it is given to what it leaves."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import clone, is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import ParameterGrid, check_cv
from sklearn.model_selection._validation import _score
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _check_method_params, _num_samples

from fastopt.errors import SpecError
from sweeps.problems.losses import find_loss
from sweeps.sklearn.adapters import rows_for
from sweeps.sklearn.base import weights_of
from sweeps.sklearn.candidates import candidates_of, variants_of
from sweeps.sklearn.folds import Fold
from sweeps.sklearn.launches import Job, Ran, surviving_jobs, train_jobs
from sweeps.sklearn.pipelines import (
    Prepared,
    fit_params_of,
    is_piped,
    prepare_table,
    with_earlier_steps,
)
from sweeps.sklearn.settings import refusal

NAMES = ("n_features_in_", "feature_names_in_")
"""What is known of the columns of a table."""

Scores = Any  # a number, or a dict of them by scorer


class Search:
    """One fit: the table, its folds, the candidates, and the scores.

    ``params``: what ``fit`` was given beside ``X`` and ``y``.
    """

    def __init__(self, owner: Any, X: Any, y: Any, params: Mapping[str, Any]) -> None:
        self.owner, self.base = owner, clone(owner.estimator)
        piped = is_piped(self.base)
        self.candidates = candidates_of(self.base, list(ParameterGrid(owner.param_grid)))
        if scipy.sparse.issparse(X) and not piped:
            raise refusal(owner.estimator, "takes dense rows, X.toarray(), not sparse ones")
        self.scorers, self.refit_metric = owner._get_scorers()
        self.X, self.y = indexable(X, y)
        params = _check_method_params(self.X, params=params)
        self.routed = owner._get_routed_params_for_fit(params)
        self.weights = self._weights()
        whole = None if piped else prepare_table(self.base, self.X, self.y)
        cv = check_cv(owner.cv, self.y, classifier=is_classifier(owner.estimator))
        self.splits = self._split_rows(cv.split(self.X, self.y, **self.routed.splitter.split))
        table = self.X, self.y, self.weights
        self.variants = variants_of(self.candidates, table, self.splits, whole)

    def _split_rows(self, splits: Iterable[tuple[Any, Any]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return folds as numbers of rows; a row stands once in a fold, and so in one part."""
        every, made = np.arange(_num_samples(self.X)), []
        for k, (train, test) in enumerate(splits):
            try:
                made.append((every[train], every[test]))
            except IndexError as error:
                raise SpecError(f"cv, fold {k}: {error}; rows must be below {len(every)}") from None
            rows, times = np.unique(np.concatenate(made[-1]), return_counts=True)
            if len(rows) and times.max() > 1:
                raise refusal(
                    self.owner.estimator,
                    f"has each row once in a fold; row {rows[times.argmax()]} stands "
                    f"{times.max()} times in fold {k}, trained on or scored",
                )
        if not made:
            raise SpecError("cv has no folds; give one pair of rows or more")
        return made

    def _weights(self) -> Any:
        """Return the weights of rows that the estimator is fitted with, or say what it is not."""
        given = fit_params_of(self.base, self.routed.estimator.fit)
        others = sorted({*given} - {"sample_weight"})
        if others:
            raise refusal(
                self.owner.estimator, f"passes sample_weight to fit, not {', '.join(others)}"
            )
        return weights_of(given.get("sample_weight"), _num_samples(self.X))

    def jobs(self) -> list[Job]:
        """Return all candidates on all folds, those of a candidate side by side."""
        made = []
        for candidate in self.candidates:
            last, training = candidate.last, candidate.adapter.training
            folds = self.variants[candidate.variant].folds
            made += [Job(*training(last, candidate.own, fold), fold) for fold in folds]
        return made

    def finish(self, jobs: Sequence[Job]) -> Any:
        """Train the jobs, and set on the owner what GridSearchCV sets."""
        owner, n = self.owner, len(self.splits)
        out = self._score_jobs(self._settle_jobs(jobs))
        with warnings.catch_warnings():
            if owner.pruner is not None:  # the scores of the others are missing on purpose
                warnings.filterwarnings("ignore", "One or more of the", UserWarning)
            results = owner._format_results([c.params for c in self.candidates], n, out)
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
            owner.best_estimator_ = self._fit_best(owner.best_index_)
            owner.refit_time_ = time.perf_counter() - began
            if hasattr(owner.best_estimator_, "feature_names_in_"):
                owner.feature_names_in_ = owner.best_estimator_.feature_names_in_
        owner.scorer_ = getattr(self.scorers, "_scorers", self.scorers)
        owner.cv_results_ = results
        return owner

    def _n_jobs(self) -> int:
        return -1 if self.owner.n_jobs is None else self.owner.n_jobs

    def _settle_jobs(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Return the jobs with what has to be found before they are trained."""
        made, of = list(jobs), [c for c in self.candidates for _ in self.splits]
        launch = functools.partial(train_jobs, splits=self.splits, n_jobs=self._n_jobs())
        for settle in {c.adapter.settle for c in self.candidates if c.adapter.settle}:
            some = [k for k, candidate in enumerate(of) if candidate.adapter.settle is settle]
            found = settle([jobs[k] for k in some], [of[k].last for k in some], launch)
            for k, job in zip(some, found):
                made[k] = job
        return made

    def _score_jobs(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Return what GridSearchCV notes of each job."""
        chosen = self._survivors(jobs)
        out: list[dict[str, Any]] = [{"fit_time": 0.0, "score_time": 0.0} for _ in jobs]
        some = [jobs[k] for k in chosen]
        where = {"n_jobs": self._n_jobs(), "store": self.owner.store}
        weights = not self._counts_hits(jobs)
        for k, ran in train_jobs(some, self.splits, weights=weights, **where):
            out[chosen[k]] = self._note_job(chosen[k], ran, counted=not weights)
        self._fill_failed(out, chosen)
        return out

    def _survivors(self, jobs: Sequence[Job]) -> list[int]:
        """Return the jobs that are run: a pruner races all candidates on the first fold."""
        if self.owner.pruner is None:
            return list(range(len(jobs)))
        n = len(self.splits)
        left = surviving_jobs(jobs[::n], self.splits, self.owner.pruner, self._n_jobs())
        return [k for k in range(len(jobs)) if k // n in left]

    def _note_job(self, k: int, ran: Ran, counted: bool) -> dict[str, Any]:
        """Return times and scores of a job; no scores if it failed."""
        noted: dict[str, Any] = {"fit_time": ran.seconds, "score_time": 0.0}
        if ran.trial.diverged:
            return noted
        began = time.perf_counter()
        candidate, fold = divmod(k, len(self.splits))
        train, test = self.splits[fold]
        if counted:
            figures = ran.trial.figures
            noted["test_scores"] = figures["val_accuracy"]
            train_score: Scores = figures["train_accuracy"]
        else:
            made = self.variants[self.candidates[candidate].variant].prepared[fold]
            fitted = self._fill_estimator(candidate, ran, made)
            noted["test_scores"] = self._score(fitted, test)
            train_score = self._score(fitted, train) if self.owner.return_train_score else None
        noted["score_time"] = time.perf_counter() - began
        if self.owner.return_train_score:
            noted["train_scores"] = train_score
        return noted

    def _counts_hits(self, jobs: Sequence[Job]) -> bool:
        """Tell whether the score is the accuracy that was counted while it was evaluated anyway."""
        owner = self.owner
        unweighted = self.weights is None and not self.routed.scorer.score
        simple = is_classifier(self.base) and owner.scoring in (None, "accuracy")
        weighing = any(job.model.get("class_weight") is not None for job in jobs)
        # Training rows may count otherwise, or have other features, than what predict sees.
        others = owner.return_train_score and (weighing or is_piped(self.base))
        tasks = {find_loss(job.model["loss"]).task for job in jobs}
        return simple and unweighted and "multilabel" not in tasks and not others

    def _fill_estimator(self, candidate: int, ran: Ran, made: Prepared) -> Any:
        """Return a fitted estimator with the weights of a trial."""
        chosen = self.candidates[candidate]
        fitted = chosen.adapter.fill(clone(chosen.last), ran)
        for name in NAMES:
            if hasattr(made.last, name):
                setattr(fitted, name, getattr(made.last, name))
        return with_earlier_steps(chosen.whole, made, fitted)

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
            raise SpecError(f"{told}: give the grid other values")
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

    def _fit_best(self, number: int) -> Any:
        """Return the best estimator, fitted on all rows."""
        candidate = self.candidates[number]
        if candidate.adapter.refits:
            whole = clone(candidate.whole)
            return whole.fit(self.X, self.y, **self.routed.estimator.fit)
        made, last = prepare_table(candidate.whole, self.X, self.y), candidate.last
        rows = rows_for(last, made.X, made.y, self.weights)
        fold = Fold(rows, np.arange(len(rows.X)))
        job = Job(*candidate.adapter.training(last, candidate.own, fold), fold)
        ((_, ran),) = train_jobs([job], [], n_jobs=1)
        if ran.trial.diverged:
            raise SpecError(
                f"the best candidate, {candidate.params}, diverges on all rows together; lower its "
                "learning rate, or scale the features"
            )
        return self._fill_estimator(number, ran, made)
