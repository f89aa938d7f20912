"""What a model says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastopt.errors import shortened
from sweeps.models.columns import Columns


def headline(model: Any) -> str:
    """Return a model in a line."""
    network = model.network
    shape = "-".join(map(str, network.sizes))
    kind = f"{shape} {network.activation}" if len(network.sizes) > 2 else f"{shape} linear"
    kind += f" with {' and '.join(network.has)}" if network.has else ""
    outputs = "" if model.classes is None else f", {len(model.classes)} classes"
    name = model.about.get("problem", "a network")
    return (
        f"Model of {name}: {kind}, {network.theta.size:,} parameters, {network.theta.dtype}; "
        f"{network.loss}{outputs}"
    )


def summary(model: Any) -> str:
    """Return what :meth:`sweeps.models.model.Model.summary` does."""
    rows = [*_layers(model), *_ends(model), *_trial(model.about)]
    width = max(len(name) for name, _ in rows)
    return "\n".join([headline(model), *(f"  {name:<{width}}  {text}" for name, text in rows)])


def summary_of_several(models: Sequence[Any]) -> list[str]:
    """Return the lines of an ensemble: what its models are, said once if it is the same of all."""
    lines, last = [], ""
    for model in models:
        said, about = headline(model), model.about
        if said != last:
            lines.append(said)
        if "trial_id" in about:
            lines.append(f"trial {about['trial_id']}  {_params(about)}")
        last = said
    return lines


def _layers(model: Any) -> list[tuple[str, str]]:
    network, rows = model.network, []
    for name, table in network.weights.items():
        if name.startswith("embeddings."):
            count, dim = table.shape
            rows.append((name.removesuffix(".weight"), f"{count} categories -> {dim}"))
    last = len(network.layers) - 1
    for k, (weight, bias) in enumerate(network.layers):
        shape = f"{weight.shape[0]} -> {weight.shape[1]}"
        function = network.link if k == last else network.activation
        size = weight.size + bias.size
        if k < last and network.layer_norm:
            size, function = size + 2 * bias.size, f"norm, {function}"
        function += ", residual" if network.adds(k) else ""
        rows.append((f"layers.{k}", f"{shape:<10}  {size:,} parameters  {function}"))
    return rows


def _ends(model: Any) -> list[tuple[str, str]]:
    """Return what is said of labels and columns."""
    rows = []
    if model.classes is not None:
        shown = ", ".join(shortened(label, 40) for label in model.classes[:10].tolist())
        more = ", ..." if len(model.classes) > 10 else ""
        rows.append(("classes", shown + more))
    if model.preprocess is not None:
        kind = type(model.preprocess).__name__
        kind = "plain data" if isinstance(model.preprocess, Columns) else kind
        counts = f"{model.n_features_in} columns -> {model.network.n_features} features"
        rows.append(("preprocess", f"{counts} ({kind})"))
    if model.feature_names is not None:
        rows.append(("columns", f"{', '.join(map(str, model.feature_names)):.200}"))
    if model.target_name is not None:
        rows.append(("target", model.target_name))
    return rows


def _params(about: Any) -> str:
    given = about.get("params", {}).items()
    shown = ((name, f"{v:.6g}" if isinstance(v, float) else v) for name, v in given)
    return ", ".join(f"{name}={value}" for name, value in shown) or "no axes"


def _trial(about: Any) -> list[tuple[str, str]]:
    rows = []
    if "trial_id" in about:
        rows.append((f"trial {about['trial_id']}", _params(about)))
    if "refitted_rows" in about:
        rows.append(("refitted", f"{about['refitted_rows']} rows, of training and validation"))
    figures = [f"{name}={value:.4g}" for name, value in about.get("metrics", {}).items()]
    return [*rows, ("measured", ", ".join(figures))] if figures else rows
