"""Local response normalisation."""

from collections.abc import Sequence

import numpy as np

from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const, Expr, Fma, call
from cnnc.ops.attributes import Integer, Number
from cnnc.ops.normalisation.moments import check_channels
from cnnc.ops.pointwise import FUNCTION
from cnnc.ops.spec import Operator, Real, Sample, attr, check_floats, gamma, operator


@operator("lrn")
class Lrn(Operator):
    """Local response normalisation across channels:
    y[c] = x[c] / (k + alpha / size * sum over j of x[j]²)^beta.

    The sum runs over `size` channels from c - (size - 1) // 2 on, as far as they exist; alpha is
    divided by `size` even where some do not. Reads [N, C, *spatial] or [N, C].
    """

    size: int = attr(Integer(), doc="channels that are summed")
    alpha: float = attr(Number(minimum=0), doc="scale of the sum", default=1e-4)
    beta: float = attr(Number(minimum=0), doc="exponent", default=0.75)
    k: float = attr(Number(above=0), doc="added to the sum", default=1.0)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        check_floats(inputs)
        check_channels(inputs[0].shape)
        return inputs[0].with_shape(inputs[0].shape)

    def _reach(self, channels: int) -> tuple[int, int]:
        """Channels before and after its own that a sum may hold."""
        before = (self.size - 1) // 2
        return min(before, channels - 1), min(self.size - 1 - before, channels - 1)

    def _sum(self, x: Real) -> Real:
        """The sum over the channels around each one."""
        channels = x.shape[1]
        before, after = self._reach(channels)
        total = np.zeros_like(x)
        for shift in range(-before, after + 1):
            low, high = max(0, -shift), min(channels, channels - shift)
            total[:, low:high] += x[:, low + shift : high + shift]
        return total

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x = inputs[0]
        base = self.k + self.alpha / self.size * self._sum(x * x)
        y: Real = x * base**-self.beta
        return y

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        x = inputs[0]
        before, after = self._reach(x.shape[1])
        with build.grid() as (n, c, *position):
            total = build.register("acc", x.dtype, Const(0.0, x.dtype))
            with build.loop("ic", before + after + 1, reduces=True) as j:
                value = build.padded(x, (n, c + j - before, *position), 0.0)
                build.store(total, (), Fma(value, value, total[()]))
            base = total[()] * (self.alpha / self.size) + self.k
            value = x[(n, c, *position)]
            build.result((n, c, *position), self._divided(build, value, base))

    def _divided(self, build: KernelBuilder, value: Expr, base: Expr) -> Expr:
        """value / base^beta: the exponents that networks have need roots only."""
        if self.beta == 1:
            return value / base
        if self.beta not in (0.5, 0.75):
            return value * call("pow", base, Const(-self.beta, base.dtype))
        root = build.let("root", call("sqrt", base))
        return value / root if self.beta == 0.5 else value / (root * call("sqrt", root))

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the base of the power is off by a share of itself, its exponent by u.

        It is never smaller than k, so a result is at most |x| / k^beta.
        """
        x, moved = np.abs(inputs[0]), errors[0]
        with np.errstate(all="ignore"):
            scale, around = self.alpha / self.size, sum(self._reach(x.shape[1])) + 1
            base = self.k + scale * self._sum(x * x)
            cross = scale * self._sum(2 * x * moved + moved**2)
            share = (cross + gamma(around + 3, unit) * (base + cross)) / base
            power = np.where(share < 1, (1 - np.minimum(share, 1)) ** -self.beta, np.inf)
            # The rounded exponent, alpha and k move the power by as many roundings of its exponent.
            rounded = np.expm1(unit * self.beta * (np.abs(np.log(base)) + 2))
            relative = power * (1 + rounded) * (1 + (FUNCTION + 2) * unit) - 1
            bound = np.abs(out) * relative + moved * base**-self.beta * (1 + relative)
            largest = (x + moved) * self.k**-self.beta * (1 + gamma(FUNCTION + 8, unit))
            result: Real = np.fmin(bound, np.abs(out) + largest)
        return result

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(1), ((1, 1),)),
            Sample(cls(5, 0.5), ((2, 17, 3, 5),)),
            Sample(cls(4, 1.0, 0.5, 2.0), ((1, 7, 2, 19),)),
            Sample(cls(9, 0.1, 1.0), ((2, 3, 4),)),
            Sample(cls(3, 2.0), ((1, 33),)),
        )
