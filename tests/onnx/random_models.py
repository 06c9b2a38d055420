"""Random ONNX models: a few nodes of the operators that cnnc takes, in a random opset."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper, shape_inference

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
