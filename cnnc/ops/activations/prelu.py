"""The rectifier with trained slopes."""

from collections.abc import Sequence

import numpy as np

from cnnc.base.layout import Layout, Shape
from cnnc.ir.graph import Initial, OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const, Expr, select
from cnnc.ops.attributes import Flag
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import ParameterSpec, Real, Sample, attr, check_floats, operator


@operator("prelu")
class Prelu(Pointwise):
    """x where x ≥ 0, otherwise weight * x, with a trained slope for each channel.

    Reads [N, C, *spatial] or [N, C]; `weight` is [C], or [1] where it is `shared`, and starts at
    0.25 (He et al., "Delving deep into rectifiers", ICCV 2015). PyTorch's PReLU() is shared. NaN
    and -0 are kept.
    """

    shared: bool = attr(Flag(), doc="whether all channels have one slope", default=False)

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator."""
        x = inputs[0]
        if x.rank < 2:
            raise OpError("the operand has no channels", at=0, note=f"its shape is {list(x.shape)}")
        weight = TensorType.plain((1 if self.shared else x.channels,), x.dtype)
        return (ParameterSpec("weight", weight, Initial("quarters")),)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator: a weight may have axes of extent 1 around its channels."""
        check_floats(inputs)
        channels = self.parameters(*inputs[:1])[0].type.shape[0]
        x, weight = inputs
        ones = [1] * (weight.rank - 1)
        fits = weight.shape == (channels, *ones) or (
            weight.rank == x.rank and weight.shape == (1, channels, *ones[1:])
        )
        if not fits or weight.dtype != x.dtype:
            raise OpError("the slopes must be one for each channel", at=1, note=f"it is {weight}")
        return x.with_shape(x.shape)

    def broadcasts(self, *inputs: TensorType) -> bool:
        """See Pointwise: the channels of `weight` must stand before as many axes as those of x."""
        x, weight = inputs
        return weight.elements == 1 or weight.rank == x.rank - 1 or weight.shape[0] == 1

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        x = inputs[0]
        with np.errstate(invalid="ignore"):
            return np.where(x < 0, _slopes(inputs) * x, x)

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        x, weight = inputs
        with build.grid() as (n, c, *position):
            channel = Const(0) if weight.shape[0] == 1 else c
            slope = weight[(channel, *[Const(0)] * (len(weight.shape) - 1))]
            index = (n, c, *position)
            build.result(index, self.element(build, x[index], slope))

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        x, slope = args
        return select(x < 0, x * slope, x)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: the slope's error too, and a rounding."""
        slope, slope_error = _slopes(inputs), _slopes(errors)
        steepest = np.maximum(1, np.abs(slope) + slope_error)
        carried = steepest * errors[0] + np.maximum(-inputs[0], 0) * slope_error
        return carried + unit * (np.abs(out) + carried)

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """See Operator."""
        rank = inputs[1].rank if len(inputs) > 1 else 1
        return (Layout.plain(rank) if self.shared else Layout.blocked(rank, 0, write),)

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator."""
        return False

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        shapes: list[Shape] = [(1, 1), (3, 19), (1, 17, 9), (2, 3, 5, 7), (1, 32, 2, 3)]
        shared = Sample(cls(shared=True), ((2, 17, 3, 5),))
        return (*(Sample(cls(), (shape,)) for shape in shapes), shared)


def _slopes(operands: Sequence[Real]) -> Real:
    """The weight, shaped to broadcast along the channels of operand 0."""
    return operands[1].reshape(-1, *(1,) * (operands[0].ndim - 2))
