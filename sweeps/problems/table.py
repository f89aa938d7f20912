"""A network on a table of data: a DataFrame, a CSV or a Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweeps.problems.base import DataProblem
from sweeps.problems.embeddings import embedded_columns
from sweeps.problems.networks import MODEL, network_on
from sweeps.problems.source import Source
from sweeps.problems.table_data import read_table
from sweeps.problems.target_units import link_of_units

USUAL = {"classification": "softmax_cross_entropy", "regression": "squared_error"}
"""Task -> the loss that a network has by default."""


def table(
    table: Any,
    target: Any,
    *,
    task: str | None = None,
    weights: Any = None,
    groups: Any = None,
    time: Any = None,
    test: Any = 0.2,
    validation: Any = None,
    folds: Any = None,
    split_seed: int = 0,
    preprocess: Any = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    na_values: Sequence[str] = (),
    hidden: Sequence[int] = (32,),
    activation: str = "relu",
    init: str = "glorot_uniform",
    layer_norm: bool = False,
    residual: bool = False,
    dropout: float = 0.0,
    input_noise: float = 0.0,
    lr_multipliers: Sequence[float] | str | None = None,
    parametrization: str = "standard",
    base_width: int = 64,
    embed: Sequence[str] = (),
    embed_dim: int = 8,
    loss: str | None = None,
    standardize_target: bool = True,
    class_weight: str | Mapping | None = None,
    metrics: str | Callable | Sequence = (),
    dtype: Any = "float32",
    theta0: Any = None,
    name: str | None = None,
    **constants: float,
) -> DataProblem:
    """Network on a table of columns: numbers, categories, booleans, with gaps.

    Parameters
    ----------
    table : DataFrame, path or array_like
        A table of pandas, polars or pyarrow, a dict of columns, a list of dicts, a matrix, or a CSV
        or Parquet file: :func:`sweeps.problems.files.read_file` says what it may look like.
    target : str, list of str, array or Series
        The column that is predicted, several of them in a regression, or the values themselves.
    task : {"classification", "regression"}, optional
        By default what the target, or the loss, is: text, booleans and integers are classes.
    weights, groups, time : str or array_like, optional
        A column, which is no feature then, or an entry for each row: how much it counts, what it
        belongs to, when it was.
    test, validation, folds, split_seed
        Which rows judge and which choose: see :func:`sweeps.problems.splits.split_rows`. By default
        a fifth of the rows is held out for the test, and another for choosing unless there are
        folds, whose number is an axis ``fold``.
    preprocess : transformer, optional
        Of scikit-learn, a ``Pipeline`` for example; by default gaps are filled in, numbers are
        standardized and categories become columns of zeros and ones. It is fitted on training rows
        only, for each fold anew, and where it draws without a ``random_state``, that is 0. It
        counts rows, not their weights, as in a pipeline of scikit-learn's.
    drop : sequence of str
        Columns to leave out.
    categorical : sequence of str
        Columns of categories that are written as numbers.
    na_values : sequence of str
        Words of a CSV file that stand for missing cells, beside pandas' own.
    hidden, activation, init, layer_norm, residual, dropout, input_noise, lr_multipliers, \
    parametrization, base_width, loss, class_weight, metrics, dtype, theta0, **constants
        As for :func:`sweeps.problems.mlp`.
    standardize_target : bool
        Of a regression: learn the target in units of its own mean and standard deviation, those of
        the training rows of each fold, as scikit-learn's ``TransformedTargetRegressor``. Losses
        are in these units (squared error: 1 is what predicting the mean comes to), and so are
        ``delta`` and ``theta0``; metrics and the predictions of models are in those of the target.
        For a loss of positive means (Poisson, gamma, Tweedie) it is divided by its mean.
    embed : sequence of str
        Columns of categories of which each is a row of a table, ``embed_dim`` numbers that are
        learned, instead of a column of zeros and ones; one that no training row has is zeros.
    embed_dim : int
        How many those are; an axis of sweeps.
    name : str, optional
        What the problem is called in tables and messages; by default as its file.

    Returns
    -------
    DataProblem
        ``preprocess`` is fitted on the training rows, ``classes`` are the labels by their numbers.

    Raises
    ------
    SpecError, ArrayError, ArrayTypeError
        A column or row is none that can be learned from, or there are too few; the message names
        it, and what to do.

    Examples
    --------
    >>> import pandas as pd
    >>> wines = pd.DataFrame(
    ...     {"acid": [7.4, None, 6.0, 5.1] * 5, "red": ["yes", "no"] * 10, "good": [0, 1] * 10}
    ... )
    >>> table(wines, "good", folds=4, hidden=(8,))
    table: 12 training rows, 4 validation, 4 test, 50 parameters, float32
    """
    model = {**{key: value for key, value in locals().items() if key in MODEL}, **constants}
    data = read_table(
        table, target, task=task, weights=weights, groups=groups, time=time, test=test,
        validation=validation, folds=folds, split_seed=split_seed, preprocess=preprocess,
        drop=drop, categorical=categorical, na_values=na_values, loss=loss, name=name,
    )  # fmt: skip
    loss = loss or USUAL[data.task]
    source = Source(
        data.X, data.y, data.weights, data.split, split_seed, data.preprocess, class_weight,
        data.classes, data.content, link_of_units(loss, standardize_target),
    )  # fmt: skip
    embedded = embedded_columns(embed, data.kinds, preprocess)
    if embedded:
        model["embed_dim"] = embed_dim
    told = {"embed": embedded, "name": data.name, "kinds": data.kinds, "target": data.target}
    return network_on(source, hidden, model, metrics, loss=loss, dtype=dtype, theta0=theta0, **told)
