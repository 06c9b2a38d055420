"""Windows over images with an axis of extent 1: windows over series.

Keras has convolutions of series as those of images of one row.
"""

from collections.abc import Sequence

from cnnc.onnx.flat import Stage
from cnnc.onnx.tidying.rewriter import Rewriter
from cnnc.onnx.tidying.views import View
from cnnc.ops.attributes import Value
from cnnc.ops.conv import Conv
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Weighted
from cnnc.ops.spec import find


def carry_window(stage: Stage, views: Sequence[View], build: Rewriter) -> View | None:
    """A convolution or pool of fewer axes, where the others have extent 1 and windows of 1."""
    (x,) = views
    kept = [place for place in range(2, x.rank) if x.axes[place] is not None]
    have = [axis for axis in x.axes if axis is not None]
    is_series = x.axes[:2] == (0, 1) and 0 < len(kept) < x.rank - 2
    if not is_series or have != [*range(len(build.shape(x.base)))]:
        return None
    kind = find(stage.op)
    assert kind is not None
    op = kind.make(stage.attributes)
    assert isinstance(op, Conv | Pool)
    gone = [place - 2 for place in range(2, x.rank) if place not in kept]
    is_global = isinstance(op, Pool) and not op.size
    if isinstance(op, Pool) and isinstance(op.kind, Weighted):
        return None
    if not is_global:
        base = build.types[x.base]
        shape = tuple(1 if axis is None else base.shape[axis] for axis in x.axes)
        window = op.window(base.with_shape(shape))
        if any(window.kernel[axis] != 1 or window.pads[axis] != (0, 0) for axis in gone):
            return None
    shown = {
        name: _kept(value, gone, x.rank - 2)
        if name in ("kernel", "size", "stride", "pad", "dilation")
        else value
        for name, value in stage.attributes.items()
    }
    keys = dict(stage.parameters)
    if "weight" in keys:
        weight = build.arrays[keys["weight"]]
        keys["weight"] = build.hold(
            keys["weight"], weight.squeeze(tuple(2 + axis for axis in gone))
        )
    build.notes[stage.source] = "of fewer axes"
    return View(build.call(stage, [x.base], shown, parameters=keys), x.axes)


def _kept(value: Value, gone: Sequence[int], rank: int) -> Value:
    """A list of numbers for the axes, without those that are gone."""
    if not isinstance(value, tuple) or len(value) != rank:
        return value
    return tuple(part for axis, part in enumerate(value) if axis not in gone)
