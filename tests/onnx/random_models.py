"""Random ONNX models: a few nodes of the operators that cnnc takes, in a random opset."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from tests.onnx.random_net import Array, Net
from tests.onnx.random_nodes import MAKERS

OPSETS = (7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 21, 22)
LARGEST = 20_000
"""Elements of a value."""


def random_model(
    seed: int, kind: type[np.floating[Any]] | None = None
) -> tuple[onnx.ModelProto, dict[str, Array]] | None:
    """A model and its inputs, every ninth of double; None where nothing came of it.

    With another `kind` it is the same model, its numbers rounded.
    """
    rng = np.random.default_rng(seed)
    if kind is None:
        kind = np.float64 if seed % 9 == 5 else np.float32
    net = Net(rng, OPSETS[int(rng.integers(len(OPSETS)))], kind)
    for number in range(1 + net.flip(0.2)):
        rank = net.pick([2, 3, 4, 4, 4]) if number == 0 else len(net.values["x0"])
        shape = tuple(net.some(1, 7, rank)) if number == 0 else net.values["x0"]
        net.inputs.append(helper.make_tensor_value_info(f"x{number}", net.number, shape))
        net.values[f"x{number}"] = shape
    feeds: dict[str, Array] = {
        name: rng.normal(size=shape).astype(kind) for name, shape in net.values.items()
    }
    for _ in range(net.some(1, 7, 1)[0]):
        _grow(net)
    made = [name for name in net.values if not name.startswith("x")]
    if not made:
        return None
    outputs = [made[-1], *([net.pick(made)] if net.flip(0.3) else [])]
    return _typed(net.model(list(dict.fromkeys(outputs)))), feeds


def _grow(net: Net) -> None:
    """One node more, if it fits."""
    net.x = net.pick([*net.values][-3:])
    nodes, initial = len(net.nodes), len(net.initial)
    names = net.pick(MAKERS)(net)
    shapes = None if names is None else _shapes(net, names)
    if shapes is None:
        del net.nodes[nodes:], net.initial[initial:]
    else:
        net.values |= shapes


def _shapes(net: Net, names: Sequence[str]) -> dict[str, tuple[int, ...]] | None:
    """The shapes of new values; None where the standard knows none, or they are too large."""
    try:
        model = shape_inference.infer_shapes(net.model(names), strict_mode=True, data_prop=True)
    except shape_inference.InferenceError:
        return None
    found = {}
    for end in model.graph.output:
        extents = end.type.tensor_type.shape.dim
        shape = tuple(each.dim_value for each in extents)
        if not shape or min(shape) < 1 or prod(shape) > LARGEST or len(shape) > 5:
            return None
        found[end.name] = shape
    return found


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    return shape_inference.infer_shapes(model)


def with_known_inputs(
    model: onnx.ModelProto, feeds: dict[str, Array]
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The model with its inputs as initializers, and one more path, as a net needs an input."""
    made = onnx.ModelProto.FromString(model.SerializeToString())
    made.graph.ClearField("input")
    for name, array in feeds.items():
        made.graph.initializer.append(numpy_helper.from_array(array, name))
    made.graph.input.append(helper.make_tensor_value_info("beside", TensorProto.FLOAT, [1, 1]))
    made.graph.node.append(helper.make_node("Relu", ["beside"], ["beside_relu"]))
    made.graph.output.append(helper.make_empty_tensor_value_info("beside_relu"))
    return made, {"beside": np.ones((1, 1), np.float32)}


HOSTILE = (
    "1.0", "0.5", "2.0", "max", "net", "input", "x", "N", "repeat", "linear", "half_pixel", "relu",
    "a b", "-inf", "1e-05", "é", "a.b", "a_b", "/a/b", "x_1", "v", "same", "true", "6.0", "batch",
    "weights", "output", "i", "open", "_", "é_1", "0", "1",
)  # fmt: skip
"""Names that something of the language has, or that become the same in it."""


def with_hostile_names(
    model: onnx.ModelProto, feeds: dict[str, Array], seed: int
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The same model under other names of tensors and nodes."""
    rng = np.random.default_rng(seed)
    made = onnx.ModelProto.FromString(model.SerializeToString())
    graph, names = made.graph, [str(each) for each in rng.permutation(HOSTILE)]
    moved: dict[str, str] = {"": ""}

    def name_of(old: str) -> str:
        if old not in moved:
            moved[old] = names[len(moved) % len(names)] + "_" * (len(moved) // len(names))
        return moved[old]

    for each in (*graph.input, *graph.initializer, *graph.output, *graph.value_info):
        each.name = name_of(each.name)
    nodes = [str(each) for each in rng.permutation(HOSTILE)]
    for node, name in zip(graph.node, nodes, strict=False):
        node.name = name
        node.input[:] = [name_of(each) for each in node.input]
        node.output[:] = [name_of(each) for each in node.output]
    return made, {name_of(name): array for name, array in feeds.items()}
