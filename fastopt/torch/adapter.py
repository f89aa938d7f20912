"""The base of all drop-in optimizers: torch's ``Optimizer`` with our kernels as its step."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch.nn.parameter import is_lazy
from torch.optim.optimizer import _global_optimizer_post_hooks as global_post_hooks
from torch.optim.optimizer import _global_optimizer_pre_hooks as global_pre_hooks

from fastopt.errors import ArrayError, FastoptError, HyperparameterError, StateError
from fastopt.rules import Rule
from fastopt.rules.clocks import packed_clock
from fastopt.state import check_layout, check_origin, check_owners
from fastopt.stepping.transaction import Transaction
from fastopt.torch import checkpoint
from fastopt.torch.batch import Clocks
from fastopt.torch.groups import OF_TORCH, Row, refuse
from fastopt.torch.loading import complete_state, fit_state, initial_slots
from fastopt.torch.memory import Ranges
from fastopt.torch.plan import TRIES, Plan, Stale, Traits, names_of, params_of
from fastopt.torch.shards import check_shard, local_of
from fastopt.torch.tensors import check_tensor

Params = Iterable[torch.Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, torch.Tensor]]
Lr = float | torch.Tensor
Pair = tuple[float, float]

# What a copy makes anew; all other attributes it takes over, those of subclasses, too.
_MADE = ("_transaction", "_plan", "_rows", "_clocks", "_incoming")


class Optimizer(torch.optim.Optimizer):
    """Abstract base of the optimizers over CPU tensors; use one of the classes derived from it.

    Parameters
    ----------
    arguments : dict
        What the derived class was constructed with: ``params`` and the options.

    Attributes
    ----------
    param_groups : list of dict
        Read at each step, so schedulers, and you, may change any option any time.
    state : dict
        As in torch, with its names at the same moments: for each parameter that took a step,
        ``step``, the slots and what else accumulates. Kernels write to the slots; change all of it
        in place or replace it, and the next step takes it from there. Other keys are yours.

    Notes
    -----
    All tensors with the same rule and dtype are updated by one kernel call, in place and without
    copies, whatever the number of tensors and groups. bfloat16 parameters have float32 state. A
    parameter whose memory has holes, and a gradient whose elements lie in another order than those
    of its parameter, go through a temporary copy. Of a DTensor (FSDP2) each process steps its own
    shard, and keeps its state in DTensors placed alike; rules that sum over a whole tensor (LAMB,
    LARS, MARS, StableAdamW, cautious ones) refuse shards.

    ``state_dict`` has torch's entries, and ``clock`` (one integer) so that resuming here gives
    the same bits; torch's optimizers ignore it. ``foreach`` and ``fused`` are accepted for
    compatibility and change nothing.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import SGD
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([2.0, 0.0])
    >>> opt = SGD([p], lr=0.5)
    >>> isinstance(opt, torch.optim.Optimizer), opt.step()
    (True, None)
    >>> p.tolist()
    [0.0, 1.0]
    """

    _recipe: ClassVar[Callable[..., tuple[Rule, dict[str, Any]]]]
    _counts: ClassVar[bool] = True
    _starts_at_once: ClassVar[bool] = False
    # What fastopt.save and fastopt.load do, which know no torch.
    _save, _load = checkpoint.save, checkpoint.load

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        options = dict(arguments)
        params = options.pop("params")
        self._forget()
        refuse(type(self).__name__, options)
        super().__init__(params, options)
        if any(
            group.get(name) is not options[name]
            for group in self.param_groups[:1]
            for name in options
        ):
            self._traits(options).row(0, options)  # defaults that no group has are checked, too
        if self._starts_at_once:
            self._start()

    def _forget(self) -> None:
        self._transaction = Transaction(type(self).__name__)
        self._plan: Plan | None = None
        self._rows: list[Row] = []
        self._clocks: Clocks = {}
        self._incoming: tuple[dict[torch.Tensor, dict[str, Any]], Clocks] | None = None

    def _traits(self, options: Mapping[str, Any]) -> Traits:
        names = [name for name in options if name not in OF_TORCH]
        return Traits(type(self).__name__, type(self)._recipe, names, self._counts)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own.

        Parameters
        ----------
        param_group : dict
            ``params`` and options; the others take the optimizer's defaults.

        Raises
        ------
        ArrayTypeError, ArrayError, HyperparameterError
            A tensor is not one that a kernel can update, two share memory, or an option is not
            allowed; the optimizer is as before.
        """
        with self._transaction.lock, self._transaction.alone():
            super().add_param_group(param_group)
            try:
                self._check_last_group()
            except FastoptError:
                self.param_groups.pop()
                raise
            self._plan = None

    def _check_last_group(self) -> None:
        traits = self._traits(self.defaults)
        k, group = len(self.param_groups) - 1, self.param_groups[-1]
        row = traits.row(k, group)
        names, params = names_of(traits, self.param_groups), params_of(self.param_groups)
        for name, p in zip(names[-len(group["params"]) or len(names) :], group["params"]):
            check_tensor(name, local_of(p))
            check_shard(name, p, row.rule)
        ranges = Ranges()
        for name, p in zip(names, params):
            ranges.add(name, local_of(p))
        ranges.check()
        self._rows.append(row)

    def _start(self) -> None:
        """Make the state now, not at the first step, for a class of which torch does so."""
        traits = self._traits(self.defaults)
        for k, group in enumerate(self.param_groups):
            row = traits.row(k, group)
            for p in group["params"]:
                if not is_lazy(p):
                    step = torch.tensor(0.0, dtype=torch.float32)
                    self.state[p] = {"step": step, **initial_slots(p, row, row.rule.slots)}

    @torch.compiler.disable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, in place.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and the gradients; called first, with gradients enabled.

        Returns
        -------
        object
            What ``closure`` returned, or None.

        Raises
        ------
        ArrayTypeError, ArrayError
            A gradient is sparse or does not fit its parameter, or a parameter has become
            something that no kernel can update (it was moved to another device, for example).
        HyperparameterError
            An option in ``param_groups`` was set to something that is not allowed.
        StateError
            The state of a parameter has another shape than the parameter.

        Notes
        -----
        All checks are done before the first byte is written. A parameter whose gradient is None is
        not touched, and its step count does not advance.
        """
        # A class with a step of its own has had torch run the hooks around it already.
        is_bare = type(self).step is not Optimizer.step or not self._is_observed()
        step = self._step if is_bare else self._observed_step
        return step() if closure is None else step(closure)

    @property
    def _of_fused_steps(self) -> None:
        """None: what torch's fused steps are told here (scale, overflow), this one cannot be."""

    @_of_fused_steps.setter
    def _of_fused_steps(self, value: Any) -> None:
        if value is not None:
            raise HyperparameterError(
                f"{type(self).__name__}: grad_scale and found_inf are read by torch's fused steps; "
                "this one takes gradients as they are. Unscale them first (GradScaler.unscale_)."
            )

    grad_scale = found_inf = _of_fused_steps

    def _is_observed(self) -> bool:
        """Tell whether hooks or a profiler are there: torch's wrapper costs a tenth of a step."""
        return bool(
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or global_pre_hooks
            or global_post_hooks
            or torch.autograd._profiler_enabled()
        )

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with self._transaction.lock, self._transaction.alone():
            for _ in range(TRIES):
                plan = self._plan
                if plan is None or not plan.is_current(self.param_groups):
                    traits = self._traits(self.defaults)
                    plan = Plan(traits, self.param_groups, self._clocks, self._rows)
                self._plan = None  # until a step has shown that it holds
                try:
                    plan.step(self.state)
                except Stale:
                    continue
                self._plan = plan
                return loss
        raise ArrayError(
            f"{type(self).__name__}: parameters changed {TRIES} times while they were being "
            "checked. Do not replace or resize them while another thread steps."
        )

    _observed_step = torch.optim.Optimizer.profile_hook_step(_step)
    step.hooked = True  # torch would wrap it otherwise

    def _state_to_save(self) -> defaultdict[torch.Tensor, Any]:
        """Return the state with what is needed to continue with the same bits, here or in torch."""
        resting: defaultdict[torch.Tensor, Any] = defaultdict(dict)
        for p, entry in self.state.items():
            resting[p] = dict(entry) if isinstance(p, torch.Tensor) else entry
            if p in self._clocks and entry:
                resting[p]["clock"] = packed_clock(self._clocks[p][1])
        traits = self._traits(self.defaults)
        for k, group in enumerate(self.param_groups):
            with contextlib.suppress(HyperparameterError):  # of options that no step could use
                row = traits.row(k, group)
                resting |= {
                    p: complete_state(resting[p], p, row)
                    for p in group["params"]
                    if p in self._clocks and p in resting
                }
        return resting

    def state_dict(self) -> dict[str, Any]:
        """Return the state and the options of all groups, as torch's optimizers do.

        Returns
        -------
        dict
            As that of the class of the same name in :mod:`torch.optim`, which can load it; every
            parameter that took a step also has a ``clock``, for resuming with the same bits here.
            As in torch, the tensors are those of the optimizer, not copies.
        """
        with self._transaction.lock, self._transaction.alone():
            live, self.state = self.state, self._state_to_save()
            try:
                return super().state_dict()
            finally:
                self.state = live

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state dict of this class, or of torch's class of the same name.

        Parameters
        ----------
        state_dict : dict
            Matched by position, as in torch. Its tensors are copied; float32 moments of bfloat16
            parameters stay float32. A step count may be any kind of number, or tensor of one
            element, and may stand in the param group, as in apex.

        Raises
        ------
        StateError
            It does not fit: other numbers of groups or parameters, shapes or slots; or a step
            count, or some of the slots, are missing, or belong to no parameter. Nothing was
            changed.
        HyperparameterError
            An option in it is not allowed. Nothing was changed.
        """
        # Hooks may change the dict; ours comes last and sees what will be loaded.
        handle = self.register_load_state_dict_pre_hook(lambda _, final: self._receive(final))
        try:
            with torch.inference_mode(False):  # for the steps after it, see Plan
                super().load_state_dict(state_dict)
        finally:
            handle.remove()
            self._incoming = None

    def _receive(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Check and copy what is to be loaded; return what is left for torch to do."""
        entries, rows = check_layout(state_dict)
        if len(rows) != len(self.param_groups):
            raise StateError(
                f"the state dict has {len(rows)} param groups, but the optimizer has "
                f"{len(self.param_groups)}"
            )
        traits = self._traits(self.defaults)
        names = iter(names_of(traits, self.param_groups))
        incoming, clocks, slots = {}, {}, list[str]()
        for k, (row, group) in enumerate(zip(rows, self.param_groups)):
            where = f"the state dict, param group {k}"
            numbers = row.get("params", ())
            if len(numbers) != len(group["params"]):
                raise StateError(
                    f"{where} has {len(numbers)} parameters, but the optimizer's has "
                    f"{len(group['params'])}"
                )
            own = traits.row(k, {**self.defaults, **row})
            states = [entries.get(number, {}) for number in numbers]
            check_origin(where, row, states, traits.options, own.rule)
            slots += own.rule.slots
            for number, p, name in zip(numbers, group["params"], names):
                entry = entries.get(number, {})
                where = f"state[{number!r}] ({name})"
                if "step" in row and entry and "step" not in entry:  # apex counts by group
                    entry = {"step": row["step"], **entry}
                    rows[k] = {key: value for key, value in row.items() if key != "step"}
                incoming[p], clock = fit_state(where, entry, p, own, self._counts)
                if clock is not None:
                    clocks[p] = own.rule, clock
        check_owners(entries, rows, slots)
        self._incoming = incoming, clocks
        # Of parameters' state all is ready; torch would cast it, and fails at arrays.
        numbers = {number for row in rows for number in row.get("params", ())}
        others = {key: entry for key, entry in entries.items() if key not in numbers}
        return {**state_dict, "state": others, "param_groups": rows}

    def __getstate__(self) -> dict[str, Any]:
        others = {
            name: value
            for name, value in vars(self).items()
            # Hooks are left out as in torch; a step that a scheduler wrapped is of this object.
            if not (name in _MADE or name.startswith("_optimizer_"))
            and not callable(getattr(type(self), name, None))
        }
        return {**others, **super().__getstate__(), "state": self._state_to_save()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        incoming, clocks = self.__dict__.get("_incoming") or (None, {})
        if incoming is not None:  # what is loaded; torch would cast it to the parameters' dtype
            others = {k: v for k, v in state["state"].items() if not isinstance(k, torch.Tensor)}
            kept = {p: entry for p, entry in incoming.items() if entry}
            state = {**state, "state": defaultdict(dict, {**kept, **others})}
        defaults = dict(state.get("defaults") or self.defaults)
        super().__setstate__(state)
        self.defaults = defaults  # torch adds an option that not all of our classes have
        self._forget()
        self._clocks = clocks
        for group in self.param_groups:
            for name, value in defaults.items():
                group.setdefault(name, value)
