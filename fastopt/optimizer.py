"""The optimizer over NumPy arrays: checks at the rim, then one kernel call for all of a dtype.

:class:`Optimizer` holds everything; the final classes in :mod:`fastopt.classes` are a signature, a
documentation string and one call.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastopt import fused, state
from fastopt.arena import Buffer
from fastopt.arrays import Extents
from fastopt.errors import (
    ArrayError,
    ArrayTypeError,
    HyperparameterError,
    NonFiniteError,
    did_you_mean,
    shortened,
)
from fastopt.norms import all_finite, flat_norm
from fastopt.segments import Change, Group, Recipe, Segment, are_groups

__all__ = ["NONFINITE", "Optimizer"]

NONFINITE = ("propagate", "skip", "raise")

Work = list[tuple[Group, list[Segment]]]


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
    The last gradient arrays are remembered, and kept alive, until the next step: passing the same
    arrays again (with new contents) saves checking them. One optimizer must not be stepped by two
    threads at a time; different optimizers may.

    Examples
    --------
    >>> import fastopt
    >>> p = np.array([1.0, 2.0])
    >>> opt = fastopt.SGD(p, lr=0.5)
    >>> isinstance(opt, Optimizer), opt.param_groups[0]["lr"]
    (True, 0.5)
    >>> opt.step(np.array([2.0, 0.0]))
    >>> p, opt.steps
    (array([0., 2.]), 1)
    """

    @abstractmethod
    def __init__(
        self,
        params: Any,
        recipe: Recipe,
        defaults: dict[str, Any],
        *,
        nonfinite: str = "propagate",
        schedule: Callable[[int], float] | None = None,
        ema: float | None = None,
    ) -> None:
        if nonfinite not in NONFINITE:
            raise HyperparameterError(
                f"nonfinite must be one of {', '.join(map(repr, NONFINITE))}; "
                f"got {shortened(nonfinite)}{did_you_mean(nonfinite, NONFINITE)}"
            )
        if schedule is not None and not callable(schedule):
            raise HyperparameterError(
                "schedule must be a function of the number of completed steps; got "
                f"{shortened(schedule)}"
            )
        self.defaults = defaults if ema is None else {**defaults, fused.AVERAGE: ema}
        self.param_groups: list[dict[str, Any]] = []
        self.steps = 0
        self.skipped = 0
        self.grad_norm: float | None = None
        self._recipe = recipe if ema is None else functools.partial(fused.averaging, recipe)
        self._nonfinite = nonfinite
        self._schedule = schedule
        self._groups: list[Group] = []
        self._extents = Extents()
        # With one set of parameters its gradients come as they are, otherwise one item a group.
        self._bare = not are_groups(params)
        for group in [{"params": params}] if self._bare else params:
            self._add(group)

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
        has_extras = fused.are_asked(grad_scale, max_norm, clip_value, zero_grad)
        loss = None if closure is None else closure()
        usual = self._bare and self._schedule is None and self._nonfinite == "propagate"
        if usual and not has_extras and self._groups[0].repeat(grads):
            self.steps += 1
            return loss
        work = self._match(grads)
        changes = [group.pending() for group in self._groups]
        schedule = self._schedule
        scheduled = None if schedule is None else self._scheduled(schedule(self.steps), changes)
        if zero_grad:
            fused.check_cleared([(f"grads{s.suffix}", s.g) for _, held in work for s in held])
        norm = 0.0
        if max_norm is not None:
            norm = flat_norm([segment.g for _, held in work for segment in held])
            self.grad_norm = norm / grad_scale
        # A finite norm says that every gradient is; an infinite one may be a sum that overflowed.
        unknown = max_norm is None or not math.isfinite(norm)
        if self._nonfinite != "propagate" and unknown and not self._is_finite(work):
            self.skipped += 1
            return loss
        extras = None
        if has_extras:
            extras = fused.extras(grad_scale, clip_value, zero_grad, norm, max_norm)
        for k, (group, _) in enumerate(work):
            if (change := changes[k]) is not None:
                group.adopt(change)
            if scheduled is not None:
                group.schedule(scheduled[k])
            group.step(extras)
        self.steps += 1
        return loss

    @property
    def ema(self) -> Any:
        """Views of the moving averages, in the structure of the parameters; None without ``ema``.

        For a Buffer in the structure of its ``params``; for groups a list with one item a group.
        """
        if fused.AVERAGE not in self.defaults:
            return None
        views = [group.slot_views(fused.AVERAGE) for group in self._groups]
        return views[0] if self._bare else views

    def zero_grad(self) -> None:
        """Set gradients to zero in place: an arena's, and for arrays those of the last step.

        Raises
        ------
        ArrayError
            A gradient array is read-only; nothing was written.
        """
        seen = [
            (group.where, segment.source, segment.suffix)
            for group in self._groups
            for segment in group.segments
            if segment.source is not None
        ]
        for where, g, suffix in seen:
            if not g.flags.writeable:
                raise ArrayError(
                    f"{where}: grads{suffix} is read-only; pass writable gradients to step, or "
                    "clear them yourself"
                )
        for _, g, _ in seen:
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
        self._add(group)
        self._bare = False

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the whole state, in the layout of ``torch.optim.Optimizer``.

        Returns
        -------
        dict
            ``"state"``: for each tensor that took a step, by its number, ``"step"``, the slots
            by torch's names (arrays of the tensor's shape) and ``"clock"`` (the running numbers of
            the rule, so that resuming gives the same bits). ``"param_groups"``: hyperparameters,
            and ``"params"``, the tensors' numbers. ``"steps"``: completed steps.
        """
        return state.dump(self._groups, self.steps)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state dict of this optimizer, or of torch's; its arrays are copied.

        Parameters
        ----------
        state_dict : dict
            From :meth:`state_dict`, or from torch (arrays or CPU tensors). Without ``"clock"``
            the clock is rebuilt from ``"step"``; options that do not exist here are ignored.

        Raises
        ------
        StateError
            It does not fit: other numbers of groups or tensors, names, shapes, dtypes or slots.
            Nothing was written.
        HyperparameterError
            A hyperparameter in it is not allowed. Nothing was written.
        """
        self.steps = state.load(self._groups, state_dict)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])

    def __getstate__(self) -> dict[str, Any]:
        # The views in segments would come back as unrelated copies: keep what they are views of.
        return {
            "params": [group.params for group in self._groups],
            "options": [dict(group, params=None) for group in self.param_groups],
            "arguments": (self._recipe, self.defaults, self._nonfinite, self._schedule),
            "bare": self._bare,
            "skipped": self.skipped,
            "state": self.state_dict(),
        }

    def __setstate__(self, saved: dict[str, Any]) -> None:
        recipe, defaults, nonfinite, schedule = saved["arguments"]
        groups = [{"params": params} for params in saved["params"]]
        Optimizer.__init__(self, groups, recipe, defaults, nonfinite=nonfinite, schedule=schedule)
        for options, saved_options in zip(self.param_groups, saved["options"]):
            options.update(saved_options, params=options["params"])
        self._bare, self.skipped = saved["bare"], saved["skipped"]
        self.load_state_dict(saved["state"])

    def _add(self, group: Mapping[str, Any]) -> None:
        index = len(self._groups)
        where = f"{type(self).__name__}, param group {index}"
        if not isinstance(group, Mapping) or "params" not in group:
            raise ArrayTypeError(f'{where} must be a dict with "params"; got {group!r:.80}')
        for name in group:
            if name != "params" and name not in self.defaults:
                raise HyperparameterError(
                    f"{where} has no hyperparameter "
                    f"{shortened(name)}{did_you_mean(name, self.defaults)}; "
                    f"it has {', '.join(self.defaults)}"
                )
        path = "params" if self._bare and not index else f"params[{index}]['params']"
        # The row of the table comes first: nothing of the optimizer changes if a check fails.
        options = {"params": [], **self.defaults, **{k: group[k] for k in group if k != "params"}}
        extents = self._extents.copy()
        made = Group(where, path, group["params"], options, self._recipe, extents)
        options["params"] = [piece.array for _, piece in made.pieces]
        self._extents = extents
        self._groups.append(made)
        self.param_groups.append(options)

    def _match(self, grads: Any) -> Work:
        groups = self._groups
        if grads is None and not all(isinstance(group.params, Buffer) for group in groups):
            raise ArrayTypeError(
                "step needs the gradients, in the structure of the parameters; only the "
                "gradients of a Buffer are known without passing them"
            )
        if self._bare:
            return [(groups[0], groups[0].match(grads, "grads", self._extents))]
        items = [None] * len(groups) if grads is None else grads
        if not isinstance(items, list | tuple) or len(items) != len(groups):
            found = (
                f"{len(items)} items" if isinstance(items, list | tuple) else type(items).__name__
            )
            raise ArrayTypeError(
                f"with param groups, grads must be a list with one item for each of the "
                f"{len(groups)} groups; got {found}"
            )
        return [
            (group, group.match(item, f"grads[{k}]", self._extents))
            for k, (group, item) in enumerate(zip(groups, items))
        ]

    def _scheduled(self, factor: float, changes: list[Change | None]) -> list[float]:
        """Return each group's learning rate for this step."""
        return [
            group.scaled((group.h if change is None else change.h)[0], float(factor))
            for group, change in zip(self._groups, changes)
        ]

    def _is_finite(self, work: Work) -> bool:
        for group, held in work:
            for segment in held:
                g = segment.g
                if all_finite(g):
                    continue
                if self._nonfinite == "skip":
                    return False
                flat_index = int(np.flatnonzero(~np.isfinite(g))[0])
                key, index = group.locate(segment, flat_index)
                named = "" if isinstance(group.params, np.ndarray) else f" {shortened(key)}"
                kind = "NaN" if math.isnan(g[flat_index]) else "infinite"
                raise NonFiniteError(
                    f"{group.where}: the gradient of parameter{named} is {kind} at flat index "
                    f"{index}; nothing was changed. Lower lr, clip gradients, or pass "
                    'nonfinite="skip".'
                )
        return True
