"""Softmax, and what its logarithm shares with it."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder, maximum
from cnnc.loop.expr import Buffer, Const, Expr, call
from cnnc.ops.attributes import Axis
from cnnc.ops.axes import axis_names, resolve_axis
from cnnc.ops.pointwise import FUNCTION
from cnnc.ops.spec import Operator, Real, Sample, attr, check_floats, gamma, operator


class Exponentials(Operator):
    """What is computed from x - max x and the sum of its exponentials, along an axis."""

    axis: int

    @abstractmethod
    def finish(self, build: KernelBuilder, total: Buffer) -> Callable[[Expr], Expr]:
        """From the sum of a line, in a register, to a function of x - max x: the results."""

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        check_floats(inputs)
        resolve_axis(self.axis, inputs[0].rank)
        return inputs[0].with_shape(inputs[0].shape)

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: a sweep for the maximum, one for the sum, one for the results."""
        x = inputs[0]
        axis = resolve_axis(self.axis, len(x.shape))
        extent, names = x.shape[axis], list(axis_names(len(x.shape)))
        name = names.pop(axis)
        others = (*x.shape[:axis], *x.shape[axis + 1 :])
        with build.loops(names, others) as outer:

            def place(along: Expr) -> tuple[Expr, ...]:
                return (*outer[:axis], along, *outer[axis:])

            largest = build.register("largest", x.dtype, Const(-np.inf, x.dtype))
            with build.loop(name, extent, reduces=True) as i:
                build.store(largest, (), maximum(largest[()], x[place(i)]))
            total = build.register("total", x.dtype, Const(0.0, x.dtype))
            with build.loop(name, extent, reduces=True) as i:
                grown = total[()] + call("exp", x[place(i)] - largest[()])
                build.store(total, (), grown)
            result = self.finish(build, total)
            with build.loop(name, extent) as i:
                build.result(place(i), result(x[place(i)] - largest[()]))

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator."""
        return resolve_axis(self.axis, inputs[0].rank) == 0

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        axes = {(2, 3, 9): -1, (1, 4, 7, 3): 2, (5, 3): 0}
        plain = tuple(Sample(cls(), (shape,)) for shape in [(1, 1), (3, 33), (2, 17, 3, 5)])
        return plain + tuple(
            Sample(cls.make({"axis": axis}), (shape,)) for shape, axis in axes.items()
        )


@operator("softmax")
class Softmax(Exponentials):
    """exp(x) / sum of exp(x) along an axis; the largest x is subtracted first.

    Large x do not overflow. A NaN or +inf makes its whole line NaN, -inf gives 0.
    """

    axis: int = attr(Axis(), doc="axis along which results sum to 1", default=1)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        with np.errstate(invalid="ignore"):
            e = np.exp(inputs[0] - inputs[0].max(axis=self.axis, keepdims=True))
        y: Real = e / e.sum(axis=self.axis, keepdims=True)
        return y

    def finish(self, build: KernelBuilder, total: Buffer) -> Callable[[Expr], Expr]:
        """See Exponentials."""
        build.store(total, (), 1.0 / total[()])
        return lambda down: call("exp", down) * total[()]

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: every exp is off by its own roundings and those of its argument.

        Errors of x move a result by at most a factor exp(own error + largest error of the line).
        """
        moved = moved_along(errors[0], self.axis)
        exps = error_of_exponentials(unit, inputs[0], moved, self.axis)
        total = (out * exps).sum(axis=self.axis, keepdims=True) + gamma(
            out.shape[self.axis] + 2, unit
        )
        own = np.expm1(moved)
        bound: Real = out * (own + (1 + own) * (exps + total) * (1 + 4 * unit + total))
        return bound


def moved_along(error: Real, axis: int) -> Real:
    """Bound on the error of x - max x, from that of x."""
    moved: Real = error + error.max(axis=axis, keepdims=True)
    return moved


def error_of_exponentials(unit: float, x: Real, moved: Real, axis: int) -> Real:
    """Bound on the relative error of exp(x - max x) beside what errors of x, up to `moved`, do.

    Far below the maximum exp underflows to zero: more than its whole value is never lost.
    """
    with np.errstate(invalid="ignore"):
        down = np.abs(x - x.max(axis=axis, keepdims=True))
        exps: Real = np.minimum(np.expm1(unit * (down + moved)) + FUNCTION * unit, 1)
    return exps
