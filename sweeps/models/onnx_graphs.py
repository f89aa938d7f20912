"""Models as ONNX graphs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fastopt.checkpoint import replacing
from fastopt.errors import SpecError
from sweeps.models.transformers import numeric_of
from sweeps.problems.layer_norm import EPSILON

OPSET, IR_VERSION = 20, 10  # the first with Gelu
# Activation -> operator and its attributes; their defaults are not those of torch everywhere.
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("Identity", {}),
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "elu": ("Elu", {"alpha": 1.0}),
    "selu": ("Selu", {}),
    "gelu": ("Gelu", {"approximate": "none"}),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
    "mish": ("Mish", {}),
    "softplus": ("Softplus", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "silu": ("Sigmoid", {}),  # times its input
}
PROBABILITIES = {"softmax": ("Softmax", {"axis": 1}), "sigmoid": ("Sigmoid", {})}
ELEMENTS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


class Graph(NamedTuple):
    """A graph as it grows; every operator's output is called after its place."""

    nodes: list[Any]
    constants: list[Any]

    def constant(self, name: str, array: np.ndarray) -> str:
        """Add a constant; return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def apply(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add an operator; return the name of its output."""
        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name


def write_onnx(model: Any, path: Path) -> Path:
    """Write the file of :meth:`sweeps.models.model.Model.to_onnx`."""
    made = _model(model)
    onnx.checker.check_model(made, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(made.SerializeToString())
    return path


def _model(model: Any) -> Any:
    network, graph = model.network, Graph([], [])
    features = _add_preprocessing(model, graph)
    z = _add_layers(network, graph, features)
    graph.apply("Identity", z, output="outputs")
    element, k = ELEMENTS[network.theta.dtype.name], network.sizes[-1]
    results = [helper.make_tensor_value_info("outputs", element, ["rows", k])]
    link = network.link
    if link in PROBABILITIES:
        operator, attributes = PROBABILITIES[link]
        graph.apply(operator, z, output="probabilities", **attributes)
        results.append(helper.make_tensor_value_info("probabilities", element, ["rows", k]))
    inputs = helper.make_tensor_value_info("X", TensorProto.DOUBLE, ["rows", model.n_features_in])
    whole = helper.make_graph(graph.nodes, "model", [inputs], results, graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(whole, opset_imports=opsets, producer_name="fastopt")
    made.ir_version = IR_VERSION
    helper.set_model_props(made, _metadata_of(model))
    return made


def _metadata_of(model: Any) -> dict[str, str]:
    """Return the metadata of a model: JSON by name."""
    classes = None if model.classes is None else [*map(str, model.classes.tolist())]
    told = {"loss": model.network.loss, "classes": classes, "feature_names": model.feature_names}
    return {name: json.dumps(value) for name, value in told.items() if value is not None}


def _add_preprocessing(model: Any, graph: Graph) -> str:
    """Fill in, shift and scale in float64, then cast; return the name of the features."""
    x = "X"
    if model.preprocess is not None:
        columns = numeric_of(model.preprocess, "to_onnx")
        places = np.array([entry.column for entry in columns.entries], np.int64)
        x = graph.apply("Gather", x, graph.constant("columns", places), axis=1)
        numbers = {
            name: np.array([getattr(entry, name) for entry in columns.entries], np.float64)
            for name in ("fill", "mean", "scale")
        }
        if not np.isnan(numbers["fill"]).all():
            gaps = graph.apply("IsNaN", x)
            x = graph.apply("Where", gaps, graph.constant("fill", numbers["fill"]), x)
        x = graph.apply("Sub", x, graph.constant("mean", numbers["mean"]))
        x = graph.apply("Div", x, graph.constant("scale", numbers["scale"]))
    return graph.apply("Cast", x, to=ELEMENTS[model.network.theta.dtype.name])


def _add_layers(network: Any, graph: Graph, x: str) -> str:
    """Add the layers; return the name of the last one's outputs."""
    if network.activation not in ACTIVATIONS:
        raise SpecError(
            f"to_onnx: there is no operator of activation {network.activation!r}; use the model "
            "itself, or train with another activation"
        )
    named = {name: graph.constant(name, array) for name, array in network.weights.items()}
    x = _add_embeddings(network, graph, x, named) if network.blocks else x
    last = len(network.layers) - 1
    for k in range(last + 1):
        product = graph.apply("MatMul", x, named[f"layers.{k}.weight"])
        before, x = x, graph.apply("Add", product, named[f"layers.{k}.bias"])
        if f"norms.{k}.weight" in named:
            norm = named[f"norms.{k}.weight"], named[f"norms.{k}.bias"]
            x = graph.apply("LayerNormalization", x, *norm, axis=1, epsilon=EPSILON)
        x = _add_activation(network, graph, x) if k < last else x
        x = graph.apply("Add", before, x) if network.adds(k) else x
    return x


def _add_embeddings(network: Any, graph: Graph, x: str, named: Mapping[str, str]) -> str:
    """Add the tables of categories; return the name of embedded rows."""
    left, made = np.ones(network.n_features, bool), []
    for k, (low, count) in enumerate(zip(network.blocks[::3], network.blocks[1::3])):
        places = np.arange(low, low + count)
        left[places] = False
        ones = graph.apply("Gather", x, graph.constant(f"categories.{k}", places), axis=1)
        made.append(graph.apply("MatMul", ones, named[f"embeddings.{k}.weight"]))
    others = graph.constant("others", np.flatnonzero(left))
    return graph.apply("Concat", graph.apply("Gather", x, others, axis=1), *made, axis=1)


def _add_activation(network: Any, graph: Graph, x: str) -> str:
    operator, attributes = ACTIVATIONS[network.activation]
    made = graph.apply(operator, x, **attributes)
    return graph.apply("Mul", x, made) if network.activation == "silu" else made
