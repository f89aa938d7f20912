"""Regressions and networks on the user's arrays."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import ArrayError, SpecError, did_you_mean, shortened
from sweeps.common.frames import as_pandas, pd
from sweeps.common.names import check_boolean
from sweeps.problems.arrays import as_dataset, numbers_of, refuse_other_columns
from sweeps.problems.base import DataProblem, check_rows, no_rows
from sweeps.problems.embeddings import number_preprocess, numbered_columns
from sweeps.problems.labels import (
    classes_of,
    is_classification,
    measured,
    numbered,
    plain,
    ravelled,
)
from sweeps.problems.losses import find_loss
from sweeps.problems.networks import MODEL, network_on
from sweeps.problems.source import STANDARDIZE, Source
from sweeps.problems.target_units import link_of_units
from sweeps.problems.targets import refuse_other_order, times_of

SQUARED = "squared_error"


def mlp(
    X: Any,
    y: Any,
    X_test: Any = None,
    y_test: Any = None,
    *,
    X_val: Any = None,
    y_val: Any = None,
    validation: Any = None,
    test: Any = None,
    folds: Any = None,
    groups: Any = None,
    time: Any = None,
    split_seed: int = 0,
    weights: Any = None,
    class_weight: Any = None,
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
    embed: Sequence[int | str] = (),
    embed_dim: int = 8,
    loss: str | None = None,
    metrics: Any = (),
    standardize: bool = True,
    standardize_target: bool = False,
    dtype: Any = "float32",
    theta0: Any = None,
    name: str = "mlp",
    **constants: float,
) -> DataProblem:
    r"""Multi-layer perceptron on the given arrays.

    Parameters
    ----------
    X : array_like or DataFrame, shape (n, features)
        Numbers and booleans, of any dtype that scikit-learn takes; none of them missing.
    y : array_like or Series, shape (n,) or (n, outputs)
        Labels of two classes or more: text, booleans, categories or integers, with gaps or from any
        number on. Or the targets of a regression: numbers. Whole numbers as floats, and numbers as
        text, may be either: ``loss`` says which.
    X_test, y_test : array_like, optional
        Rows that are evaluated, never trained on. Their labels are among those of ``y``.
    X_val, y_val : array_like, optional
        Rows that are evaluated to choose among trials, never trained on.
    validation, test, folds, groups, time
        Which rows of ``X`` are held out to choose and to judge, instead of giving them apart: see
        :func:`sweeps.problems.splits.split_rows`. With ``folds``, ``fold`` is an axis of sweeps.
    split_seed : int
        Which rows those are.
    weights : (n,) array_like, optional
        What the rows of ``X`` count for; a loss is :math:`\sum_i w_i l_i / \sum_i w_i`, and means
        of features likewise, so a row of weight k is k rows, and one of weight 0 none.
    class_weight : "balanced" or dict, optional
        What the training rows of each class count for, as in scikit-learn.
    hidden : sequence of int
        Widths of the hidden layers; ``()`` is a linear model.
    activation : str
        Of the hidden layers: a name in :data:`sweeps.problems.activations.ACTIVATIONS`.
    init : str
        How weights are drawn: a name in :data:`sweeps.problems.initialisations.INITIALISATIONS`.
    layer_norm : bool
        Whether hidden layers are normed before their activation, with a learned gain and shift for
        each unit, as in ``torch.nn.LayerNorm``.
    residual : bool
        Whether a hidden layer that follows one of the same width adds that one's outputs to its
        own, behind activation and dropout.
    dropout : float
        Share of the hidden units that each row of a minibatch goes without, from 0 to less than 1.
        The others count for 1 / (1 - dropout), as in ``torch.nn.Dropout``; evaluations use all.
    input_noise : float
        Standard deviation of the normal noise that is added to the inputs of a minibatch, as the
        network sees them (standardized); evaluations add none. Like dropout, it follows from the
        seed of a trial and the step: the same bits in any run.
    lr_multipliers : sequence of float or str, optional
        What the steps of each layer, weights and biases, are multiplied by, from the first to that
        of the outputs: ``(1, 0.1, 1)``, or as a value of an axis ``"1, 0.1, 1"``. By a rule whose
        steps are proportional to ``lr`` this is a learning rate for each layer, decay included.
    parametrization : {"standard", "mup"}
        With ``"mup"``, the maximal update parametrization for Adam and its kind, the best learning
        rate of a narrow network is that of wide ones: see :mod:`sweeps.problems.lr_multipliers`. It
        needs an ``init`` of He or LeCun.
    base_width : int
        Width of hidden layers at which "mup" is "standard".
    embed : sequence of int or str
        Columns of whole numbers, by their positions or, of a DataFrame, names, that stand for
        categories: each is a row of a table, ``embed_dim`` numbers that are learned, as in
        ``torch.nn.Embedding``. One that no training row has is zeros. They come after the others.
    embed_dim : int
        How many those are; an axis of sweeps.
    loss : str, optional
        A name in :data:`sweeps.problems.losses.LOSSES`; by default softmax cross-entropy for labels
        and squared error (the mean over rows and outputs) for floats. ``"logistic"`` has one output
        for two classes.
    metrics : str, callable or sequence of them
        What is measured beside loss and accuracy, on training, validation and test rows: names in
        :data:`sweeps.problems.metrics.METRICS` that fit the loss, and plain functions of yours,
        ``f(outputs, y, weights) -> number``, which are compiled.
    standardize : bool
        Shift and scale every feature by the mean and standard deviation of the training rows, by
        scikit-learn's ``StandardScaler``, before anything is cast to ``dtype``.
    standardize_target : bool
        The same for the targets of a regression; losses are in these units then, metrics and the
        predictions of models in those given: see :func:`sweeps.problems.table`. Advisable for
        targets that are not about as large as 1.
    dtype : {"float32", "float64"}
        Of data, parameters and arithmetic.
    theta0 : array_like, optional
        Initial parameters ``W_1, b_1, W_2, ...`` flat, behind them gain and shift of each norm; by
        default drawn from the trial's seed (Glorot uniform weights, zero biases).
    name : str
        What the problem is called in tables and messages.
    **constants
        Of the loss: ``label_smoothing``, ``delta``, ``quantile``, ... Each is an axis of sweeps,
        too, as are ``hidden``, ``activation``, ``init``, ``layer_norm``, ``residual``,
        ``dropout``, ``input_noise``, ``lr_multipliers``, ``parametrization``, ``base_width``,
        ``n_train`` and ``label_noise``.

    Returns
    -------
    DataProblem
        ``classes`` are the labels by their numbers, ``mean`` and ``scale`` those of the features.

    Raises
    ------
    SpecError, ArrayError, ArrayTypeError
        Shapes do not fit, data are not numbers, missing, masked or not finite, a test row has a
        label that no training row has, or a name is unknown.

    Warns
    -----
    SweepWarning
        float32 loses what distinguishes the rows, labels stand in a column, or integers have so
        many values that they may be measurements.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> problem = mlp(rng.normal(size=(20, 3)), ["no", "yes"] * 10, hidden=(4, 4))
    >>> problem
    mlp: 20 training rows, 46 parameters, float32
    >>> problem.classes[problem.y[:3]]
    array(['no', 'yes', 'no'], dtype='<U3')
    """
    model = {**{key: value for key, value in locals().items() if key in MODEL}, **constants}
    X, X_val, X_test = map(as_pandas, (X, X_val, X_test))
    fixed = {"validation": validation, "test": test, "folds": folds}
    refuse_other_order(X, {"y": y, "weights": weights, "groups": groups, "time": time, **fixed})
    categorical = isinstance(getattr(y, "dtype", None), pd.CategoricalDtype)
    tables, targets = _read(name, X, y, (("val", X_val, y_val), ("test", X_test, y_test)))
    if loss is None:
        loss = "softmax_cross_entropy" if is_classification(targets[0], categorical) else SQUARED
    _refuse_unknown(constants, loss)
    target, classes = encode_targets(loss, targets)
    rows = np.concatenate([table for table in tables if len(table)])
    preprocess: Any = STANDARDIZE if check_boolean("standardize", standardize) else None
    embedded = numbered_columns(embed, X, rows)
    if embedded:
        preprocess = number_preprocess(embedded, rows.shape[1], standardize, weights is not None)
        model["embed_dim"] = embed_dim
    source = Source(
        rows, target, weights=_weights(weights, tables), seed=split_seed, preprocess=preprocess,
        split=_split_options(tables, fixed, groups, time), class_weight=class_weight,
        classes=classes, link=link_of_units(loss, standardize_target),
    )  # fmt: skip
    settings = {"name": name, "loss": loss, "dtype": dtype, "theta0": theta0, "embed": embedded}
    return network_on(source, hidden, model, metrics, names=_names_of(X), **settings)


def _refuse_unknown(constants: Mapping[str, Any], loss: str) -> None:
    """Raise if one of the keywords that are no arguments is no constant of the loss either."""
    own = find_loss(loss).constants
    allowed = [*own, *list(inspect.signature(mlp).parameters)[:-1]]
    for name in constants:
        if name not in own:
            raise SpecError(
                f"there is no argument {name!r}{did_you_mean(name, allowed)}; beside those of "
                f"problems.mlp, the loss {loss} has {', '.join(own) or 'none'}"
            )


def _read(name: str, X: Any, y: Any, more: Sequence[tuple[str, Any, Any]]) -> tuple[list, list]:
    """Return the tables of features and the targets: of training rows, and of those given apart."""
    tables, targets = [as_dataset("X", X)], [plain("y", y)]
    check_rows(tables[0], targets[0], name)
    for part, features, labels in more:
        given = features is not None or labels is not None
        refuse_other_columns(X, features)
        table: Any = () if features is None else as_dataset(f"X_{part}", features)
        target: Any = () if labels is None else plain(f"y_{part}", labels)
        if given:
            check_rows(table, target, f"{name} ({part})")
            if table.shape[1] != tables[0].shape[1]:
                raise ArrayError(
                    f"X has {tables[0].shape[1]} features and X_{part} has {table.shape[1]}"
                )
        tables.append(table if given else no_rows(tables[0]))
        targets.append(target if given else targets[0][:0])
    return tables, targets


def _names_of(X: Any) -> tuple[str, ...] | None:
    """Return the names of a table's columns, by which a model finds them; None if they are none."""
    names = X.columns.tolist() if isinstance(X, pd.DataFrame) else []
    named = names and len({*names}) == len(names) and all(isinstance(name, str) for name in names)
    return tuple(names) if named else None


def _split_options(
    tables: Sequence[np.ndarray], fixed: Mapping[str, Any], groups: Any, time: Any
) -> dict[str, Any]:
    """Return how rows are split: as asked, rows that are given apart being what they are."""
    ends = np.cumsum([len(table) for table in tables]).tolist()
    split = {**fixed, "groups": groups, "time": None if time is None else times_of(time)}
    for k, (name, argument) in enumerate((("validation", "X_val"), ("test", "X_test")), 1):
        if len(tables[k]):
            if fixed[name]:
                raise SpecError(
                    f"{argument} gives the {name} rows, and {name}={shortened(fixed[name])} would "
                    "draw others; keep one of them"
                )
            split[name] = np.arange(ends[k - 1], ends[k])
    return {name: value for name, value in split.items() if value is not None}


def softmax_regression(
    X: Any, y: Any, X_test: Any = None, y_test: Any = None, **options: Any
) -> DataProblem:
    """Multinomial logistic regression: :func:`mlp` without hidden layers, on labels.

    Examples
    --------
    >>> softmax_regression(np.eye(3), np.arange(3)).n_params
    12
    """
    return mlp(
        X,
        y,
        X_test,
        y_test,
        hidden=(),
        name="softmax_regression",
        loss="softmax_cross_entropy",
        **options,
    )


def logistic_regression(
    X: Any, y: Any, X_test: Any = None, y_test: Any = None, **options: Any
) -> DataProblem:
    """Binary logistic regression: :func:`mlp` without hidden layers, two classes, one output.

    Examples
    --------
    >>> logistic_regression(np.eye(2), np.arange(2)).n_params
    3
    """
    return mlp(
        X, y, X_test, y_test, hidden=(), name="logistic_regression", loss="logistic", **options
    )


def linear_regression(
    X: Any, y: Any, X_test: Any = None, y_test: Any = None, **options: Any
) -> DataProblem:
    """Least squares by gradient descent: :func:`mlp` without hidden layers, on real targets.

    Examples
    --------
    >>> linear_regression(np.eye(2), np.array([0.5, 1.5]), dtype="float64").n_params
    3
    """
    return mlp(
        X, y, X_test, y_test, hidden=(), name="linear_regression", loss="squared_error", **options
    )


def encode_targets(loss: str, parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the targets of all parts, labels by their numbers, and the classes of labels."""
    named = [(name, y) for name, y in zip(("y", "y_val", "y_test"), parts) if len(y)]
    if find_loss(loss).task in ("regression", "multilabel"):
        made = {name: measured(name, y, "float64") for name, y in named}
        for name, y in made.items():
            if y.shape[1] != made["y"].shape[1]:
                raise ArrayError(
                    f"y has {made['y'].shape[1]} outputs a row and {name} has {y.shape[1]}"
                )
        return np.concatenate(list(made.values())), None
    labels = {name: ravelled(name, y) for name, y in named}
    classes = classes_of(loss, labels["y"])
    return np.concatenate([numbered(*pair, classes) for pair in labels.items()]), classes


def _weights(weights: Any, tables: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return the weights of all rows; those given apart count for one each."""
    if weights is None:
        return None
    read = numbers_of("weights", weights).ravel()
    if len(read) != len(tables[0]):
        raise ArrayError(
            f"weights has {len(read)} numbers and X has {len(tables[0])} rows; give one a row"
        )
    wrong = np.flatnonzero(~(np.isfinite(read) & (read >= 0.0)))
    if len(wrong):
        raise ArrayError(
            f"weights[{wrong[0]}] is {read[wrong[0]]}; weights must be finite numbers >= 0"
        )
    return np.concatenate([read, np.ones(sum(map(len, tables[1:])))])
