r"""What else a step can do in the same pass: rules made from rules.

Unscaling, clipping, averaging the weights and clearing the gradient are each a pass over memory of
their own in other libraries. Here each is a function from a rule to a rule, so every loop that runs
a rule runs it with any of these, and a rule is compiled with them only when they are asked for.

With the gradient :math:`g`, the loss scale :math:`S`, the norm limit :math:`N`, the value limit
:math:`V` and the decay :math:`d` of the average :math:`e`, a step sees

.. math::
    f = \frac1S \min\Bigl(1, \frac{N}{\lVert g / S \rVert + 10^{-6}}\Bigr), \qquad
    g' = \min(\max(f g, -V), V), \qquad e \leftarrow d e + (1 - d) p .

Without a value limit :math:`f` costs nothing: the first coefficient of every rule is the factor on
the gradient, and :math:`f` is folded into it.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fastopt.compile import inlinable
from fastopt.errors import ArrayError, HyperparameterError, shortened
from fastopt.machine.arrays import check_disjoint
from fastopt.norms import clip_coefficient
from fastopt.rules import Real, Rule
from fastopt.rules.parts import lerp

AVERAGE = "ema"
"""Name of the slot and of the hyperparameter of :func:`averaged`."""

LARGEST = sys.float_info.max
"""A larger integer is no float."""

_FACTOR = Real(1.0, summary="factor on the gradient")
_LIMIT = Real(1.0, summary="largest magnitude of an element of the scaled gradient")
_DECAY = Real(0.999, high=1.0, open_high=False, summary="decay of the average of the weights")


class Added(NamedTuple):
    """How many numbers and arrays a rule made from a rule has more than that one, at their ends."""

    h: int = 0
    c: int = 0
    x: int = 0


@inlinable
def nothing(*_):
    """Return no numbers."""
    return ()


@inlinable
def as_given(c, g, x):
    """Return the gradient."""
    return g


def _extended(
    rule: Rule,
    label: str,
    added: Added,
    *,
    coefficients: Callable = nothing,
    intake: Callable = as_given,
    finish: Callable = nothing,
    **changes: Any,
) -> Rule:
    """Return ``rule`` with more at the ends of ``h``, ``c`` and ``x``.

    ``coefficients``: ``coefficients(h)`` returns what is added to ``c``. ``intake``:
    ``intake(c, g, x)`` returns the gradient that the rule is to see. ``finish``:
    ``finish(c, p, x)`` returns the new elements of the added arrays; ``p`` is the new one.
    """
    clock0, tick, update, measure, trust = (
        getattr(rule, name) for name in ("clock0", "tick", "update", "measure", "trust")
    )
    # A slice that ends at None takes everything.
    own_h, own_c, own_x = (-count or None for count in added)
    more = slice(-added.c, None)

    @inlinable
    def clock0_extended(h):
        return clock0(h[:own_h])

    @inlinable
    def tick_extended(h, clock):
        now, c = tick(h[:own_h], clock)
        return now, c + coefficients(h)

    @inlinable
    def update_extended(c, g, x):
        new = update(c[:own_c], intake(c, g, x), x[:own_x])
        return new + finish(c, new[0], x)

    @inlinable
    def measure_extended(c, g, x):
        return measure(c[:own_c], intake(c, g, x), x[:own_x])

    @inlinable
    def trust_extended(c, sums, n):
        return trust(c[:own_c], sums, n) + c[more]

    if measure is not None:
        changes["measure"] = measure_extended
        changes["trust"] = trust_extended if added.c else trust
    return replace(
        rule,
        name=f"{rule.name}+{label}",
        clock0=clock0_extended,
        tick=tick_extended,
        update=update_extended,
        **changes,
    )


@inlinable
def average_weights(h):
    """Return ``(d, 1 - d)`` of the decay."""
    return h[-1], 1.0 - h[-1]


@inlinable
def average(c, p, x):
    """Return the new average, in a tuple."""
    return (lerp(x[-1], p, c[-2], c[-1]),)


@functools.cache
def averaged(rule: Rule) -> Rule:
    r"""Return ``rule`` with one slot more, the moving average :math:`e` of the parameter.

    .. math:: e \leftarrow d e + (1 - d) p

    with the new :math:`p`, from :math:`e = p` before the first step; ``h = (*h, d)``. torch's
    ``AveragedModel`` with ``get_ema_multi_avg_fn(d)``.

    >>> from fastopt.rules import RULES
    >>> rule = averaged(RULES["sgd"])
    >>> rule.slots
    ('ema',)
    >>> _, c = rule.tick(rule.pack({"lr": 0.5, "ema": 0.75}), (0.0,))
    >>> rule.update(c, 2.0, (1.0, 4.0))
    (0.0, 3.0)

    Reference: B. T. Polyak and A. B. Juditsky, *Acceleration of stochastic approximation by
    averaging*, 1992.
    """
    return _extended(
        rule,
        AVERAGE,
        Added(h=1, c=2, x=1),
        coefficients=average_weights,
        finish=average,
        hyper={**rule.hyper, AVERAGE: _DECAY},
        slots=(*rule.slots, AVERAGE),
        start={**rule.start, AVERAGE: "p"},
    )


def averaging(recipe: Callable, where: str, options: Mapping[str, Any]) -> tuple[Rule, dict]:
    """Pick the rule as ``recipe`` does (see :class:`fastopt.Optimizer`), with the average."""
    rule, values = recipe(where, options)
    return averaged(rule), {**values, AVERAGE: options[AVERAGE]}


@functools.cache
def scaled(rule: Rule) -> Rule:
    """Return ``rule`` for gradients that are first multiplied by a factor; ``h = (*h, factor)``."""
    extended = _extended(rule, "scale", Added(h=1), hyper={**rule.hyper, "factor": _FACTOR})
    tick = extended.tick

    @inlinable
    def tick_scaled(h, clock):
        now, c = tick(h, clock)
        return now, (c[0] * h[-1], *c[1:])

    return replace(extended, tick=tick_scaled)


@inlinable
def clip_numbers(h):
    """Return ``(factor, limit)``."""
    return h[-2], h[-1]


@inlinable
def limited(c, g, x):
    """Return ``factor * g`` held in ``[-limit, limit]``, ``c = (..., factor, limit)``.

    >>> limited((2.0, 2.5), 1.0, ()), limited((2.0, 2.5), -3.0, ())
    (2.0, -2.5)
    >>> limited((2.0, 2.5), float("nan"), ())
    nan
    """
    factor, limit = c[-2], c[-1]
    g = factor * g
    return limit if g > limit else (-limit if g < -limit else g)


@functools.cache
def clipped(rule: Rule) -> Rule:
    """Return ``rule`` for gradients scaled, then limited; ``h = (*h, factor, limit)``.

    The factor comes before the limit, so it cannot hide in the rule's own coefficient.
    """
    return _extended(
        rule,
        "clip",
        Added(h=2, c=2),
        coefficients=clip_numbers,
        intake=limited,
        hyper={**rule.hyper, "factor": _FACTOR, "limit": _LIMIT},
    )


@inlinable
def last(c, g, x):
    """Return the gradient, which is the last array."""
    return x[-1]


@inlinable
def zero(c, p, x):
    """Return what becomes of the gradient, in a tuple."""
    return (0.0,)


@functools.cache
def clearing(rule: Rule) -> Rule:
    """Return ``rule`` with the gradient as its last array, which it reads and sets to zero.

    It is read from there only: two arrays that may be the same memory would keep the loop scalar.
    """
    slots = (*rule.slots, "grad")
    return _extended(rule, "zero", Added(x=1), intake=last, finish=zero, slots=slots)


class Extras(NamedTuple):
    """What one step does besides its rule; made by :func:`extras`.

    ``factor``: by which gradients are multiplied first. ``limit``: largest magnitude of an element
    after that. ``clears``: whether the gradient is set to zero once read.
    """

    factor: float
    limit: float | None
    clears: bool

    def rule(self, rule: Rule) -> Rule:
        """Return ``rule`` that does it all in one pass.

        With ``clears`` the gradient is its last array, too.
        """
        rule = scaled(rule) if self.limit is None else clipped(rule)
        return clearing(rule) if self.clears else rule

    @property
    def numbers(self) -> tuple[float, ...]:
        """The hyperparameters that the rule has more than the one that it is made of."""
        return (self.factor,) if self.limit is None else (self.factor, self.limit)


def extras(
    grad_scale: float, clip_value: float | None, clears: bool, norm: float, max_norm: float | None
) -> Extras | None:
    """Return what is to be done besides the rule, or None when there is nothing.

    ``grad_scale``, ``clip_value``, ``max_norm``: checked options of :meth:`fastopt.Optimizer.step`.
    ``clears``: its ``zero_grad``. ``norm``: global norm of the gradients as they are given, scaled;
    read only with ``max_norm``.

    >>> extras(4.0, None, False, norm=8.0, max_norm=1.0).factor.__round__(6)
    0.125
    >>> extras(1.0, None, False, norm=0.5, max_norm=1.0) is None
    True
    """
    factor = 1.0 / grad_scale
    if max_norm is not None:
        factor *= clip_coefficient(norm * factor, max_norm)
    if factor == 1.0 and clip_value is None and not clears:
        return None
    return Extras(factor, clip_value, clears)


def ask_for_extras(grad_scale: Any, max_norm: Any, clip_value: Any, clears: bool) -> bool:
    """Tell whether options of :meth:`fastopt.Optimizer.step` ask for more than the rule.

    >>> ask_for_extras(1.0, None, None, False), ask_for_extras(1.0, 5.0, None, False)
    (False, True)
    """
    if clears is not False and not isinstance(clears, bool | np.bool_):
        raise HyperparameterError(
            f"zero_grad must be True or False; got {shortened(clears)}. Nothing was changed."
        )
    if max_norm is None and clip_value is None and type(grad_scale) is float and grad_scale == 1.0:
        return bool(clears)
    if not (_is_number(grad_scale) and 0.0 < grad_scale <= LARGEST):
        raise HyperparameterError(
            f"grad_scale must be a finite number above zero, the factor that the loss was "
            f"multiplied by; got {shortened(grad_scale)}. Nothing was changed."
        )
    for name, limit in (("max_norm", max_norm), ("clip_value", clip_value)):
        is_limit = _is_number(limit) and limit >= 0.0 and (limit <= LARGEST or limit == math.inf)
        if limit is not None and not is_limit:
            raise HyperparameterError(
                f"{name} must be a number, zero or more, or None not to clip; got "
                f"{shortened(limit)}. "
                "Nothing was changed."
            )
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def check_cleared(items: list[tuple[str, np.ndarray]]) -> None:
    """Refuse gradients, given with their names, that a step cannot set to zero.

    Raises ArrayError if one is read-only, or two share memory: the second would be read after it
    was cleared.
    """
    for where, g in items:
        if not g.flags.writeable:
            raise ArrayError(
                f"{where} is read-only, so zero_grad=True cannot clear it; pass writable gradients "
                "or zero_grad=False. Nothing was changed."
            )
    check_disjoint(items)
