"""Several models whose predictions are averaged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.common.resources import check_path
from sweeps.models import files, texts
from sweeps.models.links import spread
from sweeps.models.model import Model
from sweeps.models.predictor import Predictor


class Ensemble(Predictor):
    """The mean of several models: of their probabilities, of their numbers, or of their margins.

    Parameters
    ----------
    models : sequence of Model
        Trained with one loss, for the same labels; each does its own preprocessing.

    Raises
    ------
    SpecError
        There is none, or they differ in loss, labels or outputs.

    Examples
    --------
    >>> from sweeps import problems, sweep
    >>> result = sweep(problems.iris(hidden=(8,)), {"lr": [0.03, 0.1, 0.3]}, epochs=20)
    >>> ensemble = result.models(2)
    >>> ensemble
    Ensemble of 2 models of iris
    >>> ensemble.predict([[5.1, 3.5, 1.4, 0.2]])
    array([0])
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = list(models)
        if not self.models:
            raise SpecError(
                "an ensemble needs one model or more; got none: result.models(n) makes one"
            )
        first = self.models[0]
        for k, model in enumerate(self.models):
            for what in ("loss", "outputs", "classes", "columns"):
                ours, its = _fact(first, what), _fact(model, what)
                if ours != its:
                    raise SpecError(
                        f"an ensemble is of models that predict the same: {what} of model 0 is "
                        f"{shortened(ours)}, of model {k} {shortened(its)}; give "
                        "models of one sweep"
                    )
        self.network, self.classes = first.network, first.classes

    def __len__(self) -> int:
        return len(self.models)

    def _linked(self, X: Any) -> np.ndarray:
        values = [model._linked(X) for model in self.models]
        mean = np.mean(values, axis=0, dtype=np.float64)
        return mean.astype(values[0].dtype)

    @property
    def feature_names(self) -> list[str] | None:
        """Columns of the table that its models were trained with."""
        return self.models[0].feature_names

    @property
    def target_name(self) -> str | None:
        """The column that it predicts."""
        return self.models[0].target_name

    def quantiles(self, X: Any, q: Any = (0.1, 0.5, 0.9)) -> np.ndarray:
        """Return quantiles of what its models predict of each row.

        They say how far the models differ, by their folds, seeds and settings. That is no interval
        in which the truth lies: what no model can know does not make them differ.

        Parameters
        ----------
        X : DataFrame or array_like
            As for :meth:`predict`.
        q : array_like
            From 0 to 1, between the models linearly, as in ``numpy.quantile``.

        Returns
        -------
        ndarray, shape (n, len(q)) or (n, len(q), k)
            Of numbers; of the probabilities of each of ``k`` outputs or classes where there are
            several.

        Raises
        ------
        SpecError
            A number of ``q`` is no share.

        Examples
        --------
        >>> from sweeps import problems, sweep
        >>> result = sweep(problems.diabetes(hidden=(8,)), {"lr": [0.03, 0.1]}, epochs=5)
        >>> ensemble = result.models(2)
        >>> rows = np.zeros((3, 10))
        >>> bool((ensemble.quantiles(rows, [0.5])[:, 0] - ensemble.predict(rows) < 1e-3).all())
        True
        """
        shares = np.atleast_1d(np.asarray(q, np.float64))
        if shares.ndim != 1 or not ((shares >= 0) & (shares <= 1)).all():
            raise SpecError(f"quantiles: q must be shares from 0 to 1; got {shortened(q)}")
        values = np.stack([spread(self.task, model._linked(X)) for model in self.models])
        found = np.moveaxis(np.quantile(values, shares, axis=0), 0, 1).astype(values.dtype)
        return found[:, :, 0] if found.shape[2] == 1 else found

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write all models to one safetensors file, whole or not at all.

        As :meth:`sweeps.Model.save`: the tensors are ``models.0.layers.0.weight`` and so on, all
        else is JSON in the metadata, with a digest of everything. Nothing is pickled.

        Parameters
        ----------
        path : path-like
            Replaced if it exists; its folder must exist.

        Returns
        -------
        Path

        Raises
        ------
        SpecError
            The preprocessing of a model holds a transformer that plain data cannot stand for.
        OSError
            The file cannot be written; an existing one is as before.

        Examples
        --------
        >>> import tempfile
        >>> from sweeps import problems, sweep
        >>> ensemble = sweep(problems.iris(hidden=(8,)), {"lr": [0.1, 0.3]}, epochs=2).models(2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = Ensemble.load(ensemble.save(f"{folder}/iris.safetensors"))
        >>> again
        Ensemble of 2 models of iris
        """
        return files.write_several(check_path(path), [model.parts() for model in self.models])

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Ensemble:
        """Read a file of :meth:`save`; nothing in it is run.

        Raises
        ------
        StateError
            The file is damaged, or holds something else, such as one model.
        OSError
            It cannot be read.

        Examples
        --------
        >>> Ensemble.load("nowhere.safetensors")
        Traceback (most recent call last):
        FileNotFoundError: ...
        """
        path = check_path(path)
        several = files.read_several(path)
        with files.name_file_in_errors(path):
            return cls([Model(**parts._asdict()) for parts in several])

    def summary(self) -> str:
        """Return what its models are, and which trial each of them is.

        Examples
        --------
        >>> from sweeps import problems, sweep
        >>> result = sweep(problems.iris(hidden=(8,)), {"lr": [0.1, 0.3]}, epochs=5)
        >>> print(result.models(2).summary())
        Ensemble of 2 models of iris
          Model of iris: 4-8-3 relu, 67 parameters, float32; softmax_cross_entropy, 3 classes
          trial 1  lr=0.3
          trial 0  lr=0.1
        """
        return "\n  ".join([repr(self), *texts.summary_of_several(self.models)])

    def __repr__(self) -> str:
        name = self.models[0].about.get("problem", "networks")
        return f"Ensemble of {len(self)} model{'s' * (len(self) > 1)} of {name}"


def load(path: str | os.PathLike[str]) -> Model | Ensemble:
    """Read a file of one model or of several, whichever it is; nothing in it is run.

    Parameters
    ----------
    path : path-like
        Written by :meth:`sweeps.Model.save` or :meth:`Ensemble.save`.

    Raises
    ------
    StateError
        The file is damaged, or holds something else.
    OSError
        It cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from sweeps import problems, sweep
    >>> result = sweep(problems.iris(hidden=(8,)), {"lr": [0.1, 0.3]}, epochs=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load(result.models(2).save(f"{folder}/iris.safetensors"))
    Ensemble of 2 models of iris
    """
    path = check_path(path)
    return Ensemble.load(path) if files.holds_several(path) else Model.load(path)


def _fact(model: Model, what: str) -> Any:
    if what == "classes":
        return None if model.classes is None else model.classes.tolist()
    if what == "columns":
        return model.feature_names
    return model.network.loss if what == "loss" else model.network.sizes[-1]
