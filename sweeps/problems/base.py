"""What a data problem is made of: arrays, sizes and three plain functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastopt.errors import SpecError, did_you_mean, shortened
from sweeps.common.pickling import Shippable


@dataclass(frozen=True, eq=False)
class DataProblem(Shippable):
    """An objective with a dataset, trained on minibatches inside compiled kernels.

    Parameters
    ----------
    name : str
        What the problem is called in tables and messages.
    loss_and_grad : callable
        ``loss_and_grad(theta, X, y, aux, grad, work) -> loss``: the mean loss of the rows given;
        writes its gradient to ``grad`` (shape of ``theta``); may use ``work`` as scratch.
    evaluate : callable
        ``evaluate(theta, X, y, aux, grad, work) -> (mean loss, accuracy)``; accuracy is NaN where
        it has no meaning; ``grad`` is scratch.
    init : callable
        ``init(theta, aux, seed)`` writes the initial parameters; unused with ``theta0``.
    X, y, X_test, y_test : ndarray
        Training and test rows, C-contiguous; ``X`` is ``(n, features)``, ``y`` is ``(n,)`` or
        ``(n, outputs)``.
    aux : tuple of ndarray
        Whatever else the functions need (layer sizes, constants).
    n_params : int
        Length of ``theta``.
    work_per_row, work_rows : int
        Scratch numbers needed for each row of a batch, and the least number of rows to provide.
    flops_per_row : float
        Floating-point operations to train on one row: the cost model's only input.
    theta0 : ndarray or None
        Fixed initial parameters; ``None`` draws them from the trial's seed.
    options : dict
        What it was made with, by name: ``loss`` and ``activation`` of a network.
    hidden : tuple of int
        Widths of the hidden layers, if it has any.
    X_val, y_val : ndarray, optional
        Rows for choosing: evaluated like test rows, and what trials are ranked by if there are any.
    metrics : tuple of str
        What else is measured on all parts of the rows, beside loss and accuracy.
    score : callable, optional
        ``score(theta, X, y, aux, work, outputs, out)`` writes one number for each of the metrics to
        ``out``; ``outputs`` is scratch of shape (rows, n_outputs).
    n_outputs : int
        Outputs of the model for a row, if there are metrics.
    draws : bool
        Whether ``loss_and_grad`` draws random numbers, and so takes two more arguments, the seed of
        the trial (uint64) and the number of the step (int64, from 1).
    penalised : ndarray of int64, shape (2 k,)
        Where the weights of each layer begin and end in ``theta``: what ``l1`` and ``l2`` shrink.
    lr_multipliers : ndarray, shape (n_params,) or (0,)
        What the step of each parameter is multiplied by.
    axes : dict of str to object
        Axes whose values remake the problem (``hidden``, ``fold``, ...), each with its value here.
    recipe : object, optional
        Its ``remade(problem, values)`` returns the problem with other values of some of the axes,
        and ``refitted(problem)`` with its validation rows among those it trains on.
    classes : ndarray or None
        Labels as the user named them: ``classes[y]`` are those of the rows; None in a regression.
    mean, scale : ndarray of float64 or None
        ``X * scale + mean`` are the features as they were given; None if they are as given.
    preprocess : transformer or None
        What made ``X`` of the features as they were given, fitted on training rows, if that is no
        shift and scale.
    feature_names : tuple of str or None
        Columns of the table that the features were, in their order.
    target_name : str or None
        Column that is predicted.
    target_mean, target_scale : ndarray of float64 or None
        Of targets that are standardized: ``y`` has them so in its first columns, and in as many
        behind those as they were given.

    Examples
    --------
    >>> from sweeps import problems
    >>> problem = problems.iris(hidden=(8,))
    >>> problem.n_params, problem.X.shape
    (67, (112, 4))
    """

    name: str
    loss_and_grad: Callable
    evaluate: Callable
    init: Callable
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    aux: tuple[np.ndarray, ...]
    n_params: int
    work_per_row: int = 0
    work_rows: int = 0
    flops_per_row: float = 0.0
    theta0: np.ndarray | None = None
    options: dict[str, Any] = field(default_factory=dict)
    hidden: tuple[int, ...] = ()
    X_val: Any = None
    y_val: Any = None
    metrics: tuple[str, ...] = ()
    score: Callable | None = None
    n_outputs: int = 0
    penalised: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    lr_multipliers: np.ndarray = field(default_factory=lambda: np.empty(0))
    axes: Mapping[str, Any] = field(default_factory=dict)
    recipe: Any = None
    # Its functions say so.
    draws: bool = field(default=False, compare=False)
    # What trials do not depend on: no part of a problem's identity in a store.
    classes: np.ndarray | None = field(default=None, compare=False)
    mean: np.ndarray | None = field(default=None, compare=False)
    scale: np.ndarray | None = field(default=None, compare=False)
    preprocess: Any = field(default=None, compare=False)
    feature_names: tuple[str, ...] | None = field(default=None, compare=False)
    target_name: Any = field(default=None, compare=False)
    target_mean: np.ndarray | None = field(default=None, compare=False)
    target_scale: np.ndarray | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name, like in (("X_val", self.X), ("y_val", self.y)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, no_rows(like))

    def __repr__(self) -> str:
        parts = (("validation", self.X_val), ("test", self.X_test))
        more = "".join(f", {len(rows)} {name}" for name, rows in parts if len(rows))
        return (
            f"{self.name}: {len(self.X)} training rows{more}, {self.n_params} parameters, "
            f"{self.X.dtype}"
        )

    def varied(self, **values: Any) -> DataProblem:
        """Return this problem with other values of some of its axes.

        Parameters
        ----------
        **values
            By the names in ``axes``: ``hidden="32-16"``, ``activation="tanh"``, ``fold=2``.

        Raises
        ------
        SpecError
            It has no such axis, or the axis no such value.

        Examples
        --------
        >>> from sweeps import problems
        >>> problem = problems.iris(hidden=(8,)).varied(hidden="4-4", activation="tanh")
        >>> problem.hidden, problem.axes["activation"]
        ((4, 4), 'tanh')
        """
        for name in values:
            if name == "hidden" and name not in self.axes:
                raise SpecError(
                    f"hidden={shortened(values[name])}: {self.name} is not a network of layers"
                )
            if name not in self.axes:
                known = ", ".join(self.axes) or "none"
                raise SpecError(
                    f"{shortened(name)}={shortened(values[name])}: {self.name} has no such axis"
                    f"{did_you_mean(name, self.axes)}; it has {known}"
                )
        return self.recipe.remade(self, values) if values else self

    def refitted(self) -> DataProblem:
        """Return this problem with its validation rows among those it trains on.

        Raises
        ------
        SpecError
            It has no validation rows.
        """
        if not self.has_validation or self.recipe is None:
            raise SpecError(f"{self.name} has no validation rows to train on as well")
        return self.recipe.refitted(self)

    def with_hidden(self, hidden: int | str) -> DataProblem:
        """Return this problem with other hidden layers: a value of the axis ``hidden``.

        Parameters
        ----------
        hidden : int or str
            The width of every hidden layer there is, or all widths joined by hyphens: ``"32-16"``.

        Raises
        ------
        SpecError
            The problem has no layers, or fixed initial parameters; or this is not a width.

        Examples
        --------
        >>> from sweeps import problems
        >>> problem = problems.iris(hidden=(8, 8))
        >>> problem.with_hidden(4).hidden, problem.with_hidden("16").hidden
        ((4, 4), (16,))
        """
        return self.varied(hidden=hidden)

    @property
    def has_validation(self) -> bool:
        """Whether there are validation rows, by which trials are chosen."""
        return len(self.X_val) > 0

    @property
    def has_test(self) -> bool:
        """Whether there are test rows."""
        return len(self.X_test) > 0

    @property
    def dtype(self) -> np.dtype:
        """The dtype of data, parameters and arithmetic."""
        return self.X.dtype


MOST_DIGITS = 20
"""Digits of a width; Python reads no integer of thousands."""


def widths_of(problem: DataProblem, hidden: Any) -> tuple[int, ...]:
    """Return the widths that a value of the axis ``hidden`` stands for."""
    parts = hidden.split("-") if isinstance(hidden, str) else []
    if parts and all(part.isdecimal() and len(part) < MOST_DIGITS for part in parts):
        widths = tuple(map(int, parts))
    elif isinstance(hidden, int | np.integer) and not isinstance(hidden, bool):
        widths = (int(hidden),) * len(problem.hidden)
        if not widths:
            raise SpecError(
                f"hidden={shortened(hidden)}: {problem.name} has no hidden layer whose width "
                f'this could be; a name gives it layers: "{shortened(hidden)}"'
            )
    else:
        widths = (0,)
    if min(widths) < 1:
        raise SpecError(
            "hidden must be a width >= 1 for all hidden layers, or the widths joined by hyphens "
            f'such as "32-16"; got {shortened(hidden)}'
        )
    return widths


def no_rows(a: np.ndarray) -> np.ndarray:
    """Return an empty array like ``a`` with no rows: a missing test set.

    >>> no_rows(np.ones((3, 2))).shape
    (0, 2)
    """
    return np.empty((0, *a.shape[1:]), a.dtype)


def check_rows(X: Sized, y: Sized, what: str) -> None:
    """Raise unless ``X`` and ``y`` have the same, positive number of rows."""
    if len(X) == 0 or len(X) != len(y):
        raise SpecError(f"{what}: X has {len(X)} rows and y has {len(y)}; both need the same, >= 1")
