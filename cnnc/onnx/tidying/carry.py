"""Operators of views: what they do to the tensor that is read, done to what it is a view of."""

from collections.abc import Callable, Mapping, Sequence

from cnnc.onnx.flat import Array, Stage
from cnnc.onnx.tidying.rewriter import Rewriter
from cnnc.onnx.tidying.series import carry_window
from cnnc.onnx.tidying.views import Axes, View, embed, extents, moves, plain, regroup, under
from cnnc.ops.attributes import Value
from cnnc.ops.axes import resolve_axes, resolve_axis
from cnnc.ops.movement.pad import Pad
from cnnc.ops.movement.slice import Slice
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import find

Rule = Callable[[Stage, Sequence[View], Rewriter], View | None]


def carry(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    """The stage's result as a view; None where its operands must be read as they were.

    `views` are its operands but for numbers.
    """
    if stage.op in RULES:
        return RULES[stage.op](stage, views, build)
    if all(view.is_plain for view in views):
        return None
    kind = find(stage.op)
    if kind is not None and issubclass(kind, Pointwise) and not stage.parameters:
        return _pointwise(stage, views, build)
    return None


# ── moving ──────────────────────────────────────────────────────────────────────────────────────


def _transpose(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    order = stage.attributes["order"]
    assert isinstance(order, tuple)
    (x,) = views
    return View(x.base, tuple(x.axes[int(str(axis))] for axis in order))


def _reshape(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    (x,) = views
    base, target = build.shape(x.base), stage.result.shape
    found = embed(x.axes, base, target)
    if found is not None:
        return View(x.base, found)
    if not moves(x.axes, base):
        made = build.reshape(x.base, target, stage.source, stage.name)
        return plain(made, len(target))
    grouped = regroup(x.axes, base, target)
    if grouped is None:
        return None
    shape, axes = grouped
    return View(build.reshape(x.base, shape, stage.source), axes)


def settle(view: View, build: Rewriter, source: str) -> View:
    """The view with all its axes those of a base, in which new ones stand behind their neighbours.

    The base has no other axes then.
    """
    base = build.shape(view.base)
    listed = [axis for axis in view.axes if axis is not None]
    if len(listed) == view.rank == len(base):
        return view
    order = sorted(listed)
    spots: list[tuple[float, int]] = []
    before = -1.0
    for place, axis in enumerate(view.axes):
        before = float(order.index(axis)) if axis is not None else before + 1 / (view.rank + 1)
        spots.append((before, place))
    ranks = {place: rank for rank, (_, place) in enumerate(sorted(spots))}
    axes = tuple(ranks[place] for place in range(view.rank))
    shape = extents(view.axes, base)
    held = tuple(shape[axes.index(axis)] for axis in range(view.rank))
    return View(build.reshape(view.base, held, source), axes)


# ── operators of several operands ───────────────────────────────────────────────────────────────


def _orders(views: Sequence[View], rank: int, build: Rewriter) -> list[Axes]:
    """The axes that a result may have, those of its largest operand first."""
    full = [view for view in views if view.rank == rank and not build.is_tensor(view.base)]
    full.sort(key=lambda view: -build.types[view.base].elements)
    return [*dict.fromkeys(view.axes for view in full)]


def _pointwise(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    rank = len(stage.result.shape)
    for axes in _orders(views, rank, build):
        wanted = [_wanted(view, axes, rank, build) for view in views]
        if axes == (*range(rank),) or not all(
            each is not None and (build.is_tensor(each.base) or build.is_free(each))
            for each in wanted
        ):
            continue
        reads = iter([_part(view, build, stage) for view in wanted if view is not None])
        operands = [next(reads) if isinstance(each, str) else each for each in stage.operands]
        return View(build.call(stage, operands, stage.attributes), axes)
    return None


def _wanted(view: View, axes: Axes, rank: int, build: Rewriter) -> View | None:
    """An operand as a result with these axes needs it; it may be of lower rank."""
    lifted = (*(None,) * (rank - view.rank), *view.axes)
    shape = extents(lifted, build.shape(view.base))
    if any(axis is None and extent != 1 for axis, extent in zip(axes, shape, strict=True)):
        return None
    found = under(lifted, axes)
    if found is None:
        return None
    while view.rank < rank and len(found) > 1 and found[0] is None:
        found = found[1:]
    return View(view.base, found)


def _part(view: View, build: Rewriter, stage: Stage) -> str:
    """An operand: tensors of the weights file are turned there."""
    if not build.is_tensor(view.base):
        return build.read(view, stage.source)
    if view.is_plain and view.rank == len(build.shape(view.base)):
        return view.base
    array = turned(build.array(view.base), view.axes)
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return build.tensor(view.base, array)


def turned(array: Array, axes: Axes) -> Array:
    """The array as a view with these axes shows it."""
    listed = [axis for axis in axes if axis is not None]
    order = (*listed, *(axis for axis in range(array.ndim) if axis not in listed))
    return array.transpose(order).reshape(extents(axes, array.shape))


def _concat(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    if all(view.is_plain for view in views):
        return None
    rank = len(stage.result.shape)
    whole = [settle(view, build, stage.source) for view in views]
    place = resolve_axis(_whole(stage.attributes.get("axis", 1)), rank)
    for axes in _orders(whole, rank, build):
        found = [under(view.axes, axes) for view in whole]
        wanted = [View(view.base, each) for view, each in zip(whole, found, strict=True) if each]
        if len(wanted) < len(whole) or axes == (*range(rank),):
            continue
        if not all(build.is_tensor(each.base) or build.is_free(each) for each in wanted):
            continue
        operands = [
            build.tensor(each.base, turned(build.array(each.base), each.axes))
            if build.is_tensor(each.base) and not each.is_plain
            else build.read(each, stage.source)
            for each in wanted
        ]
        axis = axes[place]
        return View(build.call(stage, operands, {} if axis == 1 else {"axis": axis or 0}), axes)
    return None


# ── operators along axes ────────────────────────────────────────────────────────────────────────


def _along(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    """`axis` is that of the base."""
    (x,) = views
    if x.is_plain:
        return None
    place = resolve_axis(_whole(stage.attributes.get("axis", 1)), x.rank)
    if x.axes[place] is None or len(build.shape(x.base)) == 1:
        x = settle(x, build, stage.source)
    axis = x.axes[place]
    assert axis is not None
    made = build.call(stage, [x.base], {**stage.attributes, "axis": axis})
    if stage.op not in ("argmax", "argmin") or stage.attributes.get("keep", False):
        return View(made, x.axes)
    return View(made, _without(x.axes, [place]))


def _slice(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    (x,) = views
    if x.is_plain:
        return None
    places = [axis % x.rank for axis in Slice.make(stage.attributes).axis]
    x = settle(x, build, stage.source) if any(x.axes[place] is None for place in places) else x
    axes = tuple(axis for place in places if (axis := x.axes[place]) is not None)
    return View(build.call(stage, [x.base], {**stage.attributes, "axis": axes}), x.axes)


def _reduce(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    (x,) = views
    if x.is_plain:
        return None
    given = stage.attributes["axes"]
    listed = given if isinstance(given, tuple) else (given,)
    places = resolve_axes(tuple(map(_whole, listed)), x.rank)
    rest = {axis for place, axis in enumerate(x.axes) if place not in places}
    if all(x.axes[place] is None for place in places) or rest <= {None}:
        x = settle(x, build, stage.source)
    over = sorted(axis for place in places if (axis := x.axes[place]) is not None)
    made = build.call(stage, [x.base], {**stage.attributes, "axes": tuple(over)})
    keep = stage.attributes.get("keep", False)
    return View(made, x.axes if keep else _without(x.axes, places))


def _without(axes: Axes, places: Sequence[int]) -> Axes:
    """The axes that are left, counted anew."""
    gone = [axes[place] for place in places]
    return tuple(
        axis if axis is None else axis - sum(each is not None and each < axis for each in gone)
        for place, axis in enumerate(axes)
        if place not in places
    )


def _layer_norm(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    (x,) = views
    given = stage.attributes["axes"]
    listed = given if isinstance(given, tuple) else (given,)
    axis = x.axes[_whole(listed[0]) % x.rank]
    if x.is_plain or len(listed) > 1 or axis is None:
        return None
    return View(build.call(stage, [x.base], {**stage.attributes, "axes": axis}), x.axes)


def _pad(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    (x,) = views
    if x.is_plain:
        return None
    op = Pad.make(stage.attributes)
    base = build.types[x.base]
    given = ((0, 0), (0, 0), *op.ends(base.with_shape(extents(x.axes, base.shape))))
    if any(any(end) and axis is None for end, axis in zip(given, x.axes, strict=True)):
        return None
    ends: list[tuple[int, int]] = [(0, 0)] * base.rank
    for end, axis in zip(given, x.axes, strict=True):
        if axis is not None:
            ends[axis] = end
    if base.rank < 3 or any(map(any, ends[:2])):
        return None
    return View(build.call(stage, [x.base], {**stage.attributes, "pad": tuple(ends[2:])}), x.axes)


def _per_channel(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    """The first two axes are what they were."""
    (x,) = views
    if x.is_plain or x.axes[:2] != (0, 1):
        return None
    return View(build.call(stage, [x.base], stage.attributes), x.axes)


def _matmul(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    """What a matrix makes of the last axis is a convolution where this is that of the channels."""
    x, other = views
    if x.is_plain or not build.is_tensor(other.base) or len(build.shape(other.base)) != 2:
        return None
    x = settle(x, build, stage.source)
    if x.rank < 3 or x.axes != (0, *range(2, x.rank), 1):
        return None
    matrix = build.array(other.base)
    inputs, channels = matrix.shape
    weight = matrix.T.reshape(channels, inputs, *(1,) * (x.rank - 2))
    key = build.hold(f"{stage.name}.weight", weight)
    shown: Mapping[str, Value] = {"channels": channels, "kernel": 1, "bias": False}
    made = build.call(stage, [x.base], shown, op="conv", parameters={"weight": key})
    return View(made, x.axes)


def _whole(value: Value) -> int:
    assert isinstance(value, int)
    return value


RULES: Mapping[str, Rule] = {
    "transpose": _transpose, "reshape": _reshape, "flatten": _reshape,
    "concat": _concat, "slice": _slice, "reduce": _reduce, "pad": _pad, "matmul": _matmul,
    "softmax": _along, "log_softmax": _along, "argmax": _along, "argmin": _along,
    "layer_norm": _layer_norm, "batchnorm": _per_channel, "prelu": _per_channel,
    "conv": carry_window, "pool": carry_window,
}  # fmt: skip
