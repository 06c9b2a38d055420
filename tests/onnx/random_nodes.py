"""Nodes of the operators that cnnc takes, with random attributes."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from tests.onnx.random_net import Net

Maker = Callable[[Net], list[str] | None]
"""Adds nodes and gives the names of their results; None where the operator does not fit."""


def conv(net: Net) -> list[str] | None:
    """Conv, with padding of all kinds."""
    if net.rank not in (3, 4):
        return None
    spatial = net.rank - 2
    groups = net.pick([g for g in (1, 1, 2, net.shape[1]) if net.shape[1] % g == 0])
    channels = groups * net.some(1, 4, 1)[0]
    kernel = net.some(1, 3, spatial)
    attributes = window(net, kernel)
    operands = [net.x, net.floats(channels, net.shape[1] // groups, *kernel)]
    operands += [net.floats(channels)] if net.flip() else []
    return net.node("Conv", operands, group=groups, **attributes)


def window(net: Net, kernel: Sequence[int], pool: bool = False) -> dict[str, Any]:
    """Attributes of a window."""
    spatial = len(kernel)
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    if net.flip():
        attributes["strides"] = net.some(1, 3, spatial)
    if net.flip(0.3) and not pool:
        attributes["dilations"] = net.some(1, 2, spatial)
    if net.flip():
        limit = min(kernel) - 1 if pool else 2
        attributes["pads"] = net.some(0, max(0, limit), 2 * spatial)
    elif net.flip(0.4):
        attributes["auto_pad"] = net.pick(["SAME_UPPER", "SAME_LOWER", "VALID"])
    return attributes


def conv_transpose(net: Net) -> list[str] | None:
    """ConvTranspose."""
    if net.rank not in (3, 4) or prod(net.shape) > 2000:
        return None
    spatial = net.rank - 2
    kernel = net.some(1, 3, spatial)
    strides = net.some(1, 2, spatial)
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    if net.flip():
        attributes["pads"] = net.some(0, 1, 2 * spatial)
    if net.flip(0.3):
        attributes["output_padding"] = [stride - 1 for stride in strides]
    weight = net.floats(net.shape[1], net.some(1, 3, 1)[0], *kernel)
    return net.node("ConvTranspose", [net.x, weight], **attributes)


def pool(net: Net) -> list[str] | None:
    """Pooling."""
    if net.rank not in (3, 4):
        return None
    op = net.pick(["MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool"])
    if op.startswith("Global"):
        return net.node(op, [net.x])
    kernel = net.some(1, 3, net.rank - 2)
    attributes = window(net, kernel, pool=True)
    if op == "AveragePool" and net.flip() and "auto_pad" not in attributes:
        attributes["count_include_pad"] = 1
    if op != "LpPool" and net.opset >= 10 and net.flip(0.3) and "auto_pad" not in attributes:
        attributes["ceil_mode"] = 1
    return net.node(op, [net.x], **attributes)


def norm(net: Net) -> list[str] | None:
    """Normalisation."""
    if net.rank < 3 or prod(net.shape[2:]) < 2:
        return None
    c = net.shape[1]
    op = net.pick(["BatchNormalization", "InstanceNormalization", "LRN"])
    if op == "LRN":
        return net.node(op, [net.x], size=net.pick([1, 3, 5])) if net.rank == 4 else None
    operands = [net.x, net.floats(c), net.floats(c)]
    if op == "BatchNormalization":
        operands += [net.floats(c), net.constant(net.rng.uniform(0.5, 2, c).astype(net.kind))]
    return net.node(op, operands, epsilon=net.pick([1e-5, 1e-3]))


def layer_norm(net: Net) -> list[str] | None:
    """LayerNormalization."""
    if net.opset < 17 or prod(net.shape[-1:]) < 2:
        return None
    axis = net.pick([*range(1, net.rank)] or [0])
    shape = net.shape[axis:]
    return net.node(
        "LayerNormalization", [net.x, net.floats(*shape), net.floats(*shape)], axis=axis
    )


def activation(net: Net) -> list[str] | None:
    """Functions of one tensor."""
    since = {"HardSwish": 14, "Celu": 12, "Mish": 18, "Gelu": 20, "Round": 11}
    op = net.pick(
        ["Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Abs", "Neg", "Floor", "Ceil", "Elu",
         "Selu", "LeakyRelu", "HardSigmoid", "Identity", "Exp", *since]
    )  # fmt: skip
    return net.node(op, [net.x]) if since.get(op, 0) <= net.opset else None


def prelu(net: Net) -> list[str] | None:
    """PRelu with slopes of some shape."""
    shape = net.pick([(1,), net.shape[1:2] + (1,) * (net.rank - 2), net.shape[1:]])
    return net.node("PRelu", [net.x, net.floats(*shape)])


def clip(net: Net) -> list[str] | None:
    """Clip, whose limits were attributes."""
    if net.opset < 11:
        return net.node("Clip", [net.x], min=-0.5, max=net.pick([0.5, 6.0]))
    low = net.constant(net.kind(-0.5)) if net.flip(0.7) else ""
    high = [net.constant(net.kind(net.pick([0.25, 6.0])))] if net.flip(0.7) else []
    return net.node("Clip", [net.x, low, *high])


def arithmetic(net: Net) -> list[str] | None:
    """Two operands: another value, or a known one that broadcasts."""
    op = net.pick(["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow"])
    if op in ("Max", "Min", "Sum", "Mean") and net.opset < 8:
        return None
    same = [name for name, shape in net.values.items() if shape == net.shape]
    if net.flip() and op != "Pow":
        other = net.pick(same)
    else:
        kept = [n if net.flip() else 1 for n in net.shape]
        other = net.floats(*kept[net.some(0, net.rank, 1)[0] :])
    if op == "Pow":  # of what is not negative: ONNX Runtime passes NaN by in MaxPool and ArgMax
        return net.node(op, [*net.node("Abs", [net.x]), other])
    return net.node(op, [net.x, other] if net.flip() else [other, net.x])


def choose(net: Net) -> list[str] | None:
    """A comparison and a choice by it."""
    since = {"Greater": 9, "Less": 9, "GreaterOrEqual": 12, "LessOrEqual": 12, "Equal": 11}
    op = net.pick([*since])
    if net.opset < since[op]:
        return None
    (holds,) = net.node(op, [net.x, net.constant(net.kind(0.25))])
    if net.flip(0.3):
        (holds,) = net.node("Not", [holds])
    if net.flip(0.3):
        return net.node("Cast", [holds], to=net.number)
    return net.node("Where", [holds, net.x, net.floats(1)])


def softmax(net: Net) -> list[str] | None:
    """Softmax along some axis, or from it on."""
    axis = net.some(0 if net.opset < 11 else -net.rank, net.rank - 1, 1)[0]
    return net.node(net.pick(["Softmax", "LogSoftmax"]), [net.x], axis=axis)


def matrix(net: Net) -> list[str] | None:
    """Gemm or MatMul."""
    n, many = net.shape[-1], net.some(1, 6, 1)[0]
    if net.rank == 2 and net.flip():
        is_turned = net.flip()
        operands = [net.x, net.floats(many, n) if is_turned else net.floats(n, many)]
        if net.opset >= 11 and net.flip(0.3):
            operands = operands[:2]
        else:
            operands.append(net.pick([net.floats(many), net.floats(1, many), net.floats(1)]))
        return net.node("Gemm", operands, transB=int(is_turned), alpha=net.pick([1.0, 0.5]))
    return net.node("MatMul", [net.x, net.floats(n, many)])


def reshape(net: Net) -> list[str] | None:
    """Reshape to a list, or to what Shape and its friends make."""
    shape = net.shape
    if net.flip(0.3) and net.rank > 1:
        return net.node("Flatten", [net.x], axis=net.some(0, net.rank, 1)[0])
    if net.flip(0.3):
        (found,) = net.node("Shape", [net.x])
        (first,) = net.node("Gather", [found, net.constant(np.int64(0))], axis=0)
        if net.opset < 13:
            (first,) = net.node("Unsqueeze", [first], axes=[0])
        else:
            (first,) = net.node("Unsqueeze", [first, net.ints([0])])
        (wanted,) = net.node("Concat", [first, net.ints([-1])], axis=0)
        return net.node("Reshape", [net.x, wanted])
    order = [int(each) for each in net.rng.permutation(shape)]
    place = net.some(0, len(order) - 1, 1)[0]
    order[place] = -1
    return net.node("Reshape", [net.x, net.ints(order)])


def squeeze(net: Net) -> list[str] | None:
    """Unsqueeze or Squeeze."""
    ones = [axis for axis, n in enumerate(net.shape) if n == 1]
    if ones and net.flip() and net.rank > 1:
        op, axes = "Squeeze", [net.pick(ones)]
    elif net.rank < 5:
        op, axes = "Unsqueeze", [net.some(0, net.rank, 1)[0]]
    else:
        return None
    if net.opset < 13:
        return net.node(op, [net.x], axes=axes)
    return net.node(op, [net.x, net.ints(axes)])


def transpose(net: Net) -> list[str] | None:
    """Axes in another order."""
    return net.node("Transpose", [net.x], perm=[int(n) for n in net.rng.permutation(net.rank)])


def pad(net: Net) -> list[str] | None:
    """Pad, or crop."""
    mode = net.pick(["constant", "edge", "reflect"])
    low = 0 if mode != "constant" or min(net.shape) < 3 else -1
    most = [2 if mode != "reflect" else min(2, n - 1) for n in net.shape]
    pads = [int(net.rng.integers(low, high, endpoint=True)) for high in most + most]
    if net.opset < 11:
        return net.node("Pad", [net.x], pads=pads, mode=mode, value=0.5)
    return net.node("Pad", [net.x, net.ints(pads), net.constant(net.kind(0.5))], mode=mode)


def cut(net: Net) -> list[str] | None:
    """Slice."""
    axis = net.some(0, net.rank - 1, 1)[0]
    n = net.shape[axis]
    start = net.some(0, n - 1, 1)[0]
    if net.opset < 10:
        return net.node("Slice", [net.x], starts=[start], ends=[net.pick([n, 2**31])], axes=[axis])
    step = net.pick([1, 1, 2, -1])
    end = net.pick([n, 2**40, n + 3]) if step > 0 else -(2**40)
    lists = [net.ints([each]) for each in (start, end, axis, step)]
    return net.node("Slice", [net.x, *lists])


def split(net: Net) -> list[str] | None:
    """Split, and one of its parts, or all joined again."""
    axis = net.some(0, net.rank - 1, 1)[0]
    n = net.shape[axis]
    if n < 2:
        return None
    first = net.some(1, n - 1, 1)[0]
    parts = [first, n - first]
    if net.opset < 13:
        names = net.node("Split", [net.x], 2, axis=axis, split=parts)
    else:
        names = net.node("Split", [net.x, net.ints(parts)], 2, axis=axis)
    return net.node("Concat", names[::-1], axis=axis) if net.flip() else names


def spread(net: Net) -> list[str] | None:
    """Expand or Tile."""
    if prod(net.shape) > 2000:
        return None
    if net.flip() or net.opset < 8:
        return net.node("Tile", [net.x, net.ints(net.some(1, 2, net.rank))])
    shape = [n if n > 1 else net.some(1, 3, 1)[0] for n in net.shape]
    return net.node("Expand", [net.x, net.ints(shape)])


def gather(net: Net) -> list[str] | None:
    """Gather of known indices."""
    axis = net.some(0, net.rank - 1, 1)[0]
    low = -net.shape[axis] if net.opset >= 11 else 0
    places = net.some(low, net.shape[axis] - 1, net.some(1, 4, 1)[0])
    return net.node("Gather", [net.x, net.ints(places)], axis=axis)


def reduce(net: Net) -> list[str] | None:
    """Reductions."""
    op = net.pick(["Mean", "Sum", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp", "Prod"])
    axes = sorted({int(each) for each in net.rng.integers(0, net.rank, 2)})
    keep = int(net.flip())
    if net.opset < (13 if op == "Sum" else 18):
        return net.node(f"Reduce{op}", [net.x], axes=axes, keepdims=keep)
    return net.node(f"Reduce{op}", [net.x, net.ints(axes)], keepdims=keep)


def arg(net: Net) -> list[str] | None:
    """ArgMax or ArgMin, as floating point; what is interpolated has equals but for roundings."""
    if any(net.x in each.output for each in net.nodes if each.op_type in ("Resize", "Upsample")):
        return None
    more = {"select_last_index": 1} if net.opset >= 12 and net.flip() else {}
    axis = net.some(0, net.rank - 1, 1)[0]
    op = net.pick(["ArgMax", "ArgMin"])
    (found,) = net.node(op, [net.x], axis=axis, keepdims=int(net.flip()), **more)
    return net.node("Cast", [found], to=net.number)


def blocks(net: Net) -> list[str] | None:
    """DepthToSpace or SpaceToDepth."""
    if net.rank != 4:
        return None
    if net.shape[1] % 4 == 0:
        more = {"mode": net.pick(["DCR", "CRD"])} if net.opset >= 11 else {}
        return net.node("DepthToSpace", [net.x], blocksize=2, **more)
    if net.shape[2] % 2 == 0 and net.shape[3] % 2 == 0:
        return net.node("SpaceToDepth", [net.x], blocksize=2)
    return None


def resize(net: Net) -> list[str] | None:
    """Upsample up to opset 9, Resize after that."""
    if net.rank != 4 or prod(net.shape) > 2000:
        return None
    old = net.opset < 11
    mode = net.pick(["nearest", "linear"] if old else ["nearest", "linear", "cubic"])
    choices = [1.0, 2.0, 3.0] if net.opset < 10 else [0.5, 0.6, 1.0, 1.5, 2.0, 2.3]
    scales = [1.0, 1.0, *(net.pick(choices) for _ in range(2))]
    if net.opset < 9:
        return net.node("Upsample", [net.x], scales=scales, mode=mode)
    given = net.constant(np.array(scales, np.float32))
    if old:
        return net.node("Upsample" if net.opset < 10 else "Resize", [net.x, given], mode=mode)
    kinds = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    more: dict[str, Any] = {}
    roi = ""
    if net.flip(0.2):
        kinds = ["tf_crop_and_resize"]
        cut = [0.0, 0.0, *net.rng.uniform(0, 0.4, 2), 1.0, 1.0, *net.rng.uniform(0.6, 1.2, 2)]
        roi = net.constant(np.array(cut, np.float32))
    more["coordinate_transformation_mode"] = net.pick(kinds)
    if mode == "nearest":
        roundings = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        more["nearest_mode"] = net.pick(roundings)
    if mode == "cubic" and net.flip():
        more["cubic_coeff_a"] = -0.5
    is_whole = all(float(n * s).is_integer() for n, s in zip(net.shape, scales, strict=True))
    if net.flip(0.3) or (
        more["coordinate_transformation_mode"] == "align_corners" and not is_whole
    ):
        # else ONNX's reference, which cnnc follows, and ONNX Runtime disagree
        sizes = net.ints([*net.shape[:2], *net.some(1, 9, 2)])
        return net.node("Resize", [net.x, roi, "", sizes], mode=mode, **more)
    if net.opset >= 18 and not roi and net.flip():
        given = net.constant(np.array(scales[2:], np.float32))
        more["axes"] = [2, 3]
    return net.node("Resize", [net.x, roi, given], mode=mode, **more)


def quantised(net: Net) -> list[str] | None:
    """QLinearConv between QuantizeLinear and DequantizeLinear, of few channels or very many.

    Weights have 7 bits: some of ONNX Runtime's kernels add two products in 16 bits.
    """
    if net.opset < 10 or net.rank != 4:
        return None
    wide = net.x
    repeats = min(300, 20_000 // prod(net.shape)) if net.flip() else 1
    if repeats > 1:
        (wide,) = net.node("Tile", [net.x, net.ints([1, repeats, 1, 1])])
    channels = repeats * net.shape[1]
    scale, result = np.float32(net.rng.uniform(0.01, 0.05)), net.some(1, 3, 1)[0]
    weight = net.rng.integers(-63, 64, (result, channels, *net.some(1, 3, 2))).astype(np.int8)
    x_scale, x_zero = net.constant(scale), net.constant(np.uint8(net.some(0, 255, 1)[0]))
    (held,) = net.node("QuantizeLinear", [wide, x_scale, x_zero])
    factors = net.rng.uniform(0.001, 0.01, result if net.flip() else 1).astype(np.float32)
    size = scale * factors.mean() * np.sqrt(weight[0].size) * 30
    y_scale = net.constant(np.float32(size))
    y_zero = net.constant(np.uint8(net.some(0, 255, 1)[0]))
    operands = [held, x_scale, x_zero, net.constant(weight)]
    operands += [net.constant(factors if factors.size > 1 else factors[0])]
    operands += [net.constant(np.zeros(factors.size if factors.size > 1 else (), np.int8))]
    operands += [y_scale, y_zero]
    if net.flip():
        operands.append(net.constant(net.rng.integers(-1000, 1000, result).astype(np.int32)))
    made = net.node("QLinearConv", operands, pads=net.some(0, 1, 4))
    return net.node("DequantizeLinear", [*made, y_scale, y_zero])


MAKERS: tuple[Maker, ...] = (
    conv, conv, conv_transpose, pool, norm, layer_norm, activation, activation, prelu, clip,
    arithmetic, arithmetic, choose, softmax, matrix, reshape, squeeze, transpose, pad, cut, split,
    spread, gather, reduce, arg, blocks, resize, resize, quantised,
)  # fmt: skip
