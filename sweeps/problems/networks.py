"""Networks on the rows of a source: how a problem is made, and made again with other settings."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastopt.errors import ArrayError, SpecError, shortened
from sweeps.common.names import check_boolean
from sweeps.common.pickling import Shippable
from sweeps.problems import mlp as net
from sweeps.problems.arrays import as_dataset, cast
from sweeps.problems.base import DataProblem, widths_of
from sweeps.problems.embeddings import blocks_of, check_dim, embedded_init, embedded_width
from sweeps.problems.initialisations import initialisation
from sweeps.problems.losses import check_targets, constants_of, find_loss
from sweeps.problems.lr_multipliers import base_width_of, multipliers_of
from sweeps.problems.metrics import names_of
from sweeps.problems.noise import noises_of
from sweeps.problems.passes import Design
from sweeps.problems.pinned import pinned
from sweeps.problems.source import Parts, Source
from sweeps.problems.summed import summed

DATA_AXES = ("fold", "n_train", "label_noise", "split_seed")
"""Axes of a problem that choose its rows; the others choose its model."""

MOST_PREPARED = 64
"""Choices of rows that are kept for further models on them."""


@dataclass(frozen=True, eq=False)
class Network(Shippable):
    """What all networks of a problem have in common, whatever its axes.

    * ``name``: of the problem.
    * ``loss``: name in :data:`sweeps.problems.losses.LOSSES`.
    * ``source``: returns the :class:`Source` of the rows; called when an axis asks for other rows.
    * ``origin``: what says, in a store, which rows these are.
    * ``classes``: labels by their numbers.
    * ``dtype``: of data, parameters and arithmetic.
    * ``theta0``, array_like: initial parameters; they fit one shape of the layers only.
    * ``weighted``: whether the last column of the targets holds the weights of the rows.
    * ``metrics``: what is measured beside loss and accuracy: see :mod:`sweeps.problems.metrics`.
    * ``kinds``: columns of the table that are features, in their order, and what sort of values
      they hold.
    * ``names``: columns of a DataFrame of numbers, where ``kinds`` has none.
    * ``target``, str: name of the column that is predicted.
    * ``embed``: columns of categories that are embedded, in as many numbers as the axis
      ``embed_dim`` says.
    """

    name: str
    loss: str
    source: Callable[[], Source] = field(compare=False)
    origin: Any
    classes: np.ndarray | None = field(default=None, compare=False)
    dtype: Any = "float32"
    theta0: Any = None
    weighted: bool = False
    metrics: tuple = ()
    kinds: Mapping[str, str] | None = None
    names: tuple[str, ...] | None = None
    target: Any = None
    embed: tuple[Any, ...] = ()
    # Models on the same rows share them: 5 folds of 100 shapes are 5 copies of the data, not 500.
    prepared: dict[str, Parts] = field(default_factory=dict, compare=False, repr=False)

    def on(self, parts: Parts, axes: Mapping[str, Any]) -> DataProblem:
        """Return the problem of these rows, with a model as the axes say."""
        loss, activation, constants = self.loss, axes["activation"], self.constants(axes)
        outputs, scaled = self.n_outputs(parts), parts.target_scale is not None
        if self.classes is None:
            check_targets("y", loss, parts.y[:, outputs * scaled :][:, :outputs], constants)
        blocks = self.blocks(parts, axes)
        sizes = (embedded_width(parts.X.shape[1], blocks), *axes["hidden"], outputs)
        noises, layers = noises_of(axes), layers_of(axes)
        drops, noisy = (noises > 0.0).tolist()
        design = Design(activation, **layers, drops=drops, embeds=bool(blocks))
        kind = loss, self.weighted, self.metrics, design
        compiled = net.functions(*kind, constants, noisy, scaled)
        n_params = net.n_parameters(sizes, design, blocks)  # refuses what no int64 can count
        init = initialisation(axes["init"], 1.0, design.layer_norm, base_width_of(axes))
        told = {"loss": loss, "activation": activation, "init": axes["init"], **layers}
        told |= {"standardize_target": True} if scaled else {}  # which a store is told by name
        units = (parts.target_mean, parts.target_scale) if scaled else ()
        constants = np.concatenate([constants, *units, noises[: 2 * compiled.draws]])
        return DataProblem(
            name=self.name,
            **compiled._asdict(),
            init=embedded_init(init) if blocks else init,
            **parts._asdict(),
            n_params=n_params,
            aux=net.aux_of(sizes, activation, constants, blocks),
            work_per_row=net.work_per_row(sizes, design, noisy),
            work_rows=net.BLOCK,
            flops_per_row=6.0 * sum(n * m for n, m in itertools.pairwise(sizes)),
            theta0=initial(self.theta0, n_params, parts.X.dtype),
            options={**told, "weighted": self.weighted},
            hidden=axes["hidden"],
            metrics=names_of(self.metrics, loss, 0 if self.classes is None else len(self.classes)),
            n_outputs=outputs,
            penalised=weights_in(sizes),
            lr_multipliers=multipliers_of(sizes, design, axes, blocks),
            axes=dict(axes),
            recipe=self,
            feature_names=self.names if self.kinds is None else tuple(self.kinds),
            target_name=self.target,
            classes=self.classes,
        )

    def n_outputs(self, parts: Parts) -> int:
        """Return how many numbers a model puts out for a row."""
        if self.classes is not None:
            return 1 if find_loss(self.loss).task == "binary" else len(self.classes)
        columns = parts.y.shape[1] - self.weighted
        return columns if parts.target_scale is None else columns // 2

    def blocks(self, parts: Parts, axes: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the blocks of features that are embedded, as these rows have them."""
        if not self.embed:
            return ()
        if axes["input_noise"]:
            raise SpecError(
                f"input_noise={shortened(axes['input_noise'])} would blur which category a row has "
                "of those that are embedded; leave it out, or embed"
            )
        return blocks_of(parts.preprocess, self.embed, check_dim(axes["embed_dim"]))

    def constants(self, axes: Mapping[str, Any]) -> np.ndarray:
        """Return the constants of the loss, those that are axes as these say."""
        own = find_loss(self.loss).constants
        return constants_of(self.loss, {name: axes[name] for name in own})

    def remade(self, problem: DataProblem, values: Mapping[str, Any]) -> DataProblem:
        """Return a problem of this network with other values of some of its axes."""
        axes = {**problem.axes, **values}
        if "hidden" in values:
            if self.theta0 is not None:
                raise SpecError(
                    f"hidden={shortened(values['hidden'])}: the initial parameters (theta0) of "
                    f"{self.name} are fixed, and fit its own layers {problem.hidden}; leave theta0 "
                    "out to have them drawn"
                )
            axes["hidden"] = widths_of(problem, values["hidden"])
        parts = rows_of(problem)
        if any(name in DATA_AXES and axes[name] != problem.axes[name] for name in values):
            parts = self.parts(axes, beside=problem)
        return self._like(problem, self.on(parts, axes))

    def refitted(self, problem: DataProblem) -> DataProblem:
        """Return a problem of this network that trains on its validation rows as well."""
        return self._like(problem, self.on(self.parts(problem.axes, True, problem), problem.axes))

    def parts(
        self, axes: Mapping[str, Any], refit: bool = False, beside: DataProblem | None = None
    ) -> Parts:
        """Return the rows that the axes choose, as those of the problem beside them are made."""
        chosen = {name: axes[name] for name in DATA_AXES if name in axes}
        known = f"{chosen} {refit}"
        if known not in self.prepared:
            source = self.source()
            if beside is not None:
                own = {name: beside.axes[name] for name in chosen}
                source.refuse_change(rows_of(beside), self.dtype, **own)
            made = source.parts(self.dtype, refit=refit, **chosen)
            while len(self.prepared) >= MOST_PREPARED:
                self.prepared.pop(next(iter(self.prepared)))
            self.prepared[known] = made
        return self.prepared[known]

    def _like(self, problem: DataProblem, made: DataProblem) -> DataProblem:
        for name, wrapped in WRAPPERS.items():
            made = wrapped(made) if problem.options.get(name) else made
        return made


WRAPPERS: dict[str, Callable[[DataProblem], DataProblem]] = {"pinned": pinned, "summed": summed}
"""Option of a problem -> what its gradients went through."""


def rows_of(problem: DataProblem) -> Parts:
    """Return the rows that a problem has."""
    return Parts(**{name: getattr(problem, name) for name in Parts._fields})


def data_axes(source: Source) -> dict[str, Any]:
    """Return the axes that choose among the rows of a source, with the values they begin with."""
    axes: dict[str, Any] = {"fold": 0} if source.n_folds > 1 else {}
    axes["n_train"] = None
    if source.classes is not None and source.y.ndim == 1:
        axes["label_noise"] = 0.0
    if source.is_drawn:
        axes["split_seed"] = source.seed
    return axes


def network_on(
    source: Source, hidden: Any, model: Mapping[str, Any], metrics: Any = (), **settings: Any
) -> DataProblem:
    """Return the problem of a network on the rows of a source.

    ``model``: ``activation``, ``init`` and whatever else makes a network, and constants of the
    loss, by name. ``**settings``: more arguments of :class:`Network`.
    """
    one = isinstance(metrics, str) or callable(metrics)
    network = Network(
        source=functools.partial(_same, source),
        origin=source,
        classes=source.classes,
        weighted=source.weights is not None or source.class_weight is not None,
        metrics=(metrics,) if one else tuple(metrics),
        **settings,
    )
    axes = {**model_axes(settings["loss"], hidden, **model), **data_axes(source)}
    return network.on(network.parts(axes), axes)


MODEL = (
    "activation", "init", "layer_norm", "residual", "dropout", "input_noise", "lr_multipliers",
    "parametrization", "base_width",
)  # fmt: skip
"""What a model may be told, whatever its loss; :func:`model_axes` has the values by default."""


def model_axes(
    loss: str,
    hidden: Any,
    activation: str = "relu",
    init: str = "glorot_uniform",
    layer_norm: bool = False,
    residual: bool = False,
    dropout: float = 0.0,
    input_noise: float = 0.0,
    lr_multipliers: Any = None,
    parametrization: str = "standard",
    base_width: int = 64,
    embed_dim: int | None = None,
    **constants: Any,
) -> dict[str, Any]:
    """Return the axes that choose a model, with the values they begin with.

    >>> axes = model_axes("huber", (8,), delta=2.0)
    >>> list(axes)[:4], axes["delta"]
    (['hidden', 'activation', 'init', 'layer_norm'], 2.0)
    """
    model = {key: value for key, value in locals().items() if key in MODEL}
    if isinstance(lr_multipliers, list | np.ndarray):  # which has no hash
        model["lr_multipliers"] = tuple(lr_multipliers)
    if embed_dim is not None:
        model["embed_dim"] = embed_dim
    given = dict(zip(find_loss(loss).constants, constants_of(loss, constants).tolist()))
    return {"hidden": as_widths(hidden), **model, **given}


LAYERS = ("layer_norm", "residual")
"""Axes that say what hidden layers have."""


def layers_of(axes: Mapping[str, Any]) -> dict[str, bool]:
    """Return what hidden layers have beside their activation, checked.

    >>> layers_of({"hidden": (8,), "layer_norm": True, "residual": False})
    {'layer_norm': True, 'residual': False}
    """
    for name in LAYERS:
        check_boolean(name, axes[name])
    hidden = axes["hidden"]
    if axes["layer_norm"] and not hidden:
        raise SpecError(
            "layer_norm=True norms hidden layers, and hidden=() has none; leave it out, or give "
            "the network hidden layers"
        )
    if axes["residual"] and not any(n == m for n, m in itertools.pairwise(hidden)):
        raise SpecError(
            "residual=True adds the outputs of a hidden layer to those of the next one of the same "
            f"width, and hidden={shortened(hidden)} has no two; leave it out, or repeat a width"
        )
    return {name: bool(axes[name]) for name in LAYERS}


def _same(source: Source) -> Source:
    return source


def weights_in(sizes: Sequence[int]) -> np.ndarray:
    """Return where the weights of each layer begin and end in the parameters.

    >>> weights_in((4, 3, 2))
    array([ 0, 12, 15, 21])
    """
    ends, at = [], 0
    for n, m in itertools.pairwise(sizes):
        ends += [at, at + n * m]
        at += (n + 1) * m
    return np.array(ends, np.int64)


def as_widths(hidden: Any) -> tuple[int, ...]:
    """Return the widths of hidden layers as a tuple, or say which is none."""
    widths = tuple(hidden) if isinstance(hidden, Sequence) else (hidden,)
    for width in widths:
        if isinstance(width, bool) or not isinstance(width, int | np.integer) or width < 1:
            raise SpecError(
                f"hidden must be a sequence of layer widths >= 1; got {shortened(hidden)}"
            )
    return tuple(int(w) for w in widths)


def initial(theta0: Any, n: int, dtype: np.dtype) -> np.ndarray | None:
    """Return fixed initial parameters as an array, or say why they do not fit."""
    if theta0 is None:
        return None
    theta0 = cast("theta0", as_dataset("theta0", np.reshape(theta0, (1, -1))), dtype)[0]
    if theta0.size != n:
        raise ArrayError(f"theta0 has {theta0.size} numbers; the model has {n} parameters")
    return theta0
