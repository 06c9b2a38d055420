"""Group normalisation."""

from collections.abc import Sequence

from cnnc.base.layout import Shape
from cnnc.ir.graph import OpError
from cnnc.loop.build import grid_names
from cnnc.ops.attributes import Flag, Integer, Number
from cnnc.ops.normalisation.moments import Lines, Normalisation, check_channels
from cnnc.ops.spec import Sample, attr, operator


@operator("group_norm")
class GroupNorm(Normalisation):
    """Normalisation of every sample over the positions of each group of channels:
    y = (x - mean) / √(var + eps) * weight + bias.

    Reads [N, C, *spatial] or [N, C]; `weight` and `bias` are [C], with `affine = false` there are
    none. One group is layer normalisation of the whole sample but for its weights.
    """

    groups: int = attr(Integer(), doc="channels are split into this many groups")
    eps: float = attr(Number(minimum=0), doc="added to the variance", default=1e-5)
    affine: bool = attr(Flag(), doc="whether there are weight and bias", default=True)

    def lines(self, shape: Shape) -> Lines:
        """See Normalisation."""
        check_channels(shape)
        channels, groups = shape[1], self.groups
        if channels % groups:
            raise OpError(
                f"{groups} groups do not divide {channels} channels",
                at="groups",
                note=f"{channels} = {channels // groups} × {groups} + {channels % groups}",
            )
        n, _, *spatial = grid_names(len(shape))
        view = (shape[0], groups, channels // groups, *shape[2:])
        return Lines(view, tuple(range(2, len(view))), (n, "g", "ic", *spatial), True)

    def parameter_axes(self, rank: int) -> tuple[int, ...]:
        """See Normalisation."""
        return (1,)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(1), ((1, 1),)),
            Sample(cls(3), ((2, 12),)),
            Sample(cls(2), ((2, 6, 9),)),
            Sample(cls(4, 0.1), ((2, 32, 5, 7),)),
            Sample(cls(2, affine=False), ((1, 34, 3, 20),)),
            Sample(cls(5), ((1, 5, 2, 3, 4),)),
        )
