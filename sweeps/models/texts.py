"""What a model says of itself."""

from __future__ import annotations

from typing import Any

from fastopt.errors import shortened
from sweeps.models.columns import Columns

__all__ = ["headline", "summary"]


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


def _trial(about: Any) -> list[tuple[str, str]]:
    rows = []
    if "trial_id" in about:
        params = ", ".join(f"{name}={value}" for name, value in about.get("params", {}).items())
        rows.append((f"trial {about['trial_id']}", params or "no axes"))
    if "refitted_rows" in about:
        rows.append(("refitted", f"{about['refitted_rows']} rows, of training and validation"))
    figures = [f"{name}={value:.4g}" for name, value in about.get("metrics", {}).items()]
    return [*rows, ("measured", ", ".join(figures))] if figures else rows
