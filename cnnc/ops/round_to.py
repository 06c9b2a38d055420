"""Rounding to what a narrower type of floating point holds."""

from collections.abc import Sequence

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.half import HALVES
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Cast, Const, Expr, call, compare, select
from cnnc.ops.attributes import Choice
from cnnc.ops.pointwise import Activation
from cnnc.ops.spec import Real, Sample, attr, operator


@operator("round_to")
class RoundTo(Activation):
    """The nearest number that a narrower type holds, of two the even one.

    The result has the operand's type. Subnormal numbers of the narrower type are among those that
    it holds; what rounds to more than its largest number becomes infinite.
    """

    type: str = attr(Choice(tuple(HALVES)), doc="the narrower type")

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        narrow = HALVES[self.type]
        digits, least, largest = narrow.digits, narrow.least, narrow.largest
        x = inputs[0]
        exponent = np.maximum(np.frexp(x)[1] - 1, least)
        step = np.ldexp(1.0, exponent - digits)
        with np.errstate(all="ignore"):
            near = np.where(np.isfinite(x), np.rint(x / step) * step, x)
        return np.copysign(np.where(np.abs(near) > largest, np.inf, near), x)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise: what is added has no room for the digits that go, in f64."""
        narrow = HALVES[self.type]
        digits, least, largest = narrow.digits, narrow.least, narrow.largest
        x = build.let("x", args[0] if args[0].dtype is DType.F64 else Cast(args[0], DType.F64))
        size = build.let("size", call("abs", x))
        # beyond the largest number, and for NaN, any exponent will do
        smallest, beyond = Const(2.0**least, DType.F64), Const(2.0 * largest, DType.F64)
        normal = select(size > 2.0**least, select(size < 2 * largest, size, beyond), smallest)
        exponent = call("exponent", build.let("normal", normal))
        above = Const(2.0 ** (52 - digits), DType.F64)
        room = build.let("room", call("ldexp", above, exponent))
        near: Expr = build.let("near", (size + room) - room)
        near = select(near > largest, Const(np.inf, DType.F64), near)
        near = select(compare("ne", x, x), x, call("copysign", near, x))
        dtype = args[0].dtype
        return near if dtype is DType.F64 or dtype is None else Cast(near, dtype)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: both round, at most by half a step each, and at the end to infinity."""
        narrow = HALVES[self.type]
        digits, least, largest = narrow.digits, narrow.least, narrow.largest
        reach = np.abs(inputs[0]) + errors[0]
        steps = 2.0**-digits * np.maximum(reach, 2.0**least)
        bound = np.where(reach + steps > largest, np.inf, errors[0] + steps)
        return np.where(errors[0] > 0, bound, 0.0)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        shapes = [(1, 1), (2, 33), (1, 5, 13), (2, 3, 5, 7)]
        return tuple(Sample(cls(kind), (shape,)) for kind in HALVES for shape in shapes)
