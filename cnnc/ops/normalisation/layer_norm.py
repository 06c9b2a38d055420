"""Layer normalisation."""

from collections.abc import Sequence

from cnnc.base.layout import Shape
from cnnc.ir.graph import OpError
from cnnc.loop.build import grid_names
from cnnc.ops.attributes import Axes, Flag, Number
from cnnc.ops.axes import resolve_axes
from cnnc.ops.normalisation.moments import Lines, Normalisation
from cnnc.ops.spec import Sample, attr, operator


@operator("layer_norm")
class LayerNorm(Normalisation):
    """Normalisation over the given axes, every place along the others on its own:
    y = (x - mean) / √(var + eps) * weight + bias.

    `weight` and `bias` have the extents of the axes, in ascending order; with `affine = false`
    there are none. `layer_norm(1)` normalises the channels at every position,
    `layer_norm([1, 2, 3])` every image, `layer_norm(-1)` every row.
    """

    axes: tuple[int, ...] = attr(Axes(), doc="axes that are normalised together")
    eps: float = attr(Number(minimum=0), doc="added to the variance", default=1e-5)
    affine: bool = attr(Flag(), doc="whether there are weight and bias", default=True)

    def lines(self, shape: Shape) -> Lines:
        """See Normalisation."""
        axes = resolve_axes(self.axes, len(shape))
        if 0 in axes:
            raise OpError(
                "the batch cannot be normalised",
                at="axes",
                note="samples do not depend on each other",
                help="leave out axis 0",
            )
        return Lines(shape, axes, grid_names(len(shape)))

    def parameter_axes(self, rank: int) -> tuple[int, ...]:
        """See Normalisation."""
        return resolve_axes(self.axes, rank)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls((1,)), ((1, 1),)),
            Sample(cls((-1,)), ((3, 33),)),
            Sample(cls((1,)), ((2, 17, 3, 20),)),
            Sample(cls((-1,), 0.1), ((2, 3, 19),)),
            Sample(cls((1, 2, 3)), ((2, 4, 3, 18),)),
            Sample(cls((1, -1), affine=False), ((1, 5, 3, 7),)),
            Sample(cls((2, 3)), ((2, 3, 4, 5, 2),)),
        )
