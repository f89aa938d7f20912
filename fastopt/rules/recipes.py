"""From the options that users know (torch's) to a rule and its hyperparameters.

A *recipe* is ``recipe(where, options) -> rule, values``: it picks the rule, splits pairs such as
``betas`` and renames what torch calls otherwise. Options that no rule knows are ignored.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from fastopt.errors import HyperparameterError, shortened
from fastopt.rules import RULES, Flag, Rule, current
from fastopt.rules.mars import MARS_OF_MATRICES

Recipe = Callable[[str, Mapping[str, Any]], tuple[Rule, dict[str, Any]]]
"""``recipe(where, options)`` picks the rule and renames torch's options to the rule's names."""

SPLIT = {
    "betas": ("beta1", "beta2", "beta3"),
    "etas": ("etaminus", "etaplus"),
    "step_sizes": ("step_size_min", "step_size_max"),
}
"""Options of torch that are several hyperparameters here, and those."""

_RENAMED = {"decoupled_weight_decay": "decoupled"}


def options_of(rule: Rule) -> set[str]:
    """Return what classes call the hyperparameters of a rule.

    >>> sorted(options_of(RULES["lion"]))
    ['betas', 'decoupled_weight_decay', 'lr', 'maximize', 'weight_decay']
    """
    whole = {part: name for name, parts in SPLIT.items() for part in parts}
    whole |= {ours: name for name, ours in _RENAMED.items()}
    return {whole.get(name, name) for name in rule.hyper}


def values_of(rule: Rule, where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that ``rule`` knows, under its names.

    >>> values_of(RULES["adam"], "Adam", {"lr": 0.1, "betas": (0.8, 0.9), "name": "mine"})
    {'lr': 0.1, 'beta1': 0.8, 'beta2': 0.9}
    """
    values: dict[str, Any] = {}
    for name, value in options.items():
        names = name in SPLIT and [part for part in SPLIT[name] if part in rule.hyper]
        if not names:
            values[_RENAMED.get(name, name)] = value
        elif isinstance(value, tuple | list) and len(value) == len(names):
            values |= zip(names, value)
        else:
            kind = "pair" if len(names) == 2 else "triple"
            raise HyperparameterError(
                f"{where}: {name} must be a {kind} ({', '.join(names)}); got {shortened(value)}"
            )
    return {name: values[name] for name in rule.hyper if name in values}


def named(name: str) -> Recipe:
    """Return the recipe of optimizers that are always one rule; unlike a closure, it pickles.

    >>> rule, values = named("lion")("Lion", {"lr": 0.1, "betas": (0.8, 0.9)})
    >>> rule.name, values
    ('lion', {'lr': 0.1, 'beta1': 0.8, 'beta2': 0.9})
    """
    return functools.partial(_named, name)


def _named(name: str, where: str, options: Mapping[str, Any]) -> tuple[Rule, dict[str, Any]]:
    rule = current(name)
    return rule, values_of(rule, where, options)


def sgd(where: str, options: Mapping[str, Any]) -> tuple[Rule, dict[str, Any]]:
    """Pick the rule: without momentum there is no buffer, 12 bytes of float32 traffic for 20.

    >>> rule, values = sgd("SGD", {"lr": 0.1, "momentum": 0.0, "dampening": 0.0})
    >>> rule.name, values
    ('sgd', {'lr': 0.1})
    """
    rule = current("momentum")
    values = values_of(rule, where, options)
    h = dict(zip(rule.hyper, rule.pack(values, where)))
    if h["nesterov"] and not (h["momentum"] > 0.0 and h["dampening"] == 0.0):
        raise HyperparameterError(
            f"{where}: nesterov=True needs momentum > 0 and dampening = 0; got "
            f"momentum={values['momentum']} and dampening={values['dampening']}"
        )
    if h["momentum"] != 0.0:
        return rule, values
    plain = current("sgd")
    return plain, values_of(plain, where, options)


def adam(where: str, options: Mapping[str, Any]) -> tuple[Rule, dict[str, Any]]:
    """Pick the rule with or without the maximum of the second moments."""
    largest = Flag().pack(f"{where}: amsgrad", options["amsgrad"])
    return named("amsgrad" if largest else "adam")(where, options)


def mars(where: str, options: Mapping[str, Any]) -> tuple[Rule, dict[str, Any]]:
    """Pick the form that treats all tensors alike, or matrices only.

    >>> mars("MARS", {"lr": 0.1, "optimize_1d": True})[0].name
    'mars_adamw'
    """
    alike = Flag().pack(f"{where}: optimize_1d", options["optimize_1d"])
    rule = current("mars_adamw") if alike else MARS_OF_MATRICES
    return rule, values_of(rule, where, options)


def rmsprop(where: str, options: Mapping[str, Any]) -> tuple[Rule, dict[str, Any]]:
    """Pick the rule with the buffers that are asked for.

    >>> options = {"lr": 0.1, "centered": True, "momentum": 0.9}
    >>> rmsprop("RMSprop", options)[0].name
    'rmsprop_centered_momentum'
    """
    centered = Flag().pack(f"{where}: centered", options["centered"])
    momentum = RULES["rmsprop_momentum"].hyper["momentum"]
    moves = momentum.pack(f"{where}: momentum", options["momentum"]) != 0.0
    return named("rmsprop" + "_centered" * int(centered) + "_momentum" * moves)(where, options)
