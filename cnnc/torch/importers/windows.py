"""Convolutions and pooling."""

from collections.abc import Sequence
from math import prod

from cnnc.base.record import record
from cnnc.onnx.builder import Builder
from cnnc.onnx.importers.moves import MOST_PIECES, cut, join
from cnnc.onnx.values import Flow, RefusedError, shortest
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
    rank = int(call.op[call.op.index("d") - 1])
    x, size = _batched(call, build, rank), call.integers("kernel_size", rank)
    attributes: dict[str, object] = {
        "kernel_shape": size,
        "strides": call.integers("stride", rank) if call.arguments.get("stride") else size,
        "pads": call.integers("padding", rank) * 2,
        "ceil_mode": int(bool(call.arguments.get("ceil_mode"))),
    }
    if call.op.startswith("max"):
        attributes["dilations"] = call.integers("dilation", rank, 1)
        return [build.reshape(through(build, "MaxPool", [x], **attributes), call.shape)]
    divisor = call.arguments.get("divisor_override")
    attributes["count_include_pad"] = int(bool(call.arguments.get("count_include_pad", True)))
    if divisor is None:
        return [build.reshape(through(build, "AveragePool", [x], **attributes), call.shape)]
    if attributes["ceil_mode"]:
        raise RefusedError("it divides by another number than the elements of its window")
    attributes["count_include_pad"] = 1
    made = through(build, "AveragePool", [x], **attributes)
    made = build.stage("mul", [made, shortest(prod(size) / divisor)])
    return [build.reshape(made, call.shape)]


def _batched(call: Call, build: Builder, rank: int) -> Flow:
    """The operand, with one sample where it has no batch."""
    x = build.flow(call.value("self"))
    return build.reshape(x, (1, *x.shape)) if x.rank == rank + 1 else x


_ADAPTIVE = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
_INNER = ("_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
_LARGEST = ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")


@importer(*_ADAPTIVE, *_INNER, *_LARGEST)
def adaptive_pool(call: Call, build: Builder) -> list[Flow]:
    """The i-th of m windows is from ⌊i n / m⌋ up to ⌈(i + 1) n / m⌉."""
    call.only(1)
    rank = int(call.op[call.op.index("d", call.op.index("pool")) - 1])
    x, size = _batched(call, build, rank), call.shape[-rank:]
    kind = "Max" if "max" in call.op else "Average"
    if prod(size) == 1:
        return [build.reshape(through(build, f"Global{kind}Pool", [x]), call.shape)]
    runs = [window_runs(n, m) for n, m in zip(x.shape[2:], size, strict=True)]
    if all(len(each) == 1 for each in runs):
        window, strides = [run[0].size for run in runs], [run[0].stride for run in runs]
        x = _pooled(build, kind, x, window, strides)
    else:  # windows are products of intervals: one axis after the other
        for axis, parts in enumerate(runs):
            x = _along_axis(build, kind, x, axis, parts)
    return [build.reshape(x, call.shape)]


@record
class Run:
    """Windows of one size and at one distance, the first of which begins at `start`."""

    start: int
    size: int
    stride: int
    count: int

    @property
    def end(self) -> int:
        """Where the last of them ends."""
        return self.start + (self.count - 1) * self.stride + self.size


def window_runs(extent: int, count: int) -> list[Run]:
    """The windows of an adaptive pool along one axis, in as few runs as there are."""
    if count < 1:
        raise RefusedError("its result has no elements")
    starts = [n * extent // count for n in range(count)]
    sizes = [-(-(n + 1) * extent // count) - start for n, start in enumerate(starts)]
    runs: list[Run] = []
    for start, size in zip(starts, sizes, strict=True):
        last = runs[-1] if runs else None
        step = start - (last.start + (last.count - 1) * last.stride) if last else 0
        if last and last.size == size and step > 0 and (last.count == 1 or step == last.stride):
            runs[-1] = Run(last.start, size, step, last.count + 1)
        else:
            runs.append(Run(start, size, 1, 1))
    if len(runs) > MOST_PIECES:
        raise RefusedError(f"its windows fall into more than {MOST_PIECES} runs")
    return runs


def _along_axis(build: Builder, kind: str, x: Flow, axis: int, runs: Sequence[Run]) -> Flow:
    """Pools that are one wide along the other axes, one after the other."""
    rank = x.rank - 2
    parts = []
    for run in runs:
        window, strides = [1] * rank, [1] * rank
        window[axis], strides[axis] = run.size, run.stride
        part = cut(build, x, axis + 2, run.start, run.end)
        parts.append(_pooled(build, kind, part, window, strides))
    return join(build, parts, axis + 2)


def _pooled(build: Builder, kind: str, x: Flow, window: list[int], strides: list[int]) -> Flow:
    if prod(window) == 1 and prod(strides) == 1:
        return x
    return through(build, f"{kind}Pool", [x], kernel_shape=window, strides=strides)
