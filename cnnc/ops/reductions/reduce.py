"""Sums, means, extremes and norms along axes."""

from collections.abc import Sequence
from math import prod

from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const
from cnnc.ops.attributes import Axes, Flag
from cnnc.ops.axes import resolve_axes
from cnnc.ops.reductions.lines import along, block_of, without
from cnnc.ops.reductions.reduce_kinds import KINDS, Reducer, ReducerKind
from cnnc.ops.spec import Blocking, Operator, Real, Sample, attr, check_floats, operator


@operator("reduce")
class Reduce(Operator):
    """One number for all elements along the axes: `x -> reduce(mean, [2, 3])`.

    `mean`, `sum`, `max`, `min`, `l1` (the sum of |x|) or `l2` (the root of the sum of x²). A NaN
    among the elements is the result. The axes vanish, unless `keep` leaves them with an extent
    of 1.
    """

    kind: Reducer = attr(ReducerKind(), doc="what becomes of the elements")
    axes: tuple[int, ...] = attr(Axes(), doc="axes that are taken away")
    keep: bool = attr(Flag(), doc="whether the axes stay, with an extent of 1", default=False)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        check_floats(inputs)
        over = resolve_axes(self.axes, inputs[0].rank)
        return inputs[0].with_shape(without(inputs[0].shape, over, keep=self.keep, at="axes"))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return self._shaped(self.kind.reference(inputs[0], self._over(inputs[0])), inputs[0])

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator."""
        x = inputs[0]
        return self._shaped(self.kind.error(unit, x, errors[0], self._over(x)), x)

    def _over(self, x: Real) -> tuple[int, ...]:
        return resolve_axes(self.axes, x.ndim)

    def _shaped(self, kept: Real, x: Real) -> Real:
        return kept.reshape(without(x.shape, self._over(x), keep=self.keep, at="axes"))

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        x = inputs[0]
        over = resolve_axes(self.axes, len(x.shape))
        with build.grid() as index:
            total = build.register("acc", x.dtype, Const(self.kind.start, x.dtype))
            with along(build, index, x.shape, over, keep=self.keep) as place:
                build.store(total, (), self.kind.join(build, total[()], x[place]))
            count = prod(x.shape[axis] for axis in over)
            build.result(index, self.kind.finish(total[()], count))

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return block_of(lanes, inputs[0], resolve_axes(self.axes, inputs[0].rank))

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator."""
        return 0 in resolve_axes(self.axes, inputs[0].rank)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        cases = [
            ("mean", (2, 3), False, (2, 19, 5, 7)),
            ("mean", (2, 3), True, (1, 34, 3, 4)),
            ("mean", (-1,), False, (2, 5, 3, 37)),
            ("mean", (1,), False, (3, 9)),
            ("mean", (2,), True, (2, 3, 1)),
            ("sum", (1,), False, (2, 5, 3, 21)),
            ("sum", (0,), False, (4, 3, 18)),
            ("sum", (0, 1, 2), True, (2, 3, 4)),
            ("max", (1,), True, (2, 17, 3, 4)),
            ("max", (2,), False, (2, 18, 6)),
            ("min", (1, 3), False, (2, 3, 4, 5)),
            ("min", (1, 2, 3), False, (3, 2, 3, 4)),
            ("l1", (-2, -1), False, (1, 3, 4, 5, 6)),
            ("l2", (1,), False, (2, 33, 19)),
            ("l2", (2, 3), True, (1, 5, 3, 3)),
        ]
        return tuple(
            Sample(cls(KINDS[kind], axes, keep), (shape,)) for kind, axes, keep, shape in cases
        )
