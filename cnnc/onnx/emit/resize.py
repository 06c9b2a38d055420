"""Resizing: as ONNX has it where runtimes find the same elements, otherwise axis by axis."""

from collections.abc import Sequence
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from cnnc.ir.graph import Node
from cnnc.onnx.emit.writer import Attribute, Writer, constant_of, emit, operand_type
from cnnc.ops.movement.resize import Resize
from cnnc.ops.movement.sampling import Sampling

Single = NDArray[np.float32]


@emit.register
def _resize(op: Resize, node: Node, inputs: Sequence[str], writer: Writer) -> str:
    x = operand_type(node)
    samplings = op.samplings(x)
    if not _is_alike(op, samplings, x.dtype.is_float):
        return _composed(node, samplings, inputs[0], writer)
    spatial = [2 + axis for axis in range(len(samplings))]
    more: dict[str, Attribute] = {"coordinate_transformation_mode": op.coordinates}
    if op.scale:
        scale = op.scale * (len(spatial) if len(op.scale) == 1 else 1)
        new = ["", writer.constant(np.array(scale), np.float32)]
    else:
        new = ["", "", writer.integers(node.type.spatial)]
    if op.mode == "nearest":
        more["nearest_mode"] = op.rounding
    if op.mode == "cubic":
        more |= {"cubic_coeff_a": op.coefficient, "exclude_outside": int(op.exclude_outside)}
    return writer.add("Resize", inputs[0], *new, mode=op.mode, axes=spatial, **more)


def _composed(node: Node, samplings: Sequence[Sampling], x: str, writer: Writer) -> str:
    """Elements picked by number, or a product with the matrix of weights, along each axis."""
    mixed = 0
    for axis, each in enumerate(samplings, start=2):
        if each.mixes:
            mixed += 1
            x = _mixed(each, constant_of(node, mixed), axis, node.type.rank, x, writer)
        elif each.line.is_identity:
            continue
        else:
            x = writer.add("Gather", x, writer.integers(each.sources(0).tolist()), axis=axis)
    return x


def _mixed(
    each: Sampling, weights: NDArray[np.generic], axis: int, rank: int, x: str, writer: Writer
) -> str:
    """A matrix [extent, out] behind the operand whose axis is its last one."""
    matrix = np.zeros((each.extent, each.out))
    for number, tap in enumerate(each.taps):
        np.add.at(matrix, (each.sources(tap), np.arange(each.out)), weights[:, number])
    order = [*range(rank)]
    order[axis], order[-1] = order[-1], order[axis]
    turned = x if axis == rank - 1 else writer.add("Transpose", x, perm=order)
    y = writer.add("MatMul", turned, writer.constant(matrix))
    return y if axis == rank - 1 else writer.add("Transpose", y, perm=order)


def _is_alike(op: Resize, samplings: Sequence[Sampling], is_float: bool) -> bool:
    """Whether ONNX Runtime takes the operand and reads the same elements.

    It computes positions in f32, copies an axis of the same extent whatever the scale, and resizes
    with cubic kernels the last two of four axes only.
    """
    rank = len(samplings)
    if op.mode != "nearest":
        moved = (each.out == each.extent and not each.line.is_identity for each in samplings)
        return rank == 2 and not any(moved) and is_float
    return all(
        np.array_equal(_nearest(op, axis, each), each.sources(0))
        for axis, each in enumerate(samplings)
    )


def _nearest(op: Resize, axis: int, each: Sampling) -> NDArray[np.int64]:
    """The elements that are found in f32."""
    if each.extent == each.out:
        return np.arange(each.out)
    given = op.scale[min(axis, len(op.scale) - 1)] if op.scale else each.out / each.extent
    scale, half = np.float32(given), np.float32(0.5)
    o: Single = np.arange(each.out, dtype=np.float32)
    match op.coordinates:
        case "asymmetric":
            x = o / scale
        case "align_corners":
            x = o * np.float32(each.extent - 1) / np.float32(max(1, each.out - 1))
        case "pytorch_half_pixel" if each.out == 1:
            x = np.zeros_like(o)
        case _:
            x = (o + half) / scale - half
    match op.rounding:
        case "floor":
            places = [floor(value) for value in x]
        case "ceil":
            places = [ceil(value) for value in x]
        case "round_prefer_ceil":
            places = [floor(value + half) for value in x]
        case _:
            places = [ceil(value - half) for value in x]
    found: NDArray[np.int64] = np.clip(np.array(places), 0, each.extent - 1)
    return found
