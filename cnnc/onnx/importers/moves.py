"""Operators that move elements."""

from collections.abc import Sequence
from math import prod

import numpy as np

from cnnc.onnx.builder import LARGEST, Builder
from cnnc.onnx.flat import Array
from cnnc.onnx.reading import MOST_AXES
from cnnc.onnx.registry import importer
from cnnc.onnx.values import Call, Flow, Known, RefusedError, Value, axis_of, shortest
from cnnc.ops.attributes import Symbol
from cnnc.ops.attributes import Value as Attribute

MOST_RESIZED = 6
"""Axes of a tensor that becomes larger by resizing: there are two more in front."""
MOST_PIECES = 256
"""Slices or copies that one node may become."""


@importer("Concat")
def concat(call: Call, build: Builder) -> Flow:
    """One operand after the other."""
    values = [call.flow(place) for place in range(len(call.operands))]
    if not values:
        raise RefusedError("it has no operands")
    axis = axis_of(call.integer("axis", 1), len(values[0].shape))
    around = {(*each.shape[:axis], *each.shape[axis + 1 :]) for each in values}
    if len(around) > 1:
        raise RefusedError("its operands differ in other axes than the one they are joined along")
    # operands without elements add nothing
    return join(build, [build.flow(each) for each in values if each.shape[axis]], axis)


def join(build: Builder, operands: Sequence[Flow], axis: int) -> Flow:
    """A concat; of one operand, the operand."""
    if len(operands) == 1:
        return operands[0]
    return build.stage("concat", operands, {} if axis == 1 else {"axis": axis})


@importer("Split")
def split(call: Call, build: Builder) -> list[Value]:
    """Parts are an attribute up to opset 12, an operand after that, or a number of equal ones."""
    x = build.flow(call.flow(0))
    axis = axis_of(call.integer("axis"), x.rank)
    parts = call.integer_list("split") if call.opset < 13 else call.integers(1, "parts")
    count = call.integer("num_outputs", len(call.used))
    if parts is None:
        part = -(-x.shape[axis] // max(1, count))
        if call.opset < 18 and part * count != x.shape[axis]:
            raise RefusedError(f"{x.shape[axis]} elements make no {count} equal parts")
        parts = [min(part, x.shape[axis] - n * part) for n in range(count)]
    if sum(parts) != x.shape[axis] or min(parts, default=-1) < 0 or len(parts) < len(call.used):
        raise RefusedError(f"{x.shape[axis]} elements make no parts of {parts}")
    starts = [sum(parts[:n]) for n in range(len(parts))]
    return [
        cut(build, x, axis, start, start + part) if part else _nothing(x, axis)
        for start, part in zip(starts, parts, strict=True)
    ]


def _nothing(x: Flow, axis: int) -> Known:
    return _empty(x, (*x.shape[:axis], 0, *x.shape[axis + 1 :]))


def _empty(x: Flow, shape: Sequence[int]) -> Known:
    """A result of this shape, which has no elements."""
    if len(shape) > MOST_AXES or prod(max(1, n) for n in shape) > LARGEST:
        raise RefusedError(f"its result would have the shape {list(shape)[:MOST_AXES]}")
    return Known(np.zeros(shape, x.dtype.numpy))


def cut(build: Builder, x: Flow, axis: int, begin: int, end: int, step: int = 1) -> Flow:
    """Positions begin, begin + step, … before end; `end` may be -1 where steps go down."""
    if (begin, end, step) == (0, x.shape[axis], 1):
        return x
    attributes: dict[str, Attribute] = {"axis": axis, "begin": begin}
    attributes["end"] = end if end >= 0 else Symbol("open")
    return build.stage("slice", [x], attributes | ({} if step == 1 else {"step": step}))


@importer("Slice")
def slice_of(call: Call, build: Builder) -> Value:
    """Attributes up to opset 9, operands after that."""
    x = build.flow(call.flow(0))
    if call.opset < 10:
        starts, ends = call.integer_list("starts"), call.integer_list("ends")
        axes, steps = call.integer_list("axes"), None
    else:
        starts, ends = call.integers(1, "starts"), call.integers(2, "ends")
        axes, steps = call.integers(3, "axes"), call.integers(4, "steps")
    if starts is None or ends is None:
        raise RefusedError("its starts or ends are missing")
    axes = [*range(len(starts))] if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise RefusedError("its lists differ in length")
    if 0 in steps:
        raise RefusedError("a step is 0")
    found = [range(n) for n in x.shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = axis_of(axis, x.rank)
        found[place] = found[place][slice(start, end, step)]
    if not all(found):
        return _empty(x, [len(each) for each in found])
    for axis, each in enumerate(found):
        x = _picked(build, x, axis, each)
    return x


def _picked(build: Builder, x: Flow, axis: int, found: range) -> Flow:
    if len(found) == 1:
        return cut(build, x, axis, found[0], found[0] + 1)
    end = found[-1] + (1 if found.step > 0 else -1)
    return cut(build, x, axis, found[0], end, found.step)


@importer("Gather")
def gather(call: Call, build: Builder) -> Value:
    """Known indices are slices, joined."""
    x = build.flow(call.flow(0))
    axis = axis_of(call.integer("axis"), x.rank)
    indices = call.needed(1, "list of indices")
    if indices.dtype.kind != "i":
        raise RefusedError("its indices are no integers")
    if not indices.size:
        return _empty(x, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))
    extent = x.shape[axis]
    places = [int(each) for each in indices.reshape(-1)[: 2**20]]
    if any(not -extent <= each < extent for each in places):
        raise RefusedError(f"an index lies outside of {extent} elements")
    runs = progressions([each % extent for each in places])
    if len(runs) > MOST_PIECES:
        raise RefusedError(f"its indices fall into more than {MOST_PIECES} runs")
    made = pick(build, x, axis, runs)
    return build.reshape(made, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def pick(build: Builder, x: Flow, axis: int, runs: Sequence[range]) -> Flow:
    """Elements along an axis, one run after the other."""
    return join(build, [_picked(build, x, axis, run) for run in runs], axis)


def progressions(places: Sequence[int]) -> list[range]:
    """The positions as arithmetic progressions, one after the other."""
    runs: list[range] = []
    at = 0
    while at < len(places):
        step = places[at + 1] - places[at] if at + 1 < len(places) else 1
        count = 1
        while step and at + count < len(places) and places[at + count] == places[at] + count * step:
            count += 1
        if count < (2 if abs(step) == 1 else 3):  # a step between two says nothing
            step = count = 1
        runs.append(range(places[at], places[at] + count * step, step))
        at += count
    return runs


@importer("DepthToSpace", "SpaceToDepth")
def blocks(call: Call, build: Builder) -> Flow:
    """Square blocks of images."""
    x = build.flow(call.flow(0))
    if x.rank != 4:
        raise RefusedError(f"its operand has {x.rank} axes")
    attributes: dict[str, Attribute] = {"block": call.integer("blocksize")}
    mode = call.word("mode", "DCR").lower()
    if mode != "dcr":
        attributes["mode"] = Symbol(mode)
    op = "depth_to_space" if call.op == "DepthToSpace" else "space_to_depth"
    return build.stage(op, [x], attributes)


@importer("Expand")
def expand(call: Call, build: Builder) -> Value:
    """Broadcasting."""
    x, wanted = build.flow(call.flow(0)), call.integers(1, "shape")
    if wanted is None or any(n < 0 for n in wanted):
        raise RefusedError(f"{wanted} is no shape")
    try:
        shape = np.broadcast_shapes(x.shape, tuple(wanted))
    except ValueError:
        raise RefusedError(f"{list(x.shape)} does not broadcast with {wanted}") from None
    return spread(build, x, shape) if 0 not in shape else _empty(x, shape)


def spread(build: Builder, x: Flow, shape: Sequence[int]) -> Flow:
    """The tensor repeated to a shape it broadcasts to."""
    x = build.reshape(x, (*(1,) * (len(shape) - x.rank), *x.shape))
    factors = [m // n for m, n in zip(shape, x.shape, strict=True)]
    if prod(factors) == 1:
        return x
    if x.dtype.is_float and len(shape) <= MOST_RESIZED:  # the nearest of one element is it
        kept = 2 if len(shape) > 2 and prod(factors[:2]) == 1 else 1 if factors[0] == 1 else 0
        held = build.reshape(x, (*x.shape[:kept], *(1,) * (2 - kept), *x.shape[kept:]))
        given: dict[str, Attribute] = {"mode": Symbol("nearest"), "size": tuple(shape[kept:])}
        return build.reshape(build.stage("resize", [held], given), shape)
    return _repeated(build, x, factors)


def _repeated(build: Builder, x: Flow, factors: Sequence[int]) -> Flow:
    for axis, count in enumerate(factors):
        if count > MOST_PIECES:
            raise RefusedError(f"it repeats more than {MOST_PIECES} times")
        x = join(build, [x] * count, axis) if count != 1 else x
    return x


@importer("Tile")
def tile(call: Call, build: Builder) -> Value:
    """Whole tensors one after the other; before opset 6 along one axis."""
    x = build.flow(call.flow(0))
    repeats = call.integers(1, "list of repeats") if call.opset > 5 else _along_one(call, x)
    if repeats is None or len(repeats) != x.rank or any(n < 0 for n in repeats):
        raise RefusedError(f"it repeats {repeats} times")
    if 0 in repeats:
        return _empty(x, [n * r for n, r in zip(x.shape, repeats, strict=True)])
    if max(repeats, default=1) <= 8 or not x.dtype.is_float:
        return _repeated(build, x, repeats)
    inner = [each for n in x.shape for each in (1, n)]
    outer = [each for pair in zip(repeats, x.shape, strict=True) for each in pair]
    made = spread(build, build.reshape(x, inner), outer)
    return build.reshape(made, [n * r for n, r in zip(x.shape, repeats, strict=True)])


def _along_one(call: Call, x: Flow) -> list[int]:
    count, axis = call.needed(1, "number of repeats"), call.needed(2, "axis")
    if count.size != 1 or axis.size != 1:
        raise RefusedError("it repeats along several axes")
    repeats = [1] * x.rank
    repeats[axis_of(int(axis.reshape(-1)[0]), x.rank)] = int(count.reshape(-1)[0])
    return repeats


@importer("Pad")
def pad(call: Call, build: Builder) -> Flow:
    """Any axes; what is negative cuts off."""
    x = build.flow(call.flow(0))
    ends, value = _pad_ends(call, x), _pad_value(call)
    mode = call.word("mode", "constant")
    for axis, (before, after) in enumerate(ends):
        if min(before, after) < 0:
            kept = x.shape[axis] + min(0, before) + min(0, after)
            if kept < 1:
                raise RefusedError("its result has no elements")
            x = cut(build, x, axis, max(0, -before), max(0, -before) + kept)
    wide = [(max(0, before), max(0, after)) for before, after in ends]
    if not any(map(any, wide)):
        return x
    if mode == "constant" and not np.isfinite(value):
        return _surrounded(build, x, wide, value)
    if mode == "constant":
        word = Symbol("constant", (value,)) if value else None
    elif mode in ("reflect", "edge", "wrap"):
        word = Symbol(mode)
    else:
        raise RefusedError(f"its mode is {mode}")
    return _padded(build, x, wide, word)


def _padded(build: Builder, x: Flow, ends: Sequence[tuple[int, int]], mode: Symbol | None) -> Flow:
    more: dict[str, Attribute] = {} if mode is None else {"mode": mode}
    if x.rank > 2 and not any(map(any, ends[:2])):
        return build.stage("pad", [x], {"pad": tuple(ends[2:]), **more})
    shape = tuple(n + sum(end) for n, end in zip(x.shape, ends, strict=True))
    held = build.reshape(x, (1, 1, *x.shape))
    return build.reshape(build.stage("pad", [held], {"pad": tuple(ends), **more}), shape)


def _surrounded(build: Builder, x: Flow, ends: Sequence[tuple[int, int]], value: float) -> Flow:
    """Padding with what no number of the language is: chosen where there is padding."""
    if not x.dtype.is_float:
        raise RefusedError(f"it pads {x.dtype} with {value}")
    made = _padded(build, x, ends, None)
    build.spend(prod(n for n, end in zip(made.shape, ends, strict=True) if any(end)))
    outside = np.zeros((1,) * x.rank, np.bool_)
    for axis, (before, after) in enumerate(ends):
        line = np.pad(np.zeros(x.shape[axis], np.bool_), (before, after), constant_values=True)
        outside = outside | line.reshape(-1, *(1,) * (x.rank - axis - 1)) if any(line) else outside
    return build.stage("where", [Known(outside), Known(np.array(value, x.dtype.numpy)), made])


def _pad_ends(call: Call, x: Flow) -> list[tuple[int, int]]:
    if call.opset < 11:
        given = call.integer_list("pads" if call.opset > 1 else "paddings")
        axes = None
    else:
        given, axes = call.integers(1, "padding"), call.integers(3, "axes")
    places = [*range(x.rank)] if axes is None else [axis_of(axis, x.rank) for axis in axes]
    if given is None or len(given) != 2 * len(places) or len({*places}) < len(places):
        raise RefusedError(f"its padding {given} does not fit {len(places)} axes")
    if any(abs(n) >= 2**20 for n in given):
        raise RefusedError("its padding is too large")
    ends = [(0, 0)] * x.rank
    for axis, before, after in zip(places, given, given[len(places) :], strict=False):
        ends[axis] = (before, after)
    return ends


def _pad_value(call: Call) -> float:
    if call.opset < 11:
        given = call.attributes.get("value", 0.0)
        if not isinstance(given, int | float):
            raise RefusedError("it pads with no number")
        return shortest(given)
    found: Array | None = call.known(2, "constant")
    if found is None or not found.size:
        return 0.0
    value = found.reshape(-1)[0]
    if found.size != 1 or found.dtype.kind not in "fiub":
        raise RefusedError("it pads with no number")
    return float(str(value)) if found.dtype.kind == "f" else float(value)
