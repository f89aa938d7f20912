r"""What the steps of each layer are multiplied by: as the user says, and as widths ask for (muP).

In the maximal update parametrization a learning rate that is best for a network of the base width
:math:`w` is best for wider ones, too. Of a layer of :math:`n` inputs that are hidden units, Adam's
learning rate is multiplied by :math:`w/n`; that of the first layer, of biases and of norms stays.
Weights are drawn with a variance of :math:`c/n`, those of the last layer with :math:`c w/n^2`. This
is table 3 of the paper; an output multiplier of :math:`w/n` on weights of variance :math:`c/w`
whose learning rate stays (table 8) is the same training by its lemma J.1.

References
----------
G. Yang et al., *Tensor Programs V: tuning large neural networks via zero-shot hyperparameter
transfer*, arXiv:2203.03466.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.common.limits import is_whole
from sweeps.common.names import check_choice
from sweeps.common.resources import check_memory
from sweeps.problems.passes import Design, shapes_of

PARAMETRIZATIONS = ("standard", "mup")
"""How initial weights and steps depend on the widths of layers."""

BY_INPUTS = ("he", "lecun")
"""Initialisations whose variance follows from the inputs of a layer alone, as muP asks for."""


def as_multipliers(given: Any, layers: int) -> list[float]:
    """Return the multiplier of each layer, from the first to the outputs; none for None.

    >>> as_multipliers("1, 0.1, 1", 3), as_multipliers((0, 1), 2), as_multipliers(None, 2)
    ([1.0, 0.1, 1.0], [0.0, 1.0], [])
    """
    if given is None:
        return []
    cells = given.split(",") if isinstance(given, str) else given
    try:
        numbers = [math.nan if isinstance(cell, bool) else float(cell) for cell in cells]
    except (TypeError, ValueError):
        numbers = [math.nan]
    if not all(0.0 <= number < math.inf for number in numbers):
        raise SpecError(
            "lr_multipliers must be numbers >= 0, one a layer, or the same joined by commas such "
            f'as "1, 0.1, 1"; got {shortened(given)}'
        )
    if len(numbers) != layers:
        raise SpecError(
            f"lr_multipliers={shortened(given)} has {len(numbers)} numbers, and the network has "
            f"{layers} layers with that of its outputs; give one a layer"
        )
    return numbers


def base_width_of(axes: Mapping[str, Any]) -> float:
    """Return the base width of a network in the maximal update parametrization; 0 in the standard.

    ``axes``: of a problem: ``parametrization``, ``base_width``, ``init`` and ``hidden``.

    >>> axes = {"parametrization": "mup", "base_width": 32, "init": "he_normal", "hidden": (64,)}
    >>> base_width_of(axes)
    32.0
    """
    kind, width = axes["parametrization"], axes["base_width"]
    check_choice("parametrization", kind, PARAMETRIZATIONS)
    if not is_whole(width, 1, sys.float_info.max):
        raise SpecError(f"base_width must be an integer >= 1; got {shortened(width)}")
    if kind == "standard":
        return 0.0
    if not axes["hidden"]:
        raise SpecError(
            'parametrization="mup" scales with the width of hidden layers, and hidden=() has none; '
            "leave it out, or give the network hidden layers"
        )
    if str(axes["init"]).partition("_")[0] not in BY_INPUTS:
        raise SpecError(
            f'init={shortened(axes["init"])} does not go with parametrization="mup", whose weights '
            "have a variance that follows from the inputs of a layer alone: use he_normal, "
            "he_uniform, lecun_normal or lecun_uniform"
        )
    return float(width)


def multipliers_of(
    sizes: Sequence[int], design: Design, axes: Mapping[str, Any], blocks: Sequence[int] = ()
) -> np.ndarray:
    """Return what the step of each parameter is multiplied by; an empty array if by nothing.

    ``axes``: those of :func:`base_width_of`, and ``lr_multipliers``. ``blocks``: of categories that
    are embedded, by tables whose steps are not multiplied.

    >>> axes = {"lr_multipliers": (1, 0.5), "parametrization": "standard", "base_width": 64}
    >>> multipliers_of((1, 2, 1), Design(), axes)
    array([1. , 1. , 1. , 1. , 0.5, 0.5, 0.5])
    """
    given, base = as_multipliers(axes["lr_multipliers"], len(sizes) - 1), base_width_of(axes)
    if not given and base == 0.0:
        return np.empty(0)  # whatever there is room for
    shapes, parts = shapes_of(sizes, design, blocks), []
    needed = 16 * sum(map(math.prod, shapes.values()))
    check_memory(needed, "learning rates of all parameters take", "Make layers narrower")
    for name, shape in shapes.items():
        kind, place, part = name.split(".")
        factor = given[int(place)] if given and kind != "embeddings" else 1.0
        if base > 0.0 and (kind, part) == ("layers", "weight") and int(place) > 0:
            factor *= base / shape[0]
        parts.append(np.full(math.prod(shape), factor))
    made = np.concatenate(parts)
    return np.empty(0) if (made == 1.0).all() else made
