"""The optimizer over NumPy arrays: checks at the rim, then one kernel call for all of a dtype.

:class:`Optimizer` holds everything; the final classes in :mod:`fastopt.classes` are a signature and
a docstring.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from fastopt import state
from fastopt.arena import Buffer
from fastopt.errors import (
    ArrayError,
    ArrayTypeError,
    HyperparameterError,
    NonFiniteError,
    did_you_mean,
    shortened,
)
from fastopt.machine.arrays import Extents
from fastopt.norms import flat_norm
from fastopt.rules.base import Choice
from fastopt.rules.recipes import Recipe
from fastopt.stepping import fused
from fastopt.stepping.fixed import Fixed, Options
from fastopt.stepping.groups import Groups
from fastopt.stepping.segments import Change, Group, are_groups
from fastopt.stepping.transaction import Transaction

NONFINITE = Choice("propagate", ("propagate", "skip", "raise"))

_MADE = ("_rows", "_transaction", "_together", "_groups")


class Optimizer(ABC):
    """Abstract base of all optimizers over arrays; use one of the classes derived from it.

    Parameters
    ----------
    params : ndarray, list or dict of ndarray, Buffer, or list of groups
        float32 or float64 arrays, updated in place and never copied. A group is a dict with
        ``"params"`` (any of the former) and hyperparameters that differ from ``defaults``.
    recipe : callable
        ``recipe(where, options) -> rule, values`` picks the rule for a group's options and renames
        them to the rule's hyperparameters.
    defaults : dict
        Hyperparameters of groups that do not name their own.
    nonfinite : {"propagate", "skip", "raise"}
        What a step does with a gradient that is NaN or infinite: compute with it, leave everything
        as it is and count it in ``skipped``, or raise before anything is written.
    schedule : callable, optional
        ``schedule(t) -> factor`` on the learning rate after ``t = 0, 1, ...`` completed steps.
    ema : float, optional
        Decay of a moving average of the parameters, in [0, 1], updated in the same pass; see
        :attr:`ema`.

    Attributes
    ----------
    param_groups : list of dict
        Hyperparameters of each group, read before each step, so they may be changed any time.
    steps : int
        Completed steps of the optimizer; a tensor skipped in some of them has its own count.
    skipped : int
        Steps skipped because of ``nonfinite="skip"``.
    grad_norm : float or None
        Global norm of the unscaled gradients of the last step with ``max_norm``, before clipping.

    Notes
    -----
    Arrays are found, and checked, anew at each step: their memory may move in between, their shape
    and dtype may not change. The last gradient arrays are kept alive until the next step. A step
    is one transaction: of two threads that step one optimizer each has its turn, and a step from
    inside a step is refused.

    Examples
    --------
    >>> import fastopt
    >>> import numpy as np
    >>> p = np.array([1.0, 2.0])
    >>> opt = fastopt.SGD(p, lr=0.5)
    >>> isinstance(opt, Optimizer), opt.param_groups[0]["lr"]
    (True, 0.5)
    >>> opt.step(np.array([2.0, 0.0]))
    >>> p, opt.steps
    (array([0., 2.]), 1)
    """

    steps, skipped = state.Count(0), state.Count(1)

    @abstractmethod
    def __init__(
        self,
        params: Any,
        recipe: Recipe,
        defaults: dict[str, Any],
        nonfinite: str = "propagate",
        schedule: Callable[[int], float] | None = None,
        ema: float | None = None,
    ) -> None:
        NONFINITE.pack("nonfinite", nonfinite)
        if schedule is not None and not callable(schedule):
            raise HyperparameterError(
                f"schedule must be a function of the number of completed steps; "
                f"got {shortened(schedule)}"
            )
        self.defaults = defaults if ema is None else {**defaults, fused.AVERAGE: ema}
        self._rows: list[dict[str, Any]] = Fixed("param_groups")
        self.grad_norm: float | None = None
        self._recipe = recipe if ema is None else functools.partial(fused.averaging, recipe)
        self._nonfinite = nonfinite
        self._schedule = schedule
        self._looks_first = schedule is not None or nonfinite != "propagate"
        self._transaction = Transaction(type(self).__name__)
        # With one set of parameters its gradients come as they are, otherwise one item a group.
        is_bare = not are_groups(params)
        self._together = Groups(type(self).__name__, is_bare)
        self._groups = self._together.groups
        extents = Extents()
        for group in [{"params": params}] if is_bare else params:
            self._add(group, extents)

    def step(
        self,
        grads: Any = None,
        closure: Callable[[], Any] | None = None,
        *,
        grad_scale: float = 1.0,
        max_norm: float | None = None,
        clip_value: float | None = None,
        zero_grad: bool = False,
    ) -> Any:
        """Update every parameter that has a gradient, in place.

        The options do in the same pass what would be passes of their own; clipping by norm needs
        one pass more, which also tells whether the gradients are finite.

        Parameters
        ----------
        grads : ndarray, list or dict of ndarray, optional
            Gradients in the structure of the parameters, only read. A tensor that a dict omits,
            or for which a list holds None, is not updated and its step count does not advance.
            For groups: a list with one such item a group. For a Buffer the default is its own
            ``grads``.
        closure : callable, optional
            Called first, without arguments; fills the gradient arrays.
        grad_scale : float
            Factor that the loss was multiplied by; gradients are multiplied by its reciprocal.
        max_norm : float, optional
            Limit of the global norm of the unscaled gradients, as in
            :func:`fastopt.clip_grad_norm_`.
        clip_value : float, optional
            Limit of each element after that, as in :func:`fastopt.clip_grad_value_`.
        zero_grad : bool
            Set the gradients to zero in place once they are used; otherwise they are only read.

        Returns
        -------
        object
            What ``closure`` returned, or None.

        Raises
        ------
        ArrayTypeError, ArrayError
            A gradient is missing altogether, unknown, of another shape, dtype or layout, or
            shares memory with a parameter. With ``zero_grad``: one is read-only, or two share
            memory.
        HyperparameterError
            A hyperparameter in ``param_groups``, or an option, is not allowed.
        NonFiniteError
            A gradient is not finite and the policy is "raise".

        Notes
        -----
        All checks are done before the first byte is written. A skipped step changes nothing, the
        gradients included.
        """
        has_extras = fused.ask_for_extras(grad_scale, max_norm, clip_value, zero_grad)
        loss = None if closure is None else closure()
        with self._transaction.lock:
            if not (has_extras or self._looks_first) and self._together.repeat(grads):
                return loss
        with self._transaction.lock, self._transaction.alone():
            together = self._together
            self._put(grads)
            changes = [group.pending() for group in self._groups]
            # Nothing is changed before all gradients are known to be right.
            together.run(is_trial=True)
            scheduled = self._scheduled(changes)
            norm = self._norm(grad_scale, zero_grad, max_norm)
            # A finite norm says that all gradients are; an infinite one may have overflowed.
            is_known = max_norm is not None and math.isfinite(norm)
            if not is_known and self._is_skipped():
                self.skipped += 1
                return loss
            extras = None
            if has_extras:
                extras = fused.extras(grad_scale, clip_value, zero_grad, norm, max_norm)
            together.adopt(changes, scheduled, grads)
            together.run(extras)
        return loss

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Hyperparameters of each group; change those, while its groups and arrays stay."""
        return self._rows

    @param_groups.setter
    def param_groups(self, rows: Any) -> None:
        if rows is not self._rows:
            self._rows[:] = rows

    def _put(self, grads: Any) -> None:
        self._together.put(grads)

    def _is_skipped(self) -> bool:
        """Tell whether a gradient that is not finite makes the step do nothing; or raise."""
        if self._nonfinite == "propagate":
            return False
        try:
            self._together.check_finite()
        except NonFiniteError:
            if self._nonfinite == "raise":
                raise
            return True
        return False

    @property
    def ema(self) -> Any:
        """Views of the moving averages, in the structure of the parameters; None without ``ema``.

        For a Buffer in the structure of its ``params``, for groups a list with one item a group.
        Before its first step, that of a tensor is the tensor as it is when you ask.
        """
        if fused.AVERAGE not in self.defaults:
            return None
        views = [group.slot_views(fused.AVERAGE) for group in self._groups]
        return views[0] if self._together.is_bare else views

    def zero_grad(self) -> None:
        """Set gradients to zero in place: an arena's, and for arrays those of the last step.

        Raises
        ------
        ArrayError
            A gradient array is read-only; nothing was written.
        """
        for where, segment, g in self._together.gradients():
            if not g.flags.writeable:
                raise ArrayError(
                    f"{where}{segment.suffix} is read-only; pass writable gradients to step, or "
                    "clear them yourself"
                )
        for _, _, g in self._together.gradients():
            g[...] = 0.0
        for group in self._groups:
            if isinstance(group.params, Buffer):
                group.params.zero_grad()

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own.

        From then on ``step`` takes a list with one item a group.

        Parameters
        ----------
        group : dict
            ``"params"`` (an array, a list or dict of arrays, or a Buffer) and hyperparameters;
            the others take the optimizer's defaults.

        Raises
        ------
        ArrayTypeError, ArrayError, HyperparameterError
            Something in it is not allowed; the optimizer is as before.
        """
        with self._transaction.lock, self._transaction.alone():
            extents = Extents()  # as arrays lie now: one that was resized lies elsewhere
            for segment in (s for known in self._groups for s in known.segments):
                extents.add(segment.path, segment.array)
            self._add(group, extents)
            self._together.is_bare = False

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the whole state, in the layout of ``torch.optim.Optimizer``.

        Returns
        -------
        dict
            ``"state"``: for each tensor that took a step, by its number, ``"step"``, the slots
            by torch's names (arrays of the tensor's shape) and ``"clock"`` (the rule's running
            numbers: resuming gives the same bits). ``"param_groups"``: hyperparameters, and
            ``"params"``, the tensors' numbers. ``"steps"``: completed steps.

        Raises
        ------
        HyperparameterError
            One in ``param_groups`` is not allowed.
        """
        with self._transaction.lock, self._transaction.alone():
            return state.dump(self._groups, self.steps)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state dict of this optimizer, or of torch's; its arrays are copied.

        Parameters
        ----------
        state_dict : dict
            From :meth:`state_dict`, or from torch (arrays or CPU tensors). Without ``"clock"``
            it is made from ``"step"`` and what accumulates; options unknown here are ignored.

        Raises
        ------
        StateError
            It does not fit: other numbers of groups or tensors, names, shapes, dtypes or slots.
            Nothing was written.
        HyperparameterError
            A hyperparameter in it is not allowed. Nothing was written.
        """
        with self._transaction.lock, self._transaction.alone():
            self.steps = state.load(self._groups, state_dict)
            self._together.forget()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])

    def __getstate__(self) -> dict[str, Any]:
        # Views in segments would come back as unrelated copies: keep what they are views of.
        return {
            "params": [group.params for group in self._groups],
            "options": [dict(group, params=None) for group in self.param_groups],
            "arguments": (self._recipe, self.defaults, self._nonfinite, self._schedule),
            "bare": self._together.is_bare,
            "state": self.state_dict(),
            "skipped": self.skipped,
            "others": {name: a for name, a in vars(self).items() if name not in _MADE},
        }

    def __setstate__(self, saved: dict[str, Any]) -> None:
        groups = [{"params": params} for params in saved["params"]]
        Optimizer.__init__(self, groups, *saved["arguments"])
        for options, saved_options in zip(self.param_groups, saved["options"]):
            options.update(saved_options, params=options["params"])
        self._together.is_bare = saved["bare"]
        self.load_state_dict(saved["state"])
        for name, value in {"skipped": saved["skipped"], **saved["others"]}.items():
            setattr(self, name, value)

    def _add(self, group: Mapping[str, Any], extents: Extents) -> None:
        index = len(self._groups)
        where = f"{type(self).__name__}, param group {index}"
        if not isinstance(group, Mapping) or "params" not in group:
            raise ArrayTypeError(f'{where} must be a dict with "params"; got {shortened(group)}')
        for name in group:
            if name != "params" and name not in self.defaults:
                raise HyperparameterError(
                    f"{where} has no hyperparameter {shortened(name)}"
                    f"{did_you_mean(name, self.defaults)}; it has {', '.join(self.defaults)}"
                )
        path = "params" if self._together.is_bare and not index else f"params[{index}]['params']"
        # The row of the table comes first: nothing of the optimizer changes if a check fails.
        own = {name: group[name] for name in group if name != "params"}
        options = Options({"params": (), **self.defaults, **own})
        made = Group(where, path, group["params"], options, self._recipe, extents)
        self._together.forget()
        self._groups.append(made)
        list.append(self._rows, options)

    def _scheduled(self, changes: list[Change | None]) -> list[float] | None:
        """Return each group's learning rate for this step, if there is a schedule."""
        if self._schedule is None:
            return None
        factor = self._schedule(self.steps)
        return [
            group.scaled((group.h if change is None else change.h)[0], factor)
            for group, change in zip(self._groups, changes)
        ]

    def _norm(self, grad_scale: float, zero_grad: bool, max_norm: float | None) -> float:
        """Return the gradients' norm, for ``max_norm``; check that they can be cleared."""
        given = self._together.gradients()
        if zero_grad:
            fused.check_cleared([(f"{where}{s.suffix}", g) for where, s, g in given])
        if max_norm is None:
            return 0.0
        norm = flat_norm([g.reshape(-1) for _, _, g in given])
        self.grad_norm = norm / grad_scale
        return norm
