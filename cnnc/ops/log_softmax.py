"""The logarithm of softmax."""

from collections.abc import Callable, Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Expr, call
from cnnc.ops.attributes import Axis
from cnnc.ops.pointwise import FUNCTION
from cnnc.ops.softmax import Exponentials, error_of_exponentials, moved_along
from cnnc.ops.spec import Real, attr, gamma, operator


@operator("log_softmax")
class LogSoftmax(Exponentials):
    """log(softmax(x)) along an axis, as d - log(sum of exp(d)) with d = x - max x.

    Neither large x nor small probabilities overflow: [0, 1000] gives [-1000, 0]. A NaN or +inf
    makes its whole line NaN, -inf gives -inf.
    """

    axis: int = attr(Axis(), doc="axis along which exponentials sum to 1", default=1)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        with np.errstate(invalid="ignore"):
            down = inputs[0] - inputs[0].max(axis=self.axis, keepdims=True)
            y: Real = down - np.log(np.exp(down).sum(axis=self.axis, keepdims=True))
        return y

    def finish(self, build: KernelBuilder, total: Buffer) -> Callable[[Expr], Expr]:
        """See Exponentials."""
        build.store(total, (), call("log", total[()]))
        return lambda down: down - total[()]

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: log turns the relative error of the sum into an absolute one.

        Errors of x move a result by at most own error + largest error of the line.
        """
        axis = self.axis
        moved = moved_along(errors[0], axis)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            down = np.abs(inputs[0] - inputs[0].max(axis=axis, keepdims=True))
            exps = error_of_exponentials(unit, inputs[0], moved, axis)
            # Weights of a line that errors of x have moved: at most these, and at most 1.
            shares = np.minimum(np.exp(out + moved), 1)
            total = (shares * exps).sum(axis=axis, keepdims=True) + gamma(out.shape[axis], unit)
            total = -np.log1p(-np.minimum(total, 1))
            log = np.log(out.shape[axis]) + moved
            bound: Real = (
                moved
                + total
                + unit * (down + moved + FUNCTION * (log + total) + np.abs(out) + moved)
            )
        return bound
