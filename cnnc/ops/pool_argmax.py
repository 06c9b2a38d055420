"""Where the largest element of every window is."""

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder, both, maximum, number, spatial_letters
from cnnc.loop.expr import Buffer, Const, Expr, binary, compare, select
from cnnc.ops.attributes import Choice, Extents, Flag, Padding, PaddingKind
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Maximum
from cnnc.ops.pool_weights import Size, Step
from cnnc.ops.spec import (
    FEW_CHANNELS,
    Blocking,
    Nest,
    Operator,
    Real,
    Sample,
    attr,
    check_floats,
    operator,
)
from cnnc.ops.window import Window


@operator("pool_argmax")
class PoolArgMax(Operator):
    """Where `pool(max)` finds its elements, as i64. Reads [N, C, *spatial], writes [N, C, *out].

    Elements of a channel are counted from 0 in row-major order, as PyTorch's `return_indices` does;
    in column-major order the first spatial axis runs fastest. With `whole` the elements of all
    channels and samples before are counted too, as ONNX's MaxPool does. Of equals the first in the
    window wins, or the first NaN; padding never wins. The window is that of `pool`.
    """

    size: tuple[int, ...] = attr(Size(), doc="extent of the window")
    stride: tuple[int, ...] = attr(Step(), doc="step of the window", default=())
    pad: Padding = attr(PaddingKind(), doc="padding around the input", default=Padding())
    dilation: tuple[int, ...] = attr(Extents(), doc="distance between taps", default=(1,))
    ceil: bool = attr(Flag(), doc="whether a last, cut window counts", default=False)
    order: str = attr(
        Choice(("row_major", "column_major")), doc="how elements are counted", default="row_major"
    )
    whole: bool = attr(Flag(), doc="whether the whole tensor is counted", default=False)

    def window(self, x: TensorType) -> Window:
        """The window on an input."""
        pool = Pool(Maximum(), self.size, self.stride, self.pad, self.dilation, self.ceil)
        return pool.window(x)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        check_floats(inputs)
        x = inputs[0]
        return TensorType.plain((*x.shape[:2], *self.window(x).out), DType.I64)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x = inputs[0]
        window = self.window(TensorType.plain(x.shape))
        counts = np.broadcast_to(self._counts(x.shape), x.shape)
        best = np.full((*x.shape[:2], *window.out), -np.inf)
        place = np.full(best.shape, -1.0)
        # counts are below 2^53, so that float64 holds them exactly
        under = zip(window.taps(x, -np.inf), window.taps(counts.astype(float), -1), strict=True)
        for (_, value), (_, count) in under:
            wins = (best < value) | (np.isnan(value) & ~np.isnan(best)) | (place < 0)
            wins &= count >= 0
            best, place = np.where(wins, value, best), np.where(wins, count, place)
        found: Real = place.astype(np.int64)
        return found

    def _counts(self, shape: Shape) -> NDArray[np.int64]:
        """What each element of the operand is counted as."""
        inside = np.arange(prod(shape[2:]), dtype=np.int64)
        if self.order == "row_major":
            places = inside.reshape(shape[2:])
        else:
            places = inside.reshape(shape[:1:-1]).T
        before = np.arange(prod(shape[:2])) * (prod(shape[2:]) if self.whole else 0)
        counts: NDArray[np.int64] = before.reshape(*shape[:2], *(1,) * len(shape[2:])) + places
        return counts

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: a NaN beats everything but another NaN; of equals the first stays."""
        x = inputs[0]
        window = self.window(TensorType.plain(x.shape))
        names = [f"k{letter}" for letter in spatial_letters(len(window.kernel))]
        with build.grid() as (n, c, *position):
            # Where all are -inf no element is better than the start: it is the first one then.
            first = self._count(x.shape, n, c, _first_inside(window, position))
            best = build.register("best", x.dtype, Const(-np.inf, x.dtype))
            place = build.register("place", DType.I64, number(first, DType.I64))
            with build.loops(names, window.kernel, reduces=True) as tap:
                where = window.position(position, tap)
                value = build.let("value", build.padded(x, (n, c, *where), -np.inf))
                old = build.let("old", best[()])
                first_nan = both(compare("ne", value, value), compare("eq", old, old))
                wins = build.let("wins", binary("or", compare("lt", old, value), first_nan))
                here = number(self._count(x.shape, n, c, where), DType.I64)
                build.store(place, (), select(wins, here, place[()]))
                build.store(best, (), select(wins, value, old))
            build.result((n, c, *position), place[()])

    def _count(self, shape: Shape, n: Expr, c: Expr, where: Sequence[Expr]) -> Expr:
        """What the element at a position is counted as."""
        axes = list(zip(where, shape[2:], strict=True))
        count: Expr = n * shape[1] + c if self.whole else Const(0)
        if self.whole:
            count = count * prod(shape[2:])
        inner: Expr = Const(0)
        for at, extent in axes if self.order == "row_major" else reversed(axes):
            inner = inner * extent + at
        return count + inner

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: 0 where the winner is certain, all that counts where it is not.

        It is certain if no other element can reach it with both errors, or if there are none.
        """
        x = inputs[0]
        window = self.window(TensorType.plain(x.shape))
        counts = np.broadcast_to(self._counts(x.shape), x.shape).astype(float)
        lowest, rival = np.full(out.shape, -np.inf), np.full(out.shape, -np.inf)
        certain = np.ones(out.shape, np.bool_)
        under = [window.taps(each, fill) for each, fill in ((x, -np.inf), (errors[0], 0.0))]
        for (_, count), (_, value), (_, error) in zip(
            window.taps(counts, -1.0), *under, strict=True
        ):
            is_winner = count == out
            lowest = np.where(is_winner, value - error, lowest)
            rival = np.where(is_winner, rival, np.fmax(rival, value + error))
            certain &= error == 0
        certain |= (rival < lowest) | np.isnan(lowest)
        return np.where(certain, 0.0, counts.max() + 1)

    def nest(self, out: TensorType, *inputs: TensorType) -> Nest:
        """See Operator."""
        window = self.window(inputs[0])
        strided, taps = max(window.stride) > 1, window.kernel[-1]
        return Nest(out.spatial, per_channel=True, strided=strided, taps=taps, temporaries=5)

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        if self.size and inputs[0].channels > FEW_CHANNELS:
            return Blocking((lanes,), lanes)  # windows in rows are read one by one: a copy pays
        return Blocking((lanes, 1), lanes, follows=True)

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator: where a sample lies counts."""
        return self.whole

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        ones, uneven = Padding(explicit=((1, 1),)), Padding(explicit=((1, 2), (0, 1)))
        cases: list[tuple[PoolArgMax, Shape]] = [
            (cls((1,)), (1, 1, 1, 1)),
            (cls((2,)), (2, 3, 7, 6)),
            (cls((3,), (2,), ones), (1, 19, 9, 8)),
            (cls((3, 2), (2, 3), uneven, (2, 1), ceil=True, whole=True), (2, 4, 9, 8)),
            (cls(()), (2, 5, 13)),
            (cls((3,), (1,), Padding("same"), order="column_major"), (2, 18, 5, 4)),
            (cls((2,), ceil=True, order="column_major", whole=True), (2, 3, 3, 4, 5)),
        ]
        return tuple(Sample(op, (shape,)) for op, shape in cases)


def _first_inside(window: Window, position: Sequence[Expr]) -> tuple[Expr, ...]:
    """Where the first tap inside the input reads."""
    found = []
    for axis, at in enumerate(position):
        start = at * window.stride[axis] - window.pads[axis][0]
        step = window.dilation[axis]
        outside = maximum((step - 1 - start) // step, 0)
        found.append(start + outside * step)
    return tuple(found)
