"""Landscapes: plain functions of a few variables, whose trials run side by side in SIMD lanes."""

from __future__ import annotations

import inspect
import math
import numbers
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastopt.code.uncompilable import in_two_lines
from fastopt.compile import frozen
from fastopt.errors import ArrayError, ArrayTypeError, SpecError, shortened
from fastopt.rules import RULES
from fastopt.schedules import SCHEDULES
from sweeps.common.names import refuse_taken
from sweeps.common.pickling import Shippable
from sweeps.problems.arrays import checked_aux, float_kind, refuse_mask
from sweeps.problems.gradients import points_near, wrong_component
from sweeps.problems.signatures import Extras, uniform

# Scalars travel in registers; beyond this many coordinates they spill, and an array is faster.
MOST_SCALARS = 64


@dataclass(frozen=True, eq=False)
class Landscape(Shippable):
    """A function to minimise from a start; made by :func:`landscape`.

    Parameters
    ----------
    name : str
        What the problem is called in tables and messages.
    value_and_grad : callable
        ``value_and_grad(x, t, seed, aux) -> value, grad`` with ``x`` and ``grad`` tuples of
        ``dim`` scalars; or, if ``vector``, ``value_and_grad(x, grad, t, seed, aux) -> value``
        with arrays of ``dim`` elements, ``grad`` written in place.
    vector : bool
        Which of the two.
    names : tuple of str
        Names of the coordinates.
    start : ndarray, shape (dim,)
        Where trials start unless an axis says otherwise; its dtype is that of the arithmetic.
    optima : ndarray of float64, shape (m, dim)
        The known optima; ``distance`` is that to the nearest.
    bounds : ndarray, shape (2, dim), or None
        Lows and highs of the box that every step is projected to.
    aux : tuple of ndarray
        Constant arrays for the function.
    seeded : bool
        Whether the function reads the trial's seed.

    Examples
    --------
    >>> from sweeps import problems
    >>> problem = problems.ellipse()
    >>> problem.names, problem.dim, problem.optima.tolist()
    (('x', 'y'), 2, [[0.0, 0.0]])
    """

    name: str
    value_and_grad: Callable
    vector: bool
    names: tuple[str, ...]
    start: np.ndarray
    optima: np.ndarray
    bounds: np.ndarray | None
    aux: tuple[np.ndarray, ...]
    seeded: bool = field(default=True, compare=False)

    def __repr__(self) -> str:
        box = "" if self.bounds is None else ", bounded"
        return f"{self.name}({', '.join(self.names)}): {self.dtype}{box}"

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.start.size

    @property
    def dtype(self) -> np.dtype:
        """The dtype of coordinates and arithmetic."""
        return self.start.dtype

    @property
    def start_axes(self) -> tuple[str, ...]:
        """Axes that set where a trial starts, one for each coordinate."""
        return tuple(f"start_{name}" for name in self.names)

    def __call__(self, *x: float, t: float = 0.0, seed: int = 0) -> tuple[float, tuple]:
        """Return ``value, grad`` at a point, in plain Python.

        Parameters
        ----------
        *x : float
            The coordinates.
        t : float
            Completed steps, for functions that change with time.
        seed : int
            For functions that draw random numbers.

        Examples
        --------
        >>> from sweeps import problems
        >>> problems.ellipse()(2.0, 1.0)
        (7.0, (2.0, 10.0))
        """
        if len(x) != self.dim:
            raise SpecError(
                f"{self.name} has {self.dim} coordinates ({', '.join(self.names)}); got {len(x)}"
            )
        point = tuple(map(float, x))
        with np.errstate(all="ignore"):
            if not self.vector:
                value, grad = self.value_and_grad(point, float(t), np.uint64(seed), self.aux)
            else:
                grad = np.empty(self.dim)
                at = np.array(point), grad, float(t), np.uint64(seed), self.aux
                value = self.value_and_grad(*at)
        return float(value), tuple(map(float, grad))


def landscape(
    f: Callable,
    start: Sequence[float] | np.ndarray = (-2.0, 2.0),
    optimum: Any = None,
    bounds: Any = None,
    name: str | None = None,
    dtype: str = "float64",
    *,
    timed: bool = False,
    seeded: bool = False,
    vector: bool = False,
    aux: tuple[np.ndarray, ...] = (),
    step: float = 1e-5,
) -> Landscape:
    r"""Make a problem of your own function of a few variables.

    Trials run side by side in SIMD lanes: write ``f`` on scalars, without branches where you can,
    and take ``exp``, ``log``, ``tanh``, ``sigmoid``, ``sin`` and ``cos`` from
    :mod:`fastopt.maths`, which vectorise (those of ``math`` are right, and several times slower).

    Parameters
    ----------
    f : callable
        ``f(x, y, ...) -> value, (gx, gy, ...)``, a plain function of as many scalars as ``start``
        has coordinates. Alone, ``value`` will do: the gradient is then taken by central
        differences :math:`(f(x + h) - f(x - h)) / 2h`. With ``vector``, ``f(x, grad) -> value``
        takes the coordinates as one array and writes the gradient in place, or ``f(x) -> value``.
        Numba compiles it, with what it calls; do not jit it yourself. Each sweep runs it as it is
        then, constants and helpers included.
    start : sequence of float
        Where trials start. Each coordinate is an axis of the sweep as well: ``start_x``, ...
    optimum : sequence of float, or sequence of those, optional
        Where the minimum is, or the minima are; ``distance`` is measured to the nearest.
    bounds : (low, high), optional
        Numbers or one for each coordinate: every step is projected to this box. The gradient is
        that of ``f`` all the same, and so is what momentum remembers.
    name : str, optional
        The function's name by default.
    dtype : {"float64", "float32"}
        Of coordinates and state. Literals in ``f`` are float64, and what meets them becomes so.
    timed : bool
        Hand ``f`` the number of completed steps as one more argument (a float; 0 at the start),
        for objectives that change with time.
    seeded : bool
        Hand ``f`` the trial's seed (uint64) after that, for noise by :mod:`sweeps.common.philox`.
    vector : bool
        ``f`` takes an array: for many coordinates. Lanes then take turns.
    aux : tuple of ndarray
        Constant arrays, handed to ``f`` last, as one tuple, if there are any. New values in them
        compile nothing, where constants inside ``f`` do.
    step : float
        The :math:`h` of central differences.

    Returns
    -------
    Landscape
        The coordinates are named after the arguments of ``f``, or ``x1``, ``x2``, ... if it takes
        an array or ``*x``.

    Raises
    ------
    SpecError
        ``f`` takes another number of arguments, returns something else, or its gradient disagrees
        with finite differences; the message says at which coordinate, with both values.
    ArrayError, ArrayTypeError
        ``start``, ``optimum``, ``bounds`` or ``aux`` do not fit.

    Examples
    --------
    >>> def bowl(x, y):
    ...     return 0.5 * x * x + 5.0 * y * y, (x, 10.0 * y)
    >>> problem = landscape(bowl, start=(10.0, 1.0), optimum=(0.0, 0.0))
    >>> problem, problem.start_axes
    (bowl(x, y): float64, ('start_x', 'start_y'))
    >>> problem(3.0, 1.0)
    (9.5, (3.0, 10.0))
    >>> landscape(lambda x, y: (x * y, (x, y)), start=(2.0, 1.0), name="saddle")
    Traceback (most recent call last):
    fastopt.errors.SpecError: saddle: wrong gradient at (2.0, 1.0): its component x is 2.0, ...
    """
    function = getattr(f, "py_func", f)
    if not isinstance(function, types.FunctionType):
        raise SpecError(f"f must be a plain function (def or lambda); got {type(f).__name__}")
    title = name or function.__name__
    point = _floats(f"{title}: start", start, float_kind(dtype))
    if point.ndim != 1:
        raise ArrayError(f"{title}: start must be one point; got shape {point.shape}")
    if not (isinstance(step, numbers.Real) and 0.0 < step < math.inf):
        raise SpecError(f"{title}: step must be a finite number > 0; got {shortened(step)}")
    aux = checked_aux(aux)
    extras = Extras(timed, seeded, bool(aux))
    names = _names(title, function, point.size, vector, extras)
    with in_two_lines():  # an @njit helper of the user's may hold what it read long ago
        with_grad = _returns_grad(title, frozen(function), point, vector, extras, aux)
    if not with_grad and point.dtype != np.float64:
        raise SpecError(
            f"{title} returns no gradient, and central differences in float32 have no correct "
            'digit: return value, (gx, gy, ...), or use dtype="float64"'
        )
    problem = Landscape(
        name=title,
        value_and_grad=uniform(
            function, 0 if vector else point.size, vector, extras, with_grad, float(step)
        ),
        vector=vector,
        names=names,
        start=point,
        optima=_optima(title, optimum, point.size),
        bounds=_bounds(title, bounds, point),
        aux=aux,
        seeded=bool(seeded),
    )
    if with_grad:
        _check_gradient(frozen(problem))
    return problem


def _floats(what: str, given: Any, dtype: Any) -> np.ndarray:
    given = refuse_mask(what, given)
    try:
        array = np.array(given, dtype, ndmin=1)
    except (TypeError, ValueError) as error:
        raise ArrayTypeError(f"{what} must be numbers: {error}") from None
    if array.size == 0 or array.ndim > 2 or not np.isfinite(array).all():
        raise ArrayError(f"{what} must be one finite number or more; got {shortened(given)}")
    return array


def _optima(title: str, optimum: Any, dim: int) -> np.ndarray:
    if optimum is None:
        return np.empty((0, dim))
    optima = np.atleast_2d(_floats(f"{title}: optimum", optimum, np.float64))
    if optima.shape[1] != dim:
        raise ArrayError(
            f"{title}: optimum must have the {dim} coordinates of start, or be a list of such "
            f"points; got shape {np.shape(optimum)}"
        )
    return optima


def _bounds(title: str, bounds: Any, start: np.ndarray) -> np.ndarray | None:
    if bounds is None:
        return None
    try:
        low, high = (np.broadcast_to(np.asarray(b, start.dtype), start.shape) for b in bounds)
    except (TypeError, ValueError):
        raise ArrayError(
            f"{title}: bounds must be (low, high), each a number or one for each of the "
            f"{start.size} coordinates; got {shortened(bounds)}"
        ) from None
    if not (low <= high).all():
        raise ArrayError(
            f"{title}: bounds must have low <= high everywhere; got {shortened(bounds)}"
        )
    if not ((low <= start) & (start <= high)).all():
        raise ArrayError(
            f"{title}: start {start.tolist()} is outside of bounds {shortened(bounds)}"
        )
    return np.ascontiguousarray([low, high])


def _names(
    title: str, function: Callable, dim: int, vector: bool, extras: Extras
) -> tuple[str, ...]:
    """Check how many arguments ``function`` takes; return the names of the coordinates."""
    given = list(inspect.signature(function).parameters.values())
    numbered = tuple(f"x{k + 1}" for k in range(dim))
    if any(p.kind is p.VAR_POSITIONAL for p in given):
        return numbered
    if not vector and dim > MOST_SCALARS:
        raise SpecError(
            f"{title}: {dim} coordinates are too many scalars; with more than {MOST_SCALARS} use "
            "vector=True and write f(x, grad) on arrays"
        )
    leading = len(given) - len(extras)
    if leading in ((1, 2) if vector else (dim,)):
        return numbered if vector else _free(title, [p.name for p in given[:dim]])
    wanted = "x and grad, or x alone," if vector else f"the {dim} coordinates of start"
    more = [word for word, on in vars(extras).items() if on]
    raise SpecError(
        f"{title} takes {len(given)} arguments ({', '.join(p.name for p in given)}); it should "
        f"take {wanted}{' and those of ' + ', '.join(more) if more else ' and nothing else'}. "
        "For the number of steps as an argument say timed=True, for the seed seeded=True"
    )


def _free(title: str, names: list[str]) -> tuple[str, ...]:
    """Return the names, unless one of them is that of a column or an axis."""
    hyper = [name for rule in RULES.values() for name in rule.hyper]
    schedules = [name for row in SCHEDULES.values() for name in row.params]
    taken = dict.fromkeys((*hyper, *schedules), "a hyperparameter, which may be an axis")
    refuse_taken(f"coordinate of {title}", names, taken)
    return tuple(names)


def _returns_grad(
    title: str, function: Callable, start: np.ndarray, vector: bool, extras: Extras, aux: tuple
) -> bool:
    """Call the plain function once, so that its mistakes show as ordinary Python errors."""
    more = extras.first(aux)
    if vector:
        with_grad = len(inspect.signature(function).parameters) - len(extras) == 2
        grad = np.full(start.size, np.nan)
        value = function(start.astype(float), *((grad,) if with_grad else ()), *more)
    else:
        value, with_grad = function(*start.tolist(), *more), False
        if isinstance(value, tuple):
            with_grad = True
            fits = len(value) == 2 and isinstance(value[1], tuple) and len(value[1]) == start.size
            if not fits:
                raise SpecError(
                    f"{title} must return value, (one derivative for each of the {start.size} "
                    f"coordinates) with the gradient as a tuple; it returned {shortened(value)}"
                )
            value = value[0]
    if not isinstance(value, numbers.Real):
        raise SpecError(
            f"{title} must return its value as one number; it returned {shortened(value)}"
        )
    return with_grad


def _check_gradient(problem: Landscape) -> None:
    """Compare the gradient with central differences near the start."""
    for k, point in enumerate(points_near(problem.start)):
        if problem.bounds is not None:
            point = np.clip(point, *problem.bounds)

        def value_and_grad(x: np.ndarray, seed: int = k) -> tuple[float, np.ndarray]:
            value, grad = problem(*x, seed=seed)
            return value, np.array(grad, float)

        try:
            wrong = wrong_component(value_and_grad, point)
        except (
            ArithmeticError,
            ValueError,
        ):  # where plain Python has no value, compiled code has inf or NaN
            continue
        if wrong is not None:
            raise SpecError(
                f"{problem.name}: wrong gradient at ({', '.join(map(repr, point.tolist()))}): its "
                f"component {problem.names[wrong.coordinate]} is {shortened(wrong.given)}, finite "
                f"differences say {wrong.found:.9g}"
            )
