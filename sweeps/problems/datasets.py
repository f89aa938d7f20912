"""Datasets that ship with scikit-learn, by name."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.common import known
from sweeps.common.names import check_boolean
from sweeps.problems.base import DataProblem
from sweeps.problems.data import SQUARED, encode_targets
from sweeps.problems.networks import MODEL, Network, data_axes, model_axes
from sweeps.problems.prepared import prepared
from sweeps.problems.source import STANDARDIZE, Parts, Source

__all__ = ["DATASETS"]


def _shipped(name: str) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """Return what loads a dataset of scikit-learn's."""

    def load() -> tuple[np.ndarray, np.ndarray]:
        import sklearn.datasets

        return getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)

    return load


def _moons() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import make_moons

    return make_moons(1000, noise=0.2, random_state=42)


LOADERS: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    **{name: _shipped(name) for name in ("digits", "iris", "wine", "breast_cancer", "diabetes")},
    "moons": _moons,
}
"""Name -> what loads the features and targets of a dataset, whose row is in ``known.DATASETS``."""


def rows_of(name: str, loss: str | None, preprocess: str | None, seed: int, split: tuple) -> Source:
    """Return the rows of a dataset, by default with the targets of the loss that fits them."""
    # Raw arrays are kept, too: a process that has them does not import scikit-learn.
    X, y = prepared(f"{name}_raw", LOADERS[name])
    target, classes = encode_targets(loss or usual_loss(y), [y])
    return Source(
        np.asarray(X, np.float64), target, None, dict(split), seed, preprocess, classes=classes
    )


def usual_loss(y: np.ndarray) -> str:
    """Return the loss that targets of this dtype are for."""
    return "softmax_cross_entropy" if y.dtype.kind in "iu" else SQUARED


def dataset_rows(
    name: str, loss: str | None, standardize: bool, dtype: Any, seed: Any, split: Mapping[str, Any]
) -> tuple[Callable[[], Source], tuple, Parts, dict[str, Any], np.ndarray | None]:
    """Return what loads the rows of a dataset, its arguments, the split rows, axes and classes.

    A process that finds them in the cache does not import scikit-learn.
    """
    held = tuple((key, value) for key, value in split.items() if value)
    preprocess = STANDARDIZE if check_boolean("standardize", standardize) else None
    made_by = name, loss, preprocess, seed, held
    load = functools.partial(rows_of, *made_by)

    def split_rows() -> list[Any]:
        source = load()
        return [*source.parts(dtype)[:-1], source.classes, np.array(list(data_axes(source)))]

    # Of a splitter nobody knows whether it splits alike every time.
    fixed = all(isinstance(value, numbers.Real | None) for value in (seed, *split.values()))
    known = np.dtype(dtype).name, repr(made_by)
    *rows, classes, names = prepared(name, split_rows, *known) if fixed else split_rows()
    start = {"fold": 0, "n_train": None, "label_noise": 0.0, "split_seed": seed}
    return load, made_by, Parts(*rows), {str(n): start[str(n)] for n in names}, classes


def _dataset(name: str, summary: str) -> Callable[..., DataProblem]:
    """Make the constructor of a named dataset."""

    def build(
        *,
        hidden: Sequence[int] = (32,),
        activation: str = "relu",
        layer_norm: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
        input_noise: float = 0.0,
        loss: str | None = None,
        test_size: float = 0.25,
        validation: Any = None,
        folds: Any = None,
        split_seed: int = 0,
        standardize: bool = True,
        dtype: Any = "float32",
        theta0: Any = None,
    ) -> DataProblem:
        model = {key: value for key, value in locals().items() if key in MODEL}
        if not 0.0 <= test_size < 1.0:
            raise SpecError(f"test_size must be in [0, 1); got {shortened(test_size)}")
        split = {"test": test_size, "validation": validation, "folds": folds}
        load, made_by, parts, axes, classes = dataset_rows(
            name, loss, standardize, dtype, split_seed, split
        )
        chosen = loss or usual_loss(parts.y)
        network = Network(name, chosen, load, made_by, classes, parts.X.dtype, theta0)
        return network.on(parts, model_axes(chosen, hidden, **model) | axes)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""{summary}

    Parameters
    ----------
    hidden, activation, layer_norm, residual, dropout, input_noise, loss, validation, folds, \
    standardize, dtype, theta0
        As for :func:`sweeps.problems.mlp`; ``hidden=()`` is a linear model.
    test_size : float
        Share of the rows kept for testing, stratified by label; 0 for none.
    split_seed : int
        Which rows those are.

    Returns
    -------
    DataProblem

    Examples
    --------
    >>> problem = {name}(hidden=())
    >>> problem.name, problem.has_test
    ('{name}', True)
    """
    return build


DATASETS: dict[str, Callable[..., DataProblem]] = {
    name: _dataset(name, summary) for name, summary in known.DATASETS.items()
}

digits, iris, wine, breast_cancer, diabetes, moons = DATASETS.values()
__all__ += list(DATASETS)
