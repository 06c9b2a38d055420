"""What is known while a graph is read: nodes on known tensors, evaluated as ONNX defines them."""

import warnings
from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnc.base.layout import Shape
from cnnc.onnx.flat import Array
from cnnc.onnx.reading import MOST_AXES
from cnnc.onnx.values import Known, RefusedError

if TYPE_CHECKING:
    from onnx import NodeProto

MOST = 2**24
"""Elements of a tensor that is computed here, unless its operands have more."""
MOST_FILLED = 2**28
"""Elements of a tensor that is one number everywhere."""
MOST_WORK = 2**34
"""Products of one operator."""

ELEMENTWISE = frozenset({
    "Abs", "Add", "And", "BitShift", "Cast", "CastLike", "Ceil", "Clip", "Cos", "Div", "Equal",
    "Erf", "Exp", "Floor", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual",
    "Log", "Max", "Mean", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "Relu",
    "Round", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub", "Sum", "Tanh", "Where", "Xor"
})  # fmt: skip
"""No result is larger than its operands, broadcast."""
REARRANGED = frozenset({
    "Concat", "DepthToSpace", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear",
    "Reshape", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose",
    "Unsqueeze", "Trilu", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare",
    "ArgMax", "ArgMin", "CumSum", "Softmax"
})  # fmt: skip
"""Results have no more elements than all operands together, where these have elements."""
GROWING = frozenset({
    "ConstantOfShape", "Expand", "Tile", "Gather", "Pad", "Range", "MatMul"
})  # fmt: skip
"""How large results are is asked of `_grown`."""


PAIRS = frozenset({
    "Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Less", "Greater"
})  # fmt: skip
"""Operators that had attributes for broadcasting."""
BROADCASTING = 7
"""From this opset on shapes alone say how."""
ALL_FORMS_KNOWN = 13
"""From this opset on ONNX's reference evaluates nodes in the form of their opset."""
MADE_OF_SHAPES = frozenset({"ConstantOfShape", "Range"})
"""What has no other form than a known one."""


def can_fold(op: str, opset: int) -> bool:
    """Whether nodes of this operator are evaluated where all their operands are known."""
    if op == "Softmax" and opset < ALL_FORMS_KNOWN:
        return False  # the reference takes its axis as today's
    return op in ELEMENTWISE or op in REARRANGED or op in GROWING


def fold(node: "NodeProto", opset: int, operands: Sequence[Known | None]) -> list[Known]:
    """The node's results; RefusedError where it has none, or they are too large."""
    arrays = [None if each is None else each.array for each in operands]
    if opset < BROADCASTING and node.op_type in PAIRS:
        node, arrays = _broadcast(node, arrays)
    block = max((each.i for each in node.attribute if each.name == "block_size"), default=0)
    if block * max((each.size for each in arrays if each is not None), default=0) > 4 * MOST:
        raise RefusedError("its blocks are too large")
    if node.op_type == "ConstantOfShape":
        return [Known(_filled(node, arrays))]
    most = max(MOST, sum(each.size for each in arrays if each is not None))
    if _size(node, arrays) > most or _work(node.op_type, arrays) > MOST_WORK:
        raise RefusedError(f"it would make a constant of more than {most} elements")
    if node.op_type == "Shape":
        return [Known(_shape_of(node, arrays))]
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = _evaluate(node, opset, arrays)
    except Exception as error:  # the reference raises whatever NumPy does
        raise RefusedError(f"its value cannot be computed: {error}") from None
    if len(results) < len([each for each in node.output if each]):
        raise RefusedError("it has more results than its operator")
    found = [Known(np.asarray(each)) for each in results]
    if any(each.array.ndim > MOST_AXES for each in found):
        raise RefusedError(f"it would make a constant of more than {MOST_AXES} axes")
    if node.op_type.startswith("Reduce") and arrays[0] is not None:
        # the reference makes float64 of no elements
        found = [Known(each.array.astype(arrays[0].dtype)) for each in found]
    if sum(each.array.size for each in found) > 4 * most:
        raise RefusedError("its value is too large")
    return found


def _evaluate(node: "NodeProto", opset: int, arrays: Sequence[Array | None]) -> Sequence[Array]:
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    fed = {name: array for name, array in zip(node.input, arrays, strict=True) if name}
    kinds = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), None)
        for name, array in fed.items()
        if array is not None
    ]
    names = [name for name in node.output if name]
    outputs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in names]
    graph = helper.make_graph([node], "one", kinds, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    results: Any = ReferenceEvaluator(model).run(None, fed)
    by_name = dict(zip(names, results, strict=True))
    return [by_name.get(name, np.zeros(0)) for name in node.output]


def _broadcast(
    node: "NodeProto", arrays: Sequence[Array | None]
) -> "tuple[NodeProto, list[Array | None]]":
    """The node as it is today: the second operand says by `axis` where it broadcasts."""
    from onnx import helper

    given = {each.name: each.i for each in node.attribute}
    first, second = (*arrays, None, None)[:2]
    if first is None or second is None:
        raise RefusedError("an operand is missing")
    if given.get("broadcast") and second.ndim < first.ndim:
        axis = given.get("axis", first.ndim - second.ndim)
        if not 0 <= axis <= first.ndim - second.ndim:
            raise RefusedError(f"there is no axis {axis} to broadcast along")
        second = second.reshape(*second.shape, *(1,) * (first.ndim - axis - second.ndim))
    return helper.make_node(node.op_type, node.input, node.output), [first, second]


def _shape_of(node: "NodeProto", arrays: Sequence[Array | None]) -> Array:
    if not arrays or arrays[0] is None:
        raise RefusedError("it has no operand")
    return cut_shape(arrays[0].shape, {each.name: each.i for each in node.attribute})


def cut_shape(shape: Sequence[int], attributes: Mapping[str, int]) -> Array:
    """The result of `Shape`, whose attributes `start` and `end` cut it."""
    rank = len(shape)
    start, end = attributes.get("start", 0), attributes.get("end", rank)
    start, end = (max(0, min(rank, n + rank if n < 0 else n)) for n in (start, end))
    return np.array(shape[start:end], np.int64)


def _filled(node: "NodeProto", arrays: Sequence[Array | None]) -> Array:
    """The result of `ConstantOfShape`, which takes no memory."""
    from onnx import numpy_helper

    shape = _extents(arrays[0] if arrays else None)
    if any(n < 0 for n in shape) or len(shape) > MOST_AXES or prod(shape) > MOST_FILLED:
        text = ", ".join(map(str, shape[:MOST_AXES]))
        raise RefusedError(f"[{text}] is no shape, or has more than {MOST_FILLED} elements")
    values = [numpy_helper.to_array(each.t) for each in node.attribute if each.name == "value"]
    value: Array = values[0] if values else np.zeros(1, np.float32)
    if value.size != 1:
        raise RefusedError("its value is no single number")
    return np.broadcast_to(value.reshape(()), shape)


def _extents(array: Array | None) -> tuple[int, ...]:
    if array is None or array.ndim > 1 or array.dtype.kind not in "iu":
        raise RefusedError("its shape is no list of integers")
    return tuple(int(each) for each in array.reshape(-1)[: MOST_AXES + 1])


def _size(node: "NodeProto", arrays: Sequence[Array | None]) -> int:
    """Elements of the results at most; 0 where operands do not fit, which evaluation finds."""
    given = [each for each in arrays if each is not None]
    op = node.op_type
    if op in REARRANGED:  # a reduction makes elements of none
        return sum(prod(max(1, n) for n in each.shape) for each in given)
    if op in ELEMENTWISE:
        return _broadcast_size([each.shape for each in given])
    if op == "Pad" and (len(given) < 2 or given[1].size % 2):
        return MOST_FILLED
    if len(given) < {"Range": 3}.get(op, 2):
        return 0
    if op == "Gather":
        axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
        return _gathered(given[0].shape, given[1].size, axis)
    return _grown(op, given)


def _broadcast_size(shapes: Sequence[Shape]) -> int:
    rank = max(map(len, shapes), default=0)
    padded = [(1,) * (rank - len(each)) + tuple(each) for each in shapes]
    return prod(max(extents) for extents in zip(*padded, strict=True)) if padded else 0


def _gathered(shape: Shape, count: int, axis: int) -> int:
    if not -len(shape) <= axis < len(shape):
        return 0
    axis %= len(shape)
    return prod((*shape[:axis], *shape[axis + 1 :])) * count


def _grown(op: str, given: Sequence[Array]) -> int:
    if op == "Range" and any(each.size != 1 for each in given):
        return MOST_FILLED
    first, second = given[:2]
    match op:
        case "Expand":
            return _broadcast_size([first.shape, _extents(second)])
        case "Tile":
            return first.size * prod(max(0, int(each)) for each in second.reshape(-1))
        case "MatMul":
            a, b = (each.shape if each.ndim > 1 else (1, *each.shape) for each in given[:2])
            b = (*second.shape, 1) if second.ndim < 2 else b
            return _broadcast_size([(1, *a[:-2]), (1, *b[:-2])]) * int(a[-2]) * int(b[-1])
        case "Pad":
            widths = [int(each) for each in second.reshape(2, -1).clip(0).sum(0)]
            if len(widths) != first.ndim:  # of axes that it names
                widths = [max(widths, default=0)] * first.ndim
            return prod(n + w for n, w in zip(first.shape, widths, strict=True))
    start, limit, delta = (float(each.reshape(-1)[0]) for each in given[:3])
    steps = abs((limit - start) / delta) if delta else float("inf")
    return int(steps) if steps < MOST_FILLED else MOST_FILLED


def _work(op: str, arrays: Sequence[Array | None]) -> int:
    """Products that a node takes, where these are more than its elements."""
    given = [each for each in arrays if each is not None]
    if op != "MatMul" or len(given) < 2 or not given[0].ndim:
        return 0
    return _grown(op, given) * int(given[0].shape[-1])
