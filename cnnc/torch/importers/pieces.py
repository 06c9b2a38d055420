"""Operators that take tensors apart by positions, and put them together again."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from cnnc.onnx.builder import Builder
from cnnc.onnx.importers.moves import MOST_PIECES, cut, join, spread
from cnnc.onnx.values import Flow, Known, RefusedError, axis_of
from cnnc.torch.call import Call, cast, through
from cnnc.torch.registry import importer


@importer("flip")
def flip(call: Call, build: Builder) -> Flow:
    """From the last to the first along some axes."""
    x = build.flow(call.value("self"))
    for each in call.arguments["dims"]:
        axis = axis_of(each, x.rank)
        x = cut(build, x, axis, x.shape[axis] - 1, -1, -1) if x.shape[axis] > 1 else x
    return x


@importer("index_select")
def index_select(call: Call, build: Builder) -> Flow:
    """Known positions along an axis."""
    operands = [call.value("self"), call.value("index")]
    return through(build, "Gather", operands, axis=call.integer("dim"))


@importer("index", "_unsafe_index")
def index(call: Call, build: Builder) -> Flow:
    """Known positions along one axis: `x[:, [3, 1]]`."""
    indices = call.arguments["indices"]
    given = [axis for axis, each in enumerate(indices) if each is not None]
    places = indices[given[0]] if len(given) == 1 else None
    if not isinstance(places, Known) or places.array.dtype.kind != "i":
        raise RefusedError("its positions are not known, or along several axes")
    return through(build, "Gather", [call.value("self"), places], axis=given[0])


@importer("full_like")
def full_like(call: Call, build: Builder) -> Flow:
    """A constant of the operand's shape."""
    value = call.arguments["fill_value"]
    return build.tensor(np.full(call.shape, value, call.dtypes[0].numpy))


@importer("copy")
def copy(call: Call, build: Builder) -> Flow:
    """The other tensor in the type and shape of the first."""
    source = build.flow(cast(build, call.value("src"), call.dtypes[0]))
    return spread(build, source, call.shape)


@importer("slice_scatter", "select_scatter")
def scatter(call: Call, build: Builder) -> Flow:
    """A tensor with some positions of an axis from another: `x[:, 2:4] = y`."""
    x, source = build.flow(call.value("self")), build.flow(call.promoted(build, "src"))
    axis = axis_of(call.integer("dim"), x.rank)
    extent = x.shape[axis]
    if call.op == "select_scatter":
        at = axis_of(call.integer("index"), extent)
        taken = range(at, at + 1)
        source = build.reshape(source, (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
    else:
        ends = (call.arguments.get(name) for name in ("start", "end", "step"))
        taken = range(extent)[slice(*ends)]
    if not taken:
        return x
    if taken.step != 1 and len(taken) > 1:
        raise RefusedError(f"it writes to every {taken.step}. position")
    parts = [(x, range(taken[0])), (source, range(len(taken))), (x, range(taken[-1] + 1, extent))]
    pieces = [cut(build, each, axis, at[0], at[-1] + 1) for each, at in parts if at]
    return join(build, pieces, axis)


@importer("unfold")
def unfold(call: Call, build: Builder) -> Flow:
    """Windows along an axis; what lies in them is a last axis of its own."""
    x, size, step = build.flow(call.value("self")), call.integer("size"), call.integer("step")
    axis = axis_of(call.integer("dimension"), x.rank)
    count = call.shape[axis]
    return _stacked(build, [_strided(build, x, axis, n, count, step) for n in _few(size)], x.rank)


@importer("im2col")
def columns(call: Call, build: Builder) -> Flow:
    """What lies in each window of an image, as `torch.nn.Unfold`."""
    x = build.flow(call.value("self"))
    if x.rank != 4:
        raise RefusedError("its operand has no batch")
    names = ("kernel_size", "dilation", "padding", "stride")
    (kernel, dilation, padding, stride) = (call.integers(name, 2) for name in names)
    pads = Known(np.array([0, 0, *padding, 0, 0, *padding], np.int64))
    x = through(build, "Pad", [x, pads, Known(np.array(0, np.float32))])
    counts = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, d, s in zip(x.shape[2:], kernel, dilation, stride, strict=True)
    ]
    parts: list[Flow] = []
    for place in product(*(range(n) for n in kernel)):
        _few(len(parts))
        part = x
        for axis in (0, 1):
            first = place[axis] * dilation[axis]
            part = _strided(build, part, axis + 2, first, counts[axis], stride[axis])
        parts.append(part)
    return build.reshape(_stacked(build, parts, 2), call.shape)


def _strided(build: Builder, x: Flow, axis: int, first: int, count: int, step: int) -> Flow:
    last = first + (count - 1) * step
    return cut(build, x, axis, first, last + 1, step if count > 1 else 1)


def _stacked(build: Builder, parts: Sequence[Flow], axis: int) -> Flow:
    """One after the other along a new axis."""
    shape = (*parts[0].shape[:axis], 1, *parts[0].shape[axis:])
    return join(build, [build.reshape(each, shape) for each in parts], axis)


def _few(count: int) -> range:
    if count > MOST_PIECES:
        raise RefusedError(f"its windows have more than {MOST_PIECES} elements")
    return range(count)
