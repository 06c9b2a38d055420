"""Operators that move elements, or do nothing in inference."""

from collections.abc import Sequence

import numpy as np

from cnnc.onnx.builder import Builder
from cnnc.onnx.importers.moves import cut, join, spread
from cnnc.onnx.values import Flow, Known, RefusedError, Value, axis_of
from cnnc.torch.call import Call, cast, through
from cnnc.torch.registry import importer

_SAME = ("clone", "contiguous", "alias", "detach", "lift_fresh_copy")
_DROPS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout")


@importer(*_SAME, *_DROPS)
def same(call: Call, build: Builder) -> list[Flow]:
    """What is read."""
    call.only(1)
    if call.arguments.get("train"):
        raise RefusedError("it drops elements, as in training")
    return [build.flow(call.value("self", "input"))]


@importer("_to_copy", "to")
def to(call: Call, build: Builder) -> Flow:
    """Another element type."""
    return build.flow(call.promoted(build, "self"))


_SHAPES = ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "unsqueeze", "squeeze")


@importer(*_SHAPES)
def reshape(call: Call, build: Builder) -> Flow:
    """The same elements under the result's shape."""
    return build.reshape(build.flow(call.value("self")), call.shape)


@importer("permute", "transpose", "t")
def transpose(call: Call, build: Builder) -> Flow:
    """Axes in another order."""
    x = build.flow(call.value("self"))
    order = [*range(x.rank)]
    if call.op == "permute":
        order = [axis_of(axis, x.rank) for axis in call.integers("dims", x.rank)]
    else:
        names = ("dim0", "dim1")
        pair = (0, x.rank - 1) if call.op == "t" else (call.integer(name) for name in names)
        a, b = (axis_of(axis, x.rank) for axis in pair)
        order[a], order[b] = b, a
    return build.transpose(x, order)


@importer("cat")
def cat(call: Call, build: Builder) -> Flow:
    """One after the other."""
    operands = [build.flow(cast(build, each, call.dtypes[0])) for each in _tensors(call)]
    return join(build, operands, axis_of(call.integer("dim"), operands[0].rank))


@importer("stack")
def stack(call: Call, build: Builder) -> Flow:
    """One after the other along a new axis."""
    operands = [build.flow(cast(build, each, call.dtypes[0])) for each in _tensors(call)]
    axis = axis_of(call.integer("dim"), operands[0].rank + 1)
    shape = (*operands[0].shape[:axis], 1, *operands[0].shape[axis:])
    return join(build, [build.reshape(each, shape) for each in operands], axis)


def _tensors(call: Call) -> Sequence[Value]:
    found = call.arguments["tensors"]
    if not found or not all(isinstance(each, Flow | Known) for each in found):
        raise RefusedError("its operands are no tensors")
    return list(found)


@importer("slice")
def slice_of(call: Call, build: Builder) -> Flow:
    """As in Python."""
    x = build.flow(call.value("self"))
    axis = axis_of(call.integer("dim"), x.rank)
    ends = slice(*(call.arguments.get(name) for name in ("start", "end", "step")))
    taken = range(x.shape[axis])[ends]
    if not taken:
        raise RefusedError("its result has no elements")
    return cut(build, x, axis, taken[0], taken[-1] + 1, taken.step if len(taken) > 1 else 1)


@importer("select")
def select(call: Call, build: Builder) -> Flow:
    """One position of an axis, which goes."""
    x = build.flow(call.value("self"))
    axis = axis_of(call.integer("dim"), x.rank)
    at = axis_of(call.integer("index"), x.shape[axis])
    return build.reshape(cut(build, x, axis, at, at + 1), call.shape)


@importer("split", "split_with_sizes", "chunk", "unbind")
def split(call: Call, build: Builder) -> list[Value]:
    """The extents of the results say where it is cut."""
    x = build.flow(call.value("self"))
    axis = axis_of(call.integer("dim"), x.rank)
    lengths = [1 if call.op == "unbind" else shape[axis] for shape in call.shapes]
    starts = [sum(lengths[:n]) for n in range(len(lengths))]
    return [
        build.reshape(cut(build, x, axis, start, start + length), shape)
        for start, length, shape in zip(starts, lengths, call.shapes, strict=True)
    ]


@importer("expand")
def expand(call: Call, build: Builder) -> Flow:
    """Broadcasting."""
    return spread(build, build.flow(call.value("self")), call.shape)


@importer("repeat")
def repeat(call: Call, build: Builder) -> Flow:
    """Whole tensors one after the other."""
    x, times = build.flow(call.value("self")), list(call.arguments["repeats"])
    held = build.reshape(x, (*(1,) * (len(times) - x.rank), *x.shape))
    return through(build, "Tile", [held, Known(np.array(times, np.int64))])


_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
_REFLECTIONS = ("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
_REPLICATIONS = ("replication_pad1d", "replication_pad2d", "replication_pad3d")


@importer("pad", "constant_pad_nd", *_REFLECTIONS, *_REPLICATIONS)
def pad(call: Call, build: Builder) -> Flow:
    """Both ends of the last axis come first; what is negative cuts off."""
    x = build.flow(call.value("self"))
    given = call.arguments["pad" if "pad" in call.arguments else "padding"]
    mode = "reflect" if call.op.startswith("reflection") else "constant"
    mode = "replicate" if call.op.startswith("replication") else mode
    mode = _MODES[str(call.arguments.get("mode", mode))]
    before, after = [0] * x.rank, [0] * x.rank
    for place in range(len(given) // 2):
        before[-1 - place], after[-1 - place] = given[2 * place : 2 * place + 2]
    pads = Known(np.array([*before, *after], np.int64))
    value = Known(np.array(call.number("value", 0.0), np.float32))
    return through(build, "Pad", [x, pads, value], mode=mode)


@importer("pixel_shuffle", "pixel_unshuffle")
def pixel_shuffle(call: Call, build: Builder) -> Flow:
    """Channels become positions, or the other way round, as ONNX's CRD."""
    x = build.flow(call.value("self"))
    if call.op == "pixel_shuffle":
        block = call.integer("upscale_factor")
        return through(build, "DepthToSpace", [x], blocksize=block, mode="CRD")
    block = call.integer("downscale_factor")
    return through(build, "SpaceToDepth", [x], blocksize=block, mode="CRD")


@importer("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(call: Call, build: Builder) -> Flow:
    """The channels of all groups in turn."""
    x, groups = build.flow(call.value("self")), call.integer("groups")
    if x.rank < 3 or groups < 1 or x.shape[1] % groups:
        raise RefusedError(f"{groups} groups do not divide its channels")
    parts = build.reshape(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
    turned = build.transpose(parts, (0, 2, 1, *range(3, x.rank + 1)))
    return build.reshape(turned, x.shape)
