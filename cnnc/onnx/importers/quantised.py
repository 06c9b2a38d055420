"""Quantised tensors by what they stand for: integers in f32, which holds them exactly.

int8 is i32 inside the net: it has the same numbers.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.onnx.builder import Builder, Operand
from cnnc.onnx.flat import Array
from cnnc.onnx.importers.moves import cut
from cnnc.onnx.importers.windows import short, window
from cnnc.onnx.registry import importer
from cnnc.onnx.values import Call, Flow, Known, RefusedError, Value, axis_of
from cnnc.ops.attributes import Value as Attribute

_FITS: Mapping[object, DType] = {np.dtype(np.uint8): DType.U8, np.dtype(np.int8): DType.I32}
F32 = NDArray[np.float32]
EXACT = 2**23
"""Below this f32 holds whole numbers exactly, and halves between them."""
DIGITS = 2**12
"""What sums are divided by where they are larger: quotients and rests are added up apart."""


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
    """A convolution of integers, whose sums are exact, rounded anew."""
    x = build.flow(call.flow(0))
    if x.dtype not in (DType.U8, DType.I32):
        raise RefusedError(f"its operand is {x.dtype}")
    names = ("scale", "zero point", "weight", "scale", "zero point", "scale", "zero point")
    (x_scale, x_zero, weight, w_scale, w_zero, y_scale, y_zero) = (
        call.needed(place, name) for place, name in enumerate(names, 1)
    )
    if weight.ndim < 3 or max(x_scale.size, x_zero.size, y_scale.size, y_zero.size) > 1:
        raise RefusedError("its weights are no kernel, or its operand has several scales")
    if {each.dtype for each in (x_scale, w_scale, y_scale)} != {np.dtype(np.float32)}:
        raise RefusedError("a scale is no float32")
    aligned = (-1, *(1,) * (weight.ndim - 1))
    wide = weight.astype(np.float32) - w_zero.astype(np.float32).reshape(aligned)
    held: Value = build.cast(x, DType.F32)
    if x_zero.any():
        held = build.stage("sub", [held, Known(x_zero.astype(np.float32).reshape(()))])
    kind = np.iinfo(np.uint8 if x.dtype is DType.U8 else np.int8)
    zero = int(x_zero.reshape(-1)[0])
    reach = max(kind.max - zero, zero - kind.min)
    total = _sums(
        call, build, build.flow(held), (wide.astype(np.float32), call.known(8, "bias")), reach
    )
    one, each, other = (part.reshape(-1).astype(np.float32) for part in (x_scale, w_scale, y_scale))
    factor = one * each / other
    factor = factor.reshape(() if factor.size == 1 else aligned[:-1])
    scaled = build.stage("mul", [total, Known(factor)])
    return _quantised(build, scaled, y_zero.astype(np.float32).reshape(()), y_zero.dtype)


def _sums(call: Call, build: Builder, x: Flow, layer: tuple[F32, Array | None], reach: int) -> Flow:
    """The sums, exact and then rounded to f32 once, as integers of 32 bits would be.

    Elements of `x` are at most `reach`. Where sums could leave what f32 holds exactly, they are
    made of several, each of some channels; upper and lower digits are added up apart.
    """
    weight, bias = layer
    offset = np.zeros(weight.shape[0], np.int64) if bias is None else bias.astype(np.int64)
    if offset.shape != weight.shape[:1]:
        raise RefusedError(f"its bias has shape {list(offset.shape)}")
    each = reach * np.abs(weight.astype(np.int64)).reshape(*weight.shape[:2], -1).sum(2)
    if (each.sum(1) + np.abs(offset)).max() >= 2**31:
        raise RefusedError("its sums may not fit into 32 bits")
    if (each.sum(1) + np.abs(offset)).max() < EXACT:
        return _convolved(call, build, x, weight, None if bias is None else offset)
    high, low = np.divmod(offset, DIGITS)
    aligned = (-1, *(1,) * (weight.ndim - 2))
    highs: list[Operand] = [Known(high.astype(np.float32).reshape(aligned))]
    lows: list[Operand] = [Known(low.astype(np.float32).reshape(aligned))]
    for begin, end in _parts(each):
        if call.integer("group", 1) == 1:
            part = _convolved(call, build, cut(build, x, 1, begin, end), weight[:, begin:end], None)
        else:
            own = np.zeros_like(weight)
            own[:, begin:end] = weight[:, begin:end]
            part = _convolved(call, build, x, own, None)
        upper = build.stage("round", [build.stage("mul", [part, 1 / DIGITS])])
        highs.append(upper)
        lows.append(build.stage("sub", [part, build.stage("mul", [upper, float(DIGITS)])]))
    upper = build.stage("mul", [build.stage("add", highs), float(DIGITS)])
    return build.stage("add", [upper, build.stage("add", lows)])


def _parts(each: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Ranges of channels whose sums are exact; [results, channels] says how large they may be."""
    if each.max() >= EXACT:
        raise RefusedError(f"the sums of one channel may reach {each.max()}")
    starts, total = [0], np.zeros(len(each), np.int64)
    for channel in range(each.shape[1]):
        total = total + each[:, channel]
        if total.max() >= EXACT:
            starts.append(channel)
            total = each[:, channel]
    return list(pairwise([*starts, each.shape[1]]))


def _convolved(
    call: Call, build: Builder, x: Flow, weight: F32, bias: NDArray[np.int64] | None
) -> Flow:
    """Whole numbers: Winograd's algorithm may miss them by a little."""
    attributes: dict[str, Attribute] = {"channels": weight.shape[0]}
    attributes |= {"kernel": short(weight.shape[2:]), **window(call, weight.ndim - 2)}
    attributes |= {} if call.integer("group", 1) == 1 else {"groups": call.integer("group", 1)}
    parameters: dict[str, Array] = {"weight": weight}
    if bias is None:
        attributes["bias"] = False
    else:
        parameters["bias"] = bias.astype(np.float32)
    return build.stage("round", [build.stage("conv", [x], attributes, parameters)])
