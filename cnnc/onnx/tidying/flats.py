"""Features in another order: what is flattened with its channels last.

A dense layer that reads them gets its columns in that order, one that makes them its rows.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.onnx.flat import Array, Stage
from cnnc.onnx.tidying.carry import turned
from cnnc.onnx.tidying.rewriter import Rewriter
from cnnc.onnx.tidying.views import Axes, View, moves
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import find

Order = NDArray[np.int64]


@record
class Flat:
    """Features: feature i is feature `order[i]` of `base`. `plain` has them as they were."""

    base: str
    order: tuple[int, ...]
    plain: str


def flatten(stage: Stage, x: View, build: Rewriter) -> Flat | None:
    """What a reshape to features makes of a view; None where it is none, or nothing moves."""
    base, target = build.shape(x.base), stage.result.shape
    if stage.op not in ("flatten", "reshape") or not moves(x.axes, base) or x.axes[0] != 0:
        return None
    if len(target) != 2 or target[0] != base[0]:
        return None
    places = np.arange(np.prod(base[1:], dtype=np.int64)).reshape(1, *base[1:])
    order = turned(places, x.axes).reshape(-1)
    features = (base[0], order.size)
    made = build.reshape(x.base, features, stage.source)
    old = build.reshape(build.read(x, stage.source), features, stage.source)
    return Flat(made, (*map(int, order),), old)


def unflatten(stage: Stage, x: Flat, build: Rewriter) -> View | None:
    """A reshape of features whose channels come last then, as a view that has them first."""
    target = stage.result.shape
    if stage.op != "reshape" or len(target) < 3 or target[0] != build.shape(x.base)[0]:
        return None
    shape, axes = _channels_first(target)
    if x.order != channels_last(target):
        return None
    return View(build.reshape(x.base, shape, stage.source), axes)


def channels_last(target: Shape) -> tuple[int, ...]:
    """For each feature of what is reshaped to [N, *spatial, C], its place in [N, C, *spatial]."""
    shape, axes = _channels_first(target)
    places = np.arange(np.prod(shape[1:], dtype=np.int64)).reshape(1, *shape[1:])
    return (*map(int, turned(places, axes).reshape(-1)),)


def _channels_first(target: Shape) -> tuple[Shape, Axes]:
    rank = len(target)
    return (target[0], target[-1], *target[1:-1]), (0, *range(2, rank), 1)


def make_rows(stage: Stage, order: tuple[int, ...], x: str, build: Rewriter) -> Flat:
    """A dense layer whose features come in another order."""
    places = np.argsort(np.asarray(order))
    keys = {
        name: build.hold(key, build.arrays[key][places]) for name, key in stage.parameters.items()
    }
    build.notes[stage.source] = "rows as channels come first"
    made = build.call(stage, [x], stage.attributes, parameters=keys)
    old = build.call(stage, [x], stage.attributes, name=build.claim(f"{stage.name}.plain"))
    return Flat(made, order, old)


def carry_flat(
    stage: Stage, operands: Sequence[Flat | View], build: Rewriter
) -> Flat | View | None:
    """An operator of features in another order; None where it needs them as they were."""
    flats = [each for each in operands if isinstance(each, Flat)]
    order = flats[0].order
    kind = find(stage.op)
    if stage.op == "dense":
        return _columns(stage, flats[0], build)
    if stage.op == "reshape":
        return unflatten(stage, flats[0], build)
    if any(each.order != order for each in flats) or len(stage.result.shape) != 2:
        return None
    is_pointwise = kind is not None and issubclass(kind, Pointwise) and not stage.parameters
    if not is_pointwise and stage.op not in ("batchnorm", "prelu"):
        return None
    arrays = [_ordered(each, order, build) for each in operands if isinstance(each, View)]
    if any(each is None for each in arrays):
        return None
    keys = {name: _kept(key, order, build) for name, key in stage.parameters.items()}
    tensors = iter(each for each in arrays if each is not None)
    parts = iter([each.base if isinstance(each, Flat) else next(tensors) for each in operands])
    names = [next(parts) if isinstance(each, str) else each for each in stage.operands]
    made = build.call(stage, names, stage.attributes, parameters=keys)
    olds = iter([each.plain if isinstance(each, Flat) else each.base for each in operands])
    names = [next(olds) if isinstance(each, str) else each for each in stage.operands]
    old = build.call(stage, names, stage.attributes, name=build.claim(f"{stage.name}.plain"))
    return Flat(made, order, old)


def _columns(stage: Stage, x: Flat, build: Rewriter) -> View:
    weight = build.arrays[stage.parameters["weight"]]
    columns = weight[:, np.argsort(np.asarray(x.order))]
    keys = {**stage.parameters, "weight": build.hold(stage.parameters["weight"], columns)}
    build.notes[stage.source] = "columns as channels come first"
    return View(build.call(stage, [x.base], stage.attributes, parameters=keys), (0, 1))


def _ordered(x: View, order: Sequence[int], build: Rewriter) -> str | None:
    """A tensor of the weights file for each feature, in the other order."""
    if not x.is_plain or not build.is_tensor(x.base):
        return None
    array = build.array(x.base)
    if array.shape[-1] == 1:
        return x.base
    return build.tensor(x.base, _turned(array, order))


def _kept(key: str, order: Sequence[int], build: Rewriter) -> str:
    array = build.arrays[key]
    return build.hold(key, _turned(array, order)) if array.shape == (len(order),) else key


def _turned(array: Array, order: Sequence[int]) -> Array:
    return array[..., np.argsort(np.asarray(order))]
