"""Convolutions and pooling."""

from math import prod

from cnnc.onnx.builder import Builder
from cnnc.onnx.values import Flow, RefusedError
from cnnc.torch.call import Call, through
from cnnc.torch.registry import importer

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "convolution")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


@importer(*_CONVOLUTIONS, *_TRANSPOSED)
def conv(call: Call, build: Builder) -> Flow:
    """`convolution` is both, and says which; weights must be known."""
    weight = call.known("weight")
    assert weight is not None
    rank = weight.ndim - 2
    x = build.flow(call.value("input"))
    batched = x if x.rank != rank + 1 else build.reshape(x, (1, *x.shape))
    dilation = call.integers("dilation", rank, 1)
    attributes: dict[str, object] = {
        "strides": call.integers("stride", rank, 1),
        "dilations": dilation,
        "group": call.integer("groups", 1),
    }
    operands = (batched, call.value("weight"), call.optional("bias"))
    if call.op in _TRANSPOSED or call.arguments.get("transposed"):
        attributes["output_padding"] = call.integers("output_padding", rank)
        attributes["pads"] = call.integers("padding", rank) * 2
        made = through(build, "ConvTranspose", operands, **attributes)
    else:
        spans = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        attributes["pads"] = _pads(call, spans)
        made = through(build, "Conv", operands, **attributes)
    return made if batched is x else build.reshape(made, made.shape[1:])


def _pads(call: Call, spans: list[int]) -> list[int]:
    """Padding before and after; the words are those of `torch.nn.Conv2d`."""
    match call.arguments.get("padding"):
        case "valid":
            return [0] * (2 * len(spans))
        case "same":  # of an odd number, the larger half comes after
            return [*(n // 2 for n in spans), *(n - n // 2 for n in spans)]
    return call.integers("padding", len(spans)) * 2


_POOLS = ("max_pool1d", "max_pool2d", "max_pool3d")
_WITH_INDICES = ("max_pool2d_with_indices", "max_pool3d_with_indices")


@importer(*_POOLS, *_WITH_INDICES, "avg_pool1d", "avg_pool2d", "avg_pool3d")
def pool(call: Call, build: Builder) -> list[Flow]:
    """Indices of largest elements are refused."""
    call.only(1)
    x = build.flow(call.value("self"))
    rank = int(call.op[call.op.index("d") - 1])
    size = call.integers("kernel_size", rank)
    attributes: dict[str, object] = {
        "kernel_shape": size,
        "strides": call.integers("stride", rank) if call.arguments.get("stride") else size,
        "pads": call.integers("padding", rank) * 2,
        "ceil_mode": int(bool(call.arguments.get("ceil_mode"))),
    }
    if call.op.startswith("max"):
        attributes["dilations"] = call.integers("dilation", rank, 1)
        return [through(build, "MaxPool", [x], **attributes)]
    if call.arguments.get("divisor_override") is not None:
        raise RefusedError("it divides by another number than the elements of its window")
    attributes["count_include_pad"] = int(bool(call.arguments.get("count_include_pad", True)))
    return [through(build, "AveragePool", [x], **attributes)]


_ADAPTIVE = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
_INNER = ("_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
_LARGEST = ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")


@importer(*_ADAPTIVE, *_INNER, *_LARGEST)
def adaptive_pool(call: Call, build: Builder) -> list[Flow]:
    """One window, or windows side by side; extents that do not divide are refused."""
    call.only(1)
    x = build.flow(call.value("self"))
    rank = int(call.op[call.op.index("d", call.op.index("pool")) - 1])
    if x.rank != rank + 2:
        raise RefusedError("its operand has no batch")
    size = call.integers("output_size", rank)
    kind = "Max" if "max" in call.op else "Average"
    if prod(size) == 1:
        return [through(build, f"Global{kind}Pool", [x])]
    if any(m < 1 or n % m for n, m in zip(x.shape[2:], size, strict=True)):
        raise RefusedError(f"{list(x.shape[2:])} does not divide into {size} equal windows")
    window = [n // m for n, m in zip(x.shape[2:], size, strict=True)]
    if prod(window) == 1:
        return [x]
    return [through(build, f"{kind}Pool", [x], kernel_shape=window, strides=window)]
