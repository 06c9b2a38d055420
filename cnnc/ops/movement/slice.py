"""Slicing."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnnc.base.layout import Shape
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Expr
from cnnc.ops.attributes import Kind, Symbol, Value, whole
from cnnc.ops.axes import resolve_axis
from cnnc.ops.movement.movement import Movement, any_block, whole_blocks
from cnnc.ops.permuted_blocks import Source, permute_blocks
from cnnc.ops.spec import Blocking, Real, Sample, attr, operator

Bound = int | None
"""A position, negative ones from the end; None leaves it open."""


@dataclass(frozen=True)
class AxesKind(Kind[tuple[int, ...]]):
    """One axis by number, or a list of them."""

    def parse(self, value: Value) -> tuple[int, ...]:
        """See Kind."""
        found = _integers(value)
        if found is None or not all(abs(axis) <= 64 for axis in found):
            raise self.refuse(value)
        return found

    def describe(self) -> str:
        """See Kind."""
        return "an axis (0 is the batch, 1 the channels, -1 the last), or a list of axes"

    def unparse(self, field: tuple[int, ...]) -> Value:
        """See Kind."""
        return field[0] if len(field) == 1 else field


@dataclass(frozen=True)
class BoundsKind(Kind[tuple[Bound, ...]]):
    """A position along the axis or the word `open`, or a list with one for each axis."""

    keywords: Sequence[str] = ("open",)

    def parse(self, value: Value) -> tuple[Bound, ...]:
        """See Kind."""
        parts = value if isinstance(value, tuple) else (value,)
        found = [None if part == Symbol("open") else whole(part) for part in parts]
        for part, number in zip(parts, found, strict=True):
            is_open = part == Symbol("open")
            if not is_open and (number is None or abs(number) >= 2**31):
                raise self.refuse(value)
        if not parts:
            raise self.refuse(value)
        return tuple(found)

    def describe(self) -> str:
        """See Kind."""
        return "an integer (negative: from the end), open, or a list with one for each axis"

    def unparse(self, field: tuple[Bound, ...]) -> Value:
        """See Kind."""
        parts = tuple(Symbol("open") if part is None else part for part in field)
        return parts[0] if len(parts) == 1 else parts


@dataclass(frozen=True)
class StepsKind(AxesKind):
    """A whole number other than 0, or a list with one for each axis."""

    def parse(self, value: Value) -> tuple[int, ...]:
        """See Kind."""
        found = _integers(value)
        if found is None or not all(0 < abs(step) < 2**31 for step in found):
            raise self.refuse(value)
        return found

    def describe(self) -> str:
        """See Kind."""
        return "an integer other than 0, or a list with one for each axis"


@operator("slice")
class Slice(Movement):
    """The elements begin, begin + step, … before end along an axis, or along several.

    Positions count from 0, negative ones from the end, and those that lie outside are drawn to the
    nearest end, as NumPy does in x[begin:end:step]. With a negative step elements come backwards.
    An `open` begin or end goes as far as there are elements: `slice(-1, step = -1)` reverses the
    last axis. A slice without any element is an error.
    """

    axis: tuple[int, ...] = attr(AxesKind(), doc="axis that is cut, or axes")
    begin: tuple[Bound, ...] = attr(BoundsKind(), doc="first position", default=(None,))
    end: tuple[Bound, ...] = attr(BoundsKind(), doc="position behind the last", default=(None,))
    step: tuple[int, ...] = attr(StepsKind(), doc="distance between positions", default=(1,))

    def positions(self, shape: Shape) -> list[range]:
        """What is taken along each axis; OpError where that is nothing."""
        taken = [range(extent) for extent in shape]
        limits = [
            self._spread("begin", self.begin),
            self._spread("end", self.end),
            self._spread("step", self.step),
        ]
        seen: set[int] = set()
        for number, begin, end, step in zip(self.axis, *limits, strict=True):
            axis = resolve_axis(number, len(shape))
            if axis in seen:
                raise OpError(f"axis {axis} is given twice", at="axis")
            seen.add(axis)
            taken[axis] = range(*slice(begin, end, step).indices(shape[axis]))
            if not taken[axis]:
                raise OpError(
                    "the slice is empty",
                    at="end" if end is not None else "begin",
                    note=f"axis {axis} has {shape[axis]} elements, none of them in "
                    f"{_text(begin)}:{_text(end)}:{step}",
                )
        return taken

    def _spread(self, name: str, values: Sequence[Bound]) -> Sequence[Bound]:
        if len(values) == 1:
            return [values[0]] * len(self.axis)
        if len(values) != len(self.axis):
            raise OpError(
                f"{len(values)} numbers for {len(self.axis)} axes",
                at=name,
                help="give one number for all axes, or one for each",
            )
        return values

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        return inputs[0].with_shape(tuple(map(len, self.positions(inputs[0].shape))))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        result = inputs[0]
        for axis, taken in enumerate(self.positions(result.shape)):
            result = result.take(taken, axis=axis)
        return result

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        x, out = inputs[0], build.out
        taken = self.positions(x.shape)

        def source(index: Sequence[Expr]) -> list[Expr]:
            places = zip(index, taken, strict=True)
            return [part * each.step + each.start for part, each in places]

        def element(n: Expr, channel: Expr, position: Sequence[Expr]) -> Expr:
            sample, _, *places = source((n, channel, *position))
            return x[(sample, channel, *places)]

        if len(out.shape) > 1 and self.permuted_vectors(out.layout.block(1), x):
            permute_blocks(build, [Source(-taken[1].start, x.shape[1], element)])
            return
        with build.grid() as index:
            build.result(index, x[tuple(source(index))])

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator: blocks stay such; vectors that begin within one take others' lanes."""
        x = inputs[0]
        if x.rank < 2 or (channels := self.positions(x.shape)[1]) == range(x.channels):
            return Blocking((lanes, 1), lanes, follows=True)
        if channels.step != 1:
            return any_block(x)
        if x.layout.block(1) == lanes > 1:
            return Blocking((lanes,), lanes)
        return whole_blocks(lanes, x, channels.start, len(channels))

    def permuted_vectors(self, lanes: int, *inputs: TensorType | Buffer) -> int:
        """See Operator: where the first channel is not the first of a block."""
        shape = inputs[0].shape
        if len(shape) < 2:
            return 0
        channels = self.positions(shape)[1]
        return int(channels.step == 1 and channels.start % lanes > 0)

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator."""
        shape = inputs[0].shape
        return self.positions(shape)[0] != range(shape[0])

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        backwards = cls((-1,), step=(-1,))
        both = cls((2, -1), (1, None), (-1, 4), (1, 2))
        return (
            Sample(cls((0,)), ((1,),)),
            Sample(backwards, ((2, 3, 5),)),
            Sample(backwards, ((1, 17, 3, 33),)),
            Sample(cls((2,), (1,), (-1,)), ((2, 17, 5, 7),)),
            Sample(cls((1,), (16,)), ((2, 32, 3, 5),)),
            Sample(cls((1,), (8,), (16,)), ((1, 32, 4),)),
            Sample(cls((1,), (3,), (20,)), ((2, 32, 3, 5),)),
            Sample(cls((1,), (None,), (None,), (2,)), ((2, 5, 3),)),
            Sample(cls((1,), (9,), (-10,), (-3,)), ((1, 12, 3),)),
            Sample(both, ((2, 3, 5, 7),)),
            Sample(cls((0,), (1,), (9,)), ((3, 4),)),
        )


def _integers(value: Value) -> tuple[int, ...] | None:
    """One integer or a list of them; None for anything else, an empty list too."""
    parts = value if isinstance(value, tuple) else (value,)
    found = tuple(number for number in map(whole, parts) if number is not None)
    return found if parts and len(found) == len(parts) else None


def _text(bound: Bound) -> str:
    return "" if bound is None else str(bound)
