"""Several models whose predictions are averaged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.common.resources import check_path
from sweeps.models import files
from sweeps.models.model import Model
from sweeps.models.predictor import Predictor

__all__ = ["Ensemble"]


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
            for what in ("loss", "outputs", "classes"):
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
        with files.refusing(path):
            return cls([Model(**parts._asdict()) for parts in several])

    def summary(self) -> str:
        """Return what its models are, a line each.

        Examples
        --------
        >>> from sweeps import problems, sweep
        >>> result = sweep(problems.iris(hidden=(8,)), {"lr": [0.1, 0.3]}, epochs=5)
        >>> print(result.models(2).summary())
        Ensemble of 2 models of iris
          Model of iris: 4-8-3 relu, 67 parameters, float32; softmax_cross_entropy, 3 classes
          Model of iris: 4-8-3 relu, 67 parameters, float32; softmax_cross_entropy, 3 classes
        """
        return "\n  ".join([repr(self), *map(repr, self.models)])

    def __repr__(self) -> str:
        name = self.models[0].about.get("problem", "networks")
        return f"Ensemble of {len(self)} model{'s' * (len(self) > 1)} of {name}"


def _fact(model: Model, what: str) -> Any:
    if what == "classes":
        return None if model.classes is None else model.classes.tolist()
    return model.network.loss if what == "loss" else model.network.sizes[-1]
