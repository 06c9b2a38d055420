"""Operators that move elements, and reductions."""

from collections.abc import Sequence

import numpy as np

from cnnc.ir.graph import Node
from cnnc.ops.axes import resolve_axes
from cnnc.ops.concat import Concat
from cnnc.ops.flatten import Flatten
from cnnc.ops.movement.pad import Pad
from cnnc.ops.movement.resize import Resize
from cnnc.ops.movement.slice import Slice
from cnnc.ops.movement.transpose import Transpose
from cnnc.ops.reductions.reduce import Reduce
from cnnc.ops.reshape import Reshape
from peers.to_onnx.writer import Attribute, Writer, emit, operand_type
from peers.unsupported import UnsupportedError


@emit.register
def _concat(op: Concat, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Concat", *inputs, axis=op.axis)


@emit.register
def _flatten(op: Flatten, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Flatten", inputs[0], axis=1)


@emit.register
def _reshape(op: Reshape, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Reshape", inputs[0], writer.integers(node.type.shape))


@emit.register
def _transpose(op: Transpose, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Transpose", inputs[0], perm=op.order)


@emit.register
def _slice(op: Slice, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    shape = operand_type(node).shape
    taken = {
        axis: places
        for axis, places in enumerate(op.positions(shape))
        if places != range(shape[axis])
    }
    if not taken:
        return inputs[0]
    begins = [places[0] for places in taken.values()]
    # A negative end counts from the back: before the first element stands a very negative one.
    ends = [
        places[-1] + 1 if places.step > 0 else places[-1] - 1 if places[-1] else -(2**31)
        for places in taken.values()
    ]
    steps = [places.step for places in taken.values()]
    return writer.add("Slice", inputs[0], *map(writer.integers, (begins, ends, [*taken], steps)))


@emit.register
def _pad(op: Pad, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    ends = ((0, 0), (0, 0), *op.ends(operand_type(node)))
    pads = writer.integers([each[side] for side in (0, 1) for each in ends])
    value: list[str] = []
    if op.mode.name == "constant":
        value = [writer.constant(op.mode.value, node.type.dtype.numpy.type)]
    return writer.add("Pad", inputs[0], pads, *value, mode=op.mode.name)


@emit.register
def _resize(op: Resize, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    x = operand_type(node)
    if op.mode == "cubic" and len(x.spatial) != 2:
        raise UnsupportedError(f"`{node.name}`: runtimes take cubic resizing of images only")
    if op.scale:
        spatial = op.scale * (len(x.spatial) if len(op.scale) == 1 else 1)
        new = ["", writer.constant(np.array([1.0, 1.0, *spatial]))]
    else:
        new = ["", "", writer.integers(node.type.shape)]
    more: dict[str, Attribute] = {"coordinate_transformation_mode": op.coordinates}
    if op.mode == "nearest":
        more["nearest_mode"] = op.rounding
    if op.mode == "cubic":
        more |= {"cubic_coeff_a": op.coefficient, "exclude_outside": int(op.exclude_outside)}
    return writer.add("Resize", inputs[0], *new, mode=op.mode, **more)


@emit.register
def _reduce(op: Reduce, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    axes = resolve_axes(op.axes, operand_type(node).rank)
    kind = {"l1": "L1", "l2": "L2"}.get(op.kind.name, op.kind.name.capitalize())
    return writer.add(f"Reduce{kind}", inputs[0], writer.integers(axes), keepdims=int(op.keep))
