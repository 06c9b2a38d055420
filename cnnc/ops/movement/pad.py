"""Padding."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder, grid_names
from cnnc.loop.expr import Buffer, Const, Expr
from cnnc.ops.attributes import Kind, Padding, PaddingKind, Symbol, Value
from cnnc.ops.movement.movement import require_spatial
from cnnc.ops.spec import Blocking, Operator, Real, Sample, attr, operator
from cnnc.ops.window import check_padded_size, resolve_padding

Ends = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class AmountKind(PaddingKind):
    """n | [n, …] | [[before, after], …]."""

    keywords: Sequence[str] = ()

    def parse(self, value: Value) -> Padding:
        """See Kind."""
        try:
            return super().parse(value)
        except OpError as error:
            if _has_negative(value):
                error.help = "padding only adds; `slice` takes elements away"
            raise

    def describe(self) -> str:
        """See Kind."""
        return "an integer ≥ 0, or a list with an integer or [before, after] for each spatial axis"


@record
class Mode:
    """What stands in the padding; `value` is that of `constant`."""

    name: Literal["constant", "reflect", "edge", "wrap"] = "constant"
    value: float = 0.0


@dataclass(frozen=True)
class ModeKind(Kind[Mode]):
    """constant(value) | reflect | edge | wrap."""

    keywords: Sequence[str] = ("constant", "reflect", "edge", "wrap")

    def parse(self, value: Value) -> Mode:
        """See Kind."""
        match value:
            case Symbol("reflect" | "edge" | "wrap" | "constant" as name, ()):
                return Mode(name)
            case Symbol("constant", (int() | float() as number,)) if not isinstance(number, bool):
                if abs(number) < 1.7e308:
                    return Mode("constant", float(number))
        raise self.refuse(value)

    def describe(self) -> str:
        """See Kind."""
        return "constant(value), reflect, edge or wrap"

    def unparse(self, field: Mode) -> Value:
        """See Kind."""
        return Symbol(field.name, (field.value,) if field.name == "constant" else ())


@record
class Piece:
    """A run of positions along an axis, and where in the operand each comes from, if it does."""

    start: int
    count: int
    source: Callable[[Expr], Expr] | None


@operator("pad")
class Pad(Operator):
    """More elements around the spatial axes. Reads [N, C, *spatial].

    - `constant(value)`: one number, 0 if none is given.
    - `edge`: the nearest element, a a a | a b c | c c c.
    - `reflect`: the mirror image about the last element, c b | a b c | b a; narrower than the axis.
    - `wrap`: the other end of the axis, b c | a b c | a b; no wider than the axis.
    """

    pad: Padding = attr(AmountKind(), doc="elements before and after each spatial axis")
    mode: Mode = attr(ModeKind(), doc="what the padding holds", default=Mode())

    def ends(self, x: TensorType) -> Ends:
        """(before, after) per spatial axis; OpError where they do not fit."""
        require_spatial(x, self.name)
        ends = resolve_padding(self.pad, x.spatial, (), ())
        check_padded_size(x, ends)
        limit = {"reflect": -1, "wrap": 0}.get(self.mode.name)
        for axis, (extent, widths) in enumerate(zip(x.spatial, ends, strict=True)):
            if limit is not None and max(widths) > extent + limit:
                raise OpError(
                    f"`{self.mode.name}` has too few elements to pad with",
                    at="pad",
                    note=f"spatial axis {axis} has {extent} elements, enough for a padding of "
                    f"{extent + limit}; it is to be {max(widths)}",
                    help="pad less, or use `edge`",
                )
        return ends

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        x = inputs[0]
        self._check_value(x.dtype)
        spatial = (n + sum(ends) for n, ends in zip(x.spatial, self.ends(x), strict=True))
        return x.with_shape((*x.shape[:2], *spatial))

    def _check_value(self, dtype: DType) -> None:
        value = self.mode.value
        if dtype.is_float:
            with np.errstate(over="ignore"):
                fits = bool(np.isfinite(np.float64(np.array(value).astype(dtype.numpy))))
        else:
            bits = 1 if dtype is DType.BOOL else 8 * dtype.bytes
            half = 2 ** (bits - 1) if dtype.numpy.kind == "i" else 0
            fits = value == int(value) and -half <= value < 2**bits - half
        if not fits:
            raise OpError(f"{value:g} is no {dtype}", at="mode")

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return self._padded(inputs[0], self.mode.value)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact, so errors move along; the constant has none but its rounding."""
        constant = self.mode.value
        return self._padded(errors[0], unit * abs(constant))

    def _padded(self, x: Real, value: float) -> Real:
        widths = ((0, 0), (0, 0), *self.ends(TensorType.plain(x.shape)))
        mode = self.mode.name
        if mode == "constant":
            return np.pad(x, widths, constant_values=value)
        places = [np.arange(extent) for extent in x.shape]
        return x[np.ix_(*(np.pad(each, w, mode) for each, w in zip(places, widths, strict=True)))]

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: one nest for the inside, and others around it, without bounds tests."""
        x = inputs[0]
        ends = self.ends(TensorType.plain(x.shape))
        number = self.mode.value
        fill = Const(number if x.dtype.is_float else int(number), x.dtype)
        names = grid_names(len(x.shape))
        for pieces in self._regions(x.shape[2:], ends):
            extents = (*x.shape[:2], *(piece.count for piece in pieces))
            with build.loops(names, extents) as (n, c, *position):
                where = [part + each.start for part, each in zip(position, pieces, strict=True)]
                source = [
                    each.source(part)
                    for part, each in zip(position, pieces, strict=True)
                    if each.source is not None
                ]
                inside = len(source) == len(pieces)
                build.result((n, c, *where), x[(n, c, *source)] if inside else fill)

    def _regions(self, spatial: Shape, ends: Ends) -> Iterator[tuple[Piece, ...]]:
        """Boxes of the result, each with a source of one form; together they are all of it.

        A constant fills whole slabs, from one end of all later axes to the other.
        """
        if not spatial:
            yield ()
            return
        (extent, *rest), ((before, after), *others) = spatial, ends
        first, *borders = self._pieces(extent, before, after)
        is_constant = self.mode.name == "constant"
        slab = tuple(Piece(0, n + sum(e), None) for n, e in zip(rest, others, strict=True))
        yield from ((first, *later) for later in self._regions(tuple(rest), tuple(others)))
        for border in borders:
            later = [slab] if is_constant else self._regions(tuple(rest), tuple(others))
            yield from ((border, *each) for each in later)

    def _pieces(self, extent: int, before: int, after: int) -> Iterator[Piece]:
        """The inside of an axis, and what lies before and after it."""
        low: Callable[[Expr], Expr] | None = None
        high: Callable[[Expr], Expr] | None = None
        match self.mode.name:
            case "edge":
                low, high = lambda _: Const(0), lambda _: Const(extent - 1)
            case "reflect":
                low, high = lambda i: before - i, lambda i: extent - 2 - i
            case "wrap":
                low, high = lambda i: i + (extent - before), lambda i: i
        yield Piece(before, extent, lambda i: i)
        if before:
            yield Piece(0, before, low)
        if after:
            yield Piece(before + extent, after, high)

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return Blocking((lanes, 1), lanes, follows=True)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        one, uneven = Padding(explicit=((1, 1),)), Padding(explicit=((1, 2), (0, 3)))
        reflect, edge, wrap = Mode("reflect"), Mode("edge"), Mode("wrap")
        cases = [
            (cls(Padding()), (1, 1, 1)),
            (cls(one), (2, 3, 5)),
            (cls(one, Mode("constant", -1.5)), (2, 17, 4, 33)),
            (cls(uneven, Mode("constant", 2.0)), (1, 32, 3, 5)),
            (cls(uneven, reflect), (2, 3, 3, 7)),
            (cls(Padding(explicit=((2, 2),)), reflect), (1, 17, 3, 4)),
            (cls(uneven, edge), (2, 17, 1, 1)),
            (cls(Padding(explicit=((0, 4),)), edge), (1, 2, 35)),
            (cls(uneven, wrap), (1, 5, 2, 3)),
            (cls(Padding(explicit=((1, 0), (0, 1), (1, 1)))), (1, 2, 2, 1, 3)),
            (cls(one, reflect), (1, 2, 2, 3, 4)),
        ]
        return tuple(Sample(op, (shape,)) for op, shape in cases)


def _has_negative(value: Value) -> bool:
    if isinstance(value, tuple):
        return any(map(_has_negative, value))
    return isinstance(value, int | float) and value < 0
