"""Operators that move elements, and reductions."""

from collections.abc import Sequence

from cnnc.ir.graph import Node
from cnnc.onnx.emit.writer import Writer, emit, operand_type
from cnnc.ops.concat import Concat
from cnnc.ops.flatten import Flatten
from cnnc.ops.movement.blocks import block_extents, pair_axes, split_channels
from cnnc.ops.movement.depth_to_space import DepthToSpace
from cnnc.ops.movement.pad import Pad
from cnnc.ops.movement.slice import Slice
from cnnc.ops.movement.space_to_depth import SpaceToDepth
from cnnc.ops.movement.transpose import Transpose
from cnnc.ops.reshape import Reshape


@emit.register
def _concat(op: Concat, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Concat", *inputs, axis=op.axis)


@emit.register
def _flatten(op: Flatten, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.add("Flatten", inputs[0], axis=1)


@emit.register
def _reshape(op: Reshape, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    return writer.reshape(inputs[0], node.type.shape)


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
def _depth_to_space(op: DepthToSpace, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    x = operand_type(node)
    block = block_extents(x, op.block, op.name)
    if len({*block}) == 1 and x.rank == 4 and x.dtype.is_float:
        mode = op.mode.upper()
        return writer.add("DepthToSpace", inputs[0], blocksize=block[0], mode=mode)
    parts, channel, within = split_channels(op.mode, node.type.channels, block)
    first = 1 + len(parts)
    positions = pair_axes(range(first, first + len(block)), [1 + axis for axis in within])
    split = writer.reshape(inputs[0], (x.shape[0], *parts, *x.spatial))
    turned = writer.add("Transpose", split, perm=[0, 1 + channel, *positions])
    return writer.reshape(turned, node.type.shape)


@emit.register
def _space_to_depth(op: SpaceToDepth, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    x = operand_type(node)
    block = block_extents(x, op.block, op.name)
    if len({*block}) == 1 and x.rank == 4 and x.dtype.is_float and op.mode == "dcr":
        return writer.add("SpaceToDepth", inputs[0], blocksize=block[0])
    pairs = [part for e, b in zip(x.spatial, block, strict=True) for part in (e // b, b)]
    outer, inner = range(2, 2 + len(pairs), 2), range(3, 3 + len(pairs), 2)
    order = (*inner, 1) if op.mode == "dcr" else (1, *inner)
    split = writer.reshape(inputs[0], (*x.shape[:2], *pairs))
    turned = writer.add("Transpose", split, perm=[0, *order, *outer])
    return writer.reshape(turned, node.type.shape)
