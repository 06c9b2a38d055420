"""Quantised tensors by what they stand for: integers in f32, which holds them exactly.

int8 is i32 inside the net: it has the same numbers.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.onnx.builder import Builder
from cnnc.onnx.flat import Array
from cnnc.onnx.importers.windows import short, window
from cnnc.onnx.registry import importer
from cnnc.onnx.values import Call, Flow, Known, RefusedError, Value, axis_of
from cnnc.ops.attributes import Value as Attribute

_FITS: Mapping[object, DType] = {np.dtype(np.uint8): DType.U8, np.dtype(np.int8): DType.I32}
F32 = NDArray[np.float32]


@importer("QuantizeLinear")
def quantize(call: Call, build: Builder) -> Flow:
    """x / scale rounded, plus the zero point, kept in range."""
    x = build.flow(call.flow(0))
    zero = call.known(2, "zero point")
    kind = zero.dtype if zero is not None else _output_type(call)
    scale = _spread(call, build, call.needed(1, "scale"), x)
    offset = None if zero is None else _spread(call, build, zero, x)
    divided = build.stage("div", [x, Known(scale)], shape=x.shape)
    return _quantised(build, divided, offset, kind)


def _output_type(call: Call) -> np.dtype[np.generic]:
    from onnx import helper

    number = call.integer("output_dtype")
    return helper.tensor_dtype_to_np_dtype(number) if number else np.dtype(np.uint8)


@importer("DequantizeLinear")
def dequantize(call: Call, build: Builder) -> Flow:
    """(q - zero point) * scale."""
    q = build.flow(call.flow(0))
    if q.dtype not in (DType.U8, DType.I32):
        raise RefusedError(f"its operand is {q.dtype}")
    scale, zero = _spread(call, build, call.needed(1, "scale"), q), call.known(2, "zero point")
    x = build.cast(q, DType.F32)
    if zero is not None and zero.any():
        x = build.stage("sub", [x, Known(_spread(call, build, zero, q))], shape=q.shape)
    return build.stage("mul", [x, Known(scale)], shape=q.shape)


def _spread(call: Call, build: Builder, values: Array, x: Flow) -> F32:
    """A scale or zero point as f32 that broadcasts: one, or one for each place or block."""
    if values.dtype.kind not in "fiu" or values.dtype in (np.float16, np.float64):
        raise RefusedError(f"its scale is {values.dtype}")
    made = values.astype(np.float32)
    if made.ndim == 0 or made.shape == (1,):
        return made.reshape(())
    axis = axis_of(call.integer("axis", 1), x.rank)
    block = call.integer("block_size")
    if block:
        if made.ndim != x.rank or not 0 < block <= x.shape[axis]:
            raise RefusedError("its blocks do not fit")
        build.spend(made.size * block)
        made = np.repeat(made, block, axis)[(*(slice(None),) * axis, slice(x.shape[axis]))]
        if made.shape != x.shape:
            raise RefusedError("its blocks do not fit")
        return made
    if made.shape != (x.shape[axis],):
        raise RefusedError(f"its scale has shape {list(values.shape)}")
    return made.reshape(-1, *(1,) * (x.rank - axis - 1))


def _quantised(build: Builder, x: Flow, zero: F32 | None, kind: np.dtype[np.generic]) -> Flow:
    """Rounded, moved by the zero point, kept in the range of the type."""
    if kind not in _FITS:
        raise RefusedError(f"cnnc has no tensors of {kind}")
    limits = np.iinfo(np.uint8 if kind == np.uint8 else np.int8)
    made = build.stage("round", [x], shape=x.shape)
    if zero is not None and zero.any():
        made = build.stage("add", [made, Known(zero)], shape=x.shape)
    ends: dict[str, Attribute] = {"low": float(limits.min), "high": float(limits.max)}
    return build.cast(build.stage("clip", [made], ends, shape=x.shape), _FITS[kind])


@importer("QLinearConv")
def conv(call: Call, build: Builder) -> Flow:
    """A convolution of integers, exact while sums stay below 2^24, and rounded anew."""
    x = build.flow(call.flow(0))
    if x.dtype not in (DType.U8, DType.I32):
        raise RefusedError(f"its operand is {x.dtype}")
    names = ("scale", "zero point", "weight", "scale", "zero point", "scale", "zero point")
    (x_scale, x_zero, weight, w_scale, w_zero, y_scale, y_zero) = (
        call.needed(place, name) for place, name in enumerate(names, 1)
    )
    if weight.ndim < 3 or max(x_scale.size, x_zero.size, y_scale.size, y_zero.size) > 1:
        raise RefusedError("its weights are no kernel, or its operand has several scales")
    aligned = (-1, *(1,) * (weight.ndim - 1))
    wide = weight.astype(np.float32) - w_zero.astype(np.float32).reshape(aligned)
    held: Value = build.cast(x, DType.F32)
    if x_zero.any():
        held = build.stage("sub", [held, Known(x_zero.astype(np.float32).reshape(()))])
    bias, channels = call.known(8, "bias"), weight.shape[0]
    attributes: dict[str, Attribute] = {"channels": channels, "kernel": short(weight.shape[2:])}
    attributes |= window(call, weight.ndim - 2)
    attributes |= {} if call.integer("group", 1) == 1 else {"groups": call.integer("group", 1)}
    attributes |= {} if bias is not None else {"bias": False}
    parameters = {"weight": wide.astype(np.float32)}
    if bias is not None:
        parameters["bias"] = bias.astype(np.float32)
    total = build.stage("conv", [held], attributes, parameters)
    factor = x_scale.reshape(-1).astype(float) * w_scale.astype(float) / y_scale.reshape(-1)
    factor = factor.astype(np.float32).reshape(() if factor.size == 1 else aligned[:-1])
    scaled = build.stage("mul", [total, Known(factor)])
    return _quantised(build, scaled, y_zero.astype(np.float32).reshape(()), y_zero.dtype)
