"""Instance normalisation."""

from collections.abc import Sequence

from cnnc.base.layout import Layout, Shape
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import grid_names
from cnnc.ops.attributes import Flag, Number
from cnnc.ops.normalisation.moments import Lines, Normalisation, check_channels
from cnnc.ops.spec import Blocking, Sample, attr, operator


@operator("instance_norm")
class InstanceNorm(Normalisation):
    """Normalisation of every channel of every sample over its positions:
    y = (x - mean) / √(var + eps) * weight + bias.

    Reads [N, C, *spatial]; `weight` and `bias` are [C], with `affine = false` there are none.
    """

    eps: float = attr(Number(minimum=0), doc="added to the variance", default=1e-5)
    affine: bool = attr(Flag(), doc="whether there are weight and bias", default=True)

    def lines(self, shape: Shape) -> Lines:
        """See Normalisation."""
        check_channels(shape)
        if len(shape) < 3:
            raise OpError(
                "the operand has no spatial axes",
                at=0,
                note=f"its shape is {list(shape)}; instance_norm needs [N, C, length] or more",
            )
        return Lines(shape, tuple(range(2, len(shape))), grid_names(len(shape)))

    def parameter_axes(self, rank: int) -> tuple[int, ...]:
        """See Normalisation."""
        return (1,)

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator: every channel on its own."""
        return Blocking((lanes, 1), lanes, follows=True)

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """See Operator."""
        return (Layout.blocked(1, 0, write),) * (2 if self.affine else 0)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1, 1),)),
            Sample(cls(), ((2, 3, 33),)),
            Sample(cls(0.1), ((2, 17, 5, 7),)),
            Sample(cls(affine=False), ((1, 32, 3, 4),)),
            Sample(cls(), ((1, 5, 2, 3, 18),)),
        )
