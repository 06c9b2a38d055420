"""Splitting."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Axis, Kind, Value, whole
from cnnc.ops.axes import resolve_axis
from cnnc.ops.movement.slice import Slice
from cnnc.ops.spec import Composite, Operator, Sample, attr, operator


@dataclass(frozen=True)
class PartsKind(Kind[int | tuple[int, ...]]):
    """How many equal parts, or a list of their extents."""

    def parse(self, value: Value) -> int | tuple[int, ...]:
        """See Kind."""
        parts = value if isinstance(value, tuple) else (value,)
        found = tuple(n for n in map(whole, parts) if n is not None and 1 <= n < 2**31)
        if not parts or len(found) != len(parts):
            raise self.refuse(value)
        return found if isinstance(value, tuple) else found[0]

    def describe(self) -> str:
        """See Kind."""
        return "how many equal parts, an integer ≥ 1, or a list with the extent of each"


@operator("split")
class Split(Composite):
    """A list of parts that follow each other along an axis: `a, b = x -> split([16, 48])`.

    A number asks for so many equal parts. Each part is a `slice`; what nobody reads is not made.
    """

    parts: int | tuple[int, ...] = attr(PartsKind(), doc="number of parts, or extent of each")
    axis: int = attr(Axis(), doc="axis that is cut", default=1)

    def sizes(self, x: TensorType) -> tuple[int, ...]:
        """The extents of the parts; OpError where they do not add up."""
        axis = resolve_axis(self.axis, x.rank)
        extent, parts = x.shape[axis], self.parts
        if isinstance(parts, tuple):
            if sum(parts) != extent:
                raise OpError(
                    "the parts do not fill the axis",
                    at="parts",
                    note=f"{' + '.join(map(str, parts))} = {sum(parts)}, axis {axis} has {extent}",
                )
            return parts
        size, rest = divmod(extent, parts)
        if rest or not size:
            raise OpError(
                f"{extent} elements along axis {axis} do not make {parts} equal parts",
                at="parts",
                note=f"{extent} = {size} × {parts} + {rest}",
                help="give the extent of each part as a list",
            )
        return (size,) * parts

    def expand(self, *inputs: TensorType) -> tuple[Operator, ...]:
        """See Composite."""
        sizes = self.sizes(inputs[0])
        axis = resolve_axis(self.axis, inputs[0].rank)
        ends = accumulate(sizes)
        return tuple(
            Slice((axis,), (end - size,), (end,)) for size, end in zip(sizes, ends, strict=True)
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(1), ((1, 1),)),
            Sample(cls(2), ((2, 32, 3, 3),)),
            Sample(cls((16, 1, 2)), ((1, 19, 5),)),
            Sample(cls((1, 4), -1), ((2, 3, 5),)),
        )
