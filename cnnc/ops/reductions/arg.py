"""Where the extremes are."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, cast

import numpy as np

from cnnc.base.dtype import DType
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder, both, number
from cnnc.loop.expr import Buffer, Const, Expr, binary, compare, select
from cnnc.ops.attributes import Axis, Flag
from cnnc.ops.axes import resolve_axis
from cnnc.ops.reductions.lines import along, block_of, without
from cnnc.ops.spec import Blocking, Operator, Real, Sample, attr, check_floats, operator


class ArgExtreme(Operator):
    """The index of an extreme along an axis, as i64."""

    start: ClassVar[float]
    """What every number is better than, or as good as."""

    axis: int
    keep: bool

    @abstractmethod
    def beats(self, new: Expr, best: Expr) -> Expr:
        """Whether a number is better than the best so far."""

    @abstractmethod
    def upright(self, x: Real) -> Real:
        """The elements so that the extreme is the largest."""

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        check_floats(inputs)
        x = inputs[0]
        axis = resolve_axis(self.axis, x.rank)
        return TensorType.plain(without(x.shape, [axis], keep=self.keep, at="axis"), DType.I64)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        found = np.argmax(self.upright(inputs[0]), axis=self.axis, keepdims=self.keep)
        return cast(Real, found.astype(np.int64))

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: 0 where the winner is certain, the axis' extent where it is not.

        It is certain if no other element can reach it with both errors, or if there are none.
        """
        axis, x = self.axis, self.upright(inputs[0])
        winner = np.argmax(x, axis=axis, keepdims=True)
        lowest = np.take_along_axis(x - errors[0], winner, axis)
        rivals = (x + errors[0]).copy()
        np.put_along_axis(rivals, winner, -np.inf, axis)
        best = np.take_along_axis(x, winner, axis)
        certain = (rivals.max(axis, keepdims=True) < lowest) | np.isnan(best)
        certain |= ~errors[0].any(axis, keepdims=True)
        bound: Real = np.where(certain, 0.0, float(x.shape[axis]))
        return bound.reshape(out.shape)

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: a NaN beats everything but another NaN; of equals the first stays."""
        x = inputs[0]
        axis = resolve_axis(self.axis, len(x.shape))
        with build.grid() as index:
            best = build.register("best", x.dtype, Const(self.start, x.dtype))
            place = build.register("place", DType.I64, Const(0, DType.I64))
            with along(build, index, x.shape, [axis], keep=self.keep) as where:
                value, old = build.let("value", x[where]), build.let("old", best[()])
                first_nan = both(compare("ne", value, value), compare("eq", old, old))
                wins = build.let("wins", binary("or", self.beats(value, old), first_nan))
                here = number(where[axis], DType.I64)
                build.store(place, (), select(wins, here, place[()]))
                build.store(best, (), select(wins, value, old))
            build.result(index, place[()])

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return block_of(lanes, inputs[0], [resolve_axis(self.axis, inputs[0].rank)])

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator."""
        return resolve_axis(self.axis, inputs[0].rank) == 0

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        cases = [
            ({}, (3, 10)),
            ({}, (2, 5, 3, 21)),
            ({"axis": -1, "keep": True}, (2, 19, 3)),
            ({"axis": 2}, (1, 17, 6, 5)),
            ({"axis": 0}, (4, 3)),
            ({"axis": 2}, (2, 3, 1)),
        ]
        return tuple(Sample(cls(**values), (shape,)) for values, shape in cases)


@operator("argmax")
class ArgMax(ArgExtreme):
    """The index of the largest element along an axis, as i64; of equals the first, or of the NaN.

    The axis vanishes, unless `keep` leaves it with an extent of 1.
    """

    start: ClassVar[float] = -np.inf

    axis: int = attr(Axis(), doc="axis to look along", default=1)
    keep: bool = attr(Flag(), doc="whether the axis stays, with an extent of 1", default=False)

    def beats(self, new: Expr, best: Expr) -> Expr:
        """See ArgExtreme."""
        return compare("lt", best, new)

    def upright(self, x: Real) -> Real:
        """See ArgExtreme."""
        return x


@operator("argmin")
class ArgMin(ArgExtreme):
    """The index of the smallest element along an axis, as i64; of equals the first, or of the NaN.

    The axis vanishes, unless `keep` leaves it with an extent of 1.
    """

    start: ClassVar[float] = np.inf

    axis: int = attr(Axis(), doc="axis to look along", default=1)
    keep: bool = attr(Flag(), doc="whether the axis stays, with an extent of 1", default=False)

    def beats(self, new: Expr, best: Expr) -> Expr:
        """See ArgExtreme."""
        return compare("lt", new, best)

    def upright(self, x: Real) -> Real:
        """See ArgExtreme."""
        return -x
