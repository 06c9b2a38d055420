"""Powers."""

from collections.abc import Sequence

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr, call
from cnnc.ops.pointwise import FUNCTION, Pointwise
from cnnc.ops.spec import Real, Sample, operator


@operator("pow", arity=(2, 2))
class Pow(Pointwise):
    """a to the power of b; `a ^ b` is the same. Special cases are those of C and ONNX.

    A negative a with a whole b is a signed power, with any other finite b NaN. pow(a, 0) and
    pow(1, b) are 1 even for NaN. pow(±0, b) with b < 0 is infinite, negative only for -0 and odd b.
    """

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        a, b = inputs
        with np.errstate(all="ignore"):
            y = np.power(a, b)
        # NumPy takes √a where b is a single 1/2: another result at -0 and -inf.
        return np.where((b == 0.5) & ((a == 0) | np.isneginf(a)), np.abs(a), y)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return call("pow", *args)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: (|a| + error)^(b - 1) b error for an exact b ≥ 1, else by logarithms.

        Infinite where an operand's error reaches a pole, or numbers without a power.
        """
        (a, b), (a_error, b_error) = inputs, errors
        size = np.abs(a)
        with np.errstate(all="ignore"):
            nearer = np.where(a_error > 0, -np.log1p(-np.minimum(a_error / size, 1)), 0)
            turned = np.where(b_error > 0, b_error * (np.abs(np.log(size)) + nearer), 0)
            moved = np.where(nearer > 0, np.abs(b) * nearer, 0) + turned
            carried = np.abs(out) * np.expm1(moved)
            carried = np.where((a < 0) & (b_error > 0) | np.isnan(carried), np.inf, carried)
            is_smooth = (b_error == 0) & (b >= 1) & ((b == np.rint(b)) | (a >= a_error))
            straight = b * (size + a_error) ** (b - 1) * a_error
            carried = np.where(moved == 0, 0, np.where(is_smooth, straight, carried))
            bound = carried + FUNCTION * unit * (np.abs(out) + carried)
        return np.where(np.isfinite(carried), bound, np.inf)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1)), positive=True),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7)), positive=True),
            Sample(cls(), ((2, 17, 4, 5), (1, 17, 1, 1)), positive=True),
            Sample(cls(), ((9,), (2, 3, 9)), positive=True),
        )
