"""Softmax."""

from collections.abc import Sequence

import numpy as np

from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const, Expr, call, maximum
from cnnc.ops.attributes import Axis
from cnnc.ops.axes import axis_names, resolve_axis
from cnnc.ops.pointwise import FUNCTION
from cnnc.ops.spec import Operator, Real, Sample, attr, check_floats, gamma, operator


@operator("softmax")
class Softmax(Operator):
    """exp(x) / sum of exp(x) along an axis; the largest x is subtracted first.

    Large x do not overflow. A NaN or +inf makes its whole line NaN, -inf gives 0.
    """

    axis: int = attr(Axis(), doc="axis along which results sum to 1", default=1)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        check_floats(inputs)
        resolve_axis(self.axis, inputs[0].rank)
        return inputs[0].with_shape(inputs[0].shape)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        with np.errstate(invalid="ignore"):
            e = np.exp(inputs[0] - inputs[0].max(axis=self.axis, keepdims=True))
        y: Real = e / e.sum(axis=self.axis, keepdims=True)
        return y

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
            scale = build.let("scale", 1.0 / total[()])
            with build.loop(name, extent) as i:
                build.result(place(i), call("exp", x[place(i)] - largest[()]) * scale)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: every exp is off by its own roundings and those of its argument.

        Errors of x move a result by at most a factor exp(own error + largest error of the line).
        """
        axis = self.axis
        with np.errstate(invalid="ignore"):
            down = np.abs(inputs[0] - inputs[0].max(axis=axis, keepdims=True))
        moved = errors[0] + errors[0].max(axis=axis, keepdims=True)
        exps = np.expm1(unit * (down + moved)) + FUNCTION * unit
        # Far below the maximum exp underflows to zero: more than its whole value is never lost.
        exps = np.minimum(exps, 1)
        total = (out * exps).sum(axis=axis, keepdims=True) + gamma(out.shape[axis] + 2, unit)
        own = np.expm1(moved)
        bound: Real = out * (own + (1 + own) * (exps + total) * (1 + 4 * unit + total))
        return bound

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator."""
        return resolve_axis(self.axis, inputs[0].rank) == 0

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1),)),
            Sample(cls(), ((3, 33),)),
            Sample(cls(), ((2, 17, 3, 5),)),
            Sample(cls(-1), ((2, 3, 9),)),
            Sample(cls(2), ((1, 4, 7, 3),)),
            Sample(cls(0), ((5, 3),)),
        )
