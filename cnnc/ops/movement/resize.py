"""Resizing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import floor

import numpy as np

from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder, spatial_letters
from cnnc.loop.expr import Buffer, Expr, Fma
from cnnc.ops.attributes import Choice, Extents, Flag, Kind, Number, Value
from cnnc.ops.movement.movement import require_spatial
from cnnc.ops.movement.sampling import (
    COORDINATES,
    FINEST,
    LONGEST,
    ROUNDINGS,
    TAPS,
    Sampling,
    line_of,
    simplest,
)
from cnnc.ops.spec import (
    FEW_CHANNELS,
    Blocking,
    Operator,
    ParameterSpec,
    Real,
    Sample,
    attr,
    check_floats,
    check_parameters,
    gamma,
    operator,
)

MODES = tuple(TAPS)


@dataclass(frozen=True)
class ScaleKind(Kind[tuple[float, ...]]):
    """A factor for all spatial axes, or a list with one for each; an empty list stands for none."""

    def parse(self, value: Value) -> tuple[float, ...]:
        """See Kind."""
        parts = value if isinstance(value, tuple) else (value,)
        number = Number(minimum=1 / FINEST, maximum=2.0**20)
        try:
            return tuple(number.parse(part) for part in parts)
        except OpError:
            raise self.refuse(value) from None

    def describe(self) -> str:
        """See Kind."""
        return f"a number from 1/{FINEST} to 2^20, or a list with one for each spatial axis"

    def unparse(self, field: tuple[float, ...]) -> Value:
        """See Kind."""
        return field[0] if len(field) == 1 else field


@dataclass(frozen=True)
class SizeKind(Extents):
    """Extents of the result; an empty list stands for none."""

    def parse(self, value: Value) -> tuple[int, ...]:
        """See Kind."""
        return () if value == () else super().parse(value)


@operator("resize")
class Resize(Operator):
    """Another number of elements along the spatial axes: by a factor `scale`, or to a `size`.

    A factor gives floor(extent * scale) elements; a size means scale = size / extent. Element o of
    the result lies at x in the input, by `coordinates`:

    - `half_pixel`: (o + 1/2) / scale - 1/2. `pytorch_half_pixel`: the same, but 0 if there is only
      one element.
    - `align_corners`: o (extent - 1) / (size - 1), and 0 if there is only one element.
    - `asymmetric`: o / scale.

    `nearest` takes the element at x rounded by `rounding`; `linear` mixes the two around x, and
    `cubic` the four, weighted by the cubic convolution kernel with this `coefficient`, along each
    axis. Positions outside read the nearest element; with `exclude_outside` they weigh nothing, and
    the other weights are divided by their sum. An axis whose elements stay where they are is left
    alone. Positions are exact: a scale stands for the nearest fraction with a denominator up to
    4096.
    """

    mode: str = attr(Choice(MODES), doc="how elements come from those around them")
    scale: tuple[float, ...] = attr(ScaleKind(), doc="elements of the result for one", default=())
    size: tuple[int, ...] = attr(SizeKind(), doc="spatial extents of the result", default=())
    coordinates: str = attr(
        Choice(COORDINATES), doc="where results lie in the input", default="half_pixel"
    )
    rounding: str = attr(
        Choice(ROUNDINGS), doc="which element is nearest", default="round_prefer_floor"
    )
    coefficient: float = attr(Number(), doc="slope of the cubic kernel at 1", default=-0.75)
    exclude_outside: bool = attr(
        Flag(), doc="whether cubic leaves out what lies outside", default=False
    )

    def samplings(self, x: TensorType) -> list[Sampling]:
        """What happens along each spatial axis; OpError where it cannot."""
        self._check_attributes()
        require_spatial(x, self.name)
        samplings = []
        for n, (m, scale) in zip(x.spatial, self._extents(x), strict=True):
            line = line_of(self.coordinates, n, m, scale)
            if line.is_identity:
                samplings.append(Sampling(n, m, line))
            elif self.mode == "nearest":
                samplings.append(Sampling(n, m, line.rounded(self.rounding)))
            else:
                samplings.append(Sampling(n, m, line, TAPS[self.mode]))
        return samplings

    def _extents(self, x: TensorType) -> Iterator[tuple[int, Fraction]]:
        """The result's extent along each spatial axis, and the scale that positions follow."""
        at, rank = "size" if self.size else "scale", len(x.spatial)
        given = self.size or self.scale
        if len(given) not in (1, rank):
            raise OpError(
                f"{len(given)} numbers for {rank} spatial axes",
                at=at,
                help=f"give one number for all axes, or {rank}",
            )
        given = given * (rank if len(given) == 1 else 1)
        for axis, (n, number) in enumerate(zip(x.spatial, given, strict=True)):
            scale = Fraction(number) / n if self.size else simplest(number)
            m = floor(n * scale)
            if not 0 < m <= LONGEST >= n:
                raise OpError(
                    "the result would be empty" if m < 1 else "the axis is too long to be resized",
                    at=at,
                    note=f"spatial axis {axis}: {n} elements times {float(scale):g} is "
                    f"{float(n * scale):g}, and may be from 1 to {LONGEST}",
                )
            yield m, scale

    def _check_attributes(self) -> None:
        if bool(self.scale) == bool(self.size):
            raise OpError(
                "`scale` and `size` are both given" if self.size else "there is no new size",
                at="size" if self.size else "scale",
                help="give one: `scale = 2`, `size = [224, 224]`",
            )
        meaning = {"rounding": "nearest", "coefficient": "cubic", "exclude_outside": "cubic"}
        for name, mode in meaning.items():
            is_given = getattr(self, name) != type(self).__dataclass_fields__[name].default
            if is_given and mode != self.mode:
                raise OpError(f"`{name}` means nothing to `{self.mode}`", at=name)

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator: the weights [out, taps] of every axis that is interpolated."""
        x = inputs[0]
        letters = spatial_letters(max(0, x.rank - 2))
        return tuple(
            ParameterSpec.fixed(
                f"weights_{letter}", each.weights(self.coefficient, self.exclude_outside), x.dtype
            )
            for letter, each in zip(letters, self.samplings(x), strict=True)
            if each.mixes
        )

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        x = inputs[0]
        if self.mode != "nearest":
            check_floats(inputs)
        out = (each.out for each in self.samplings(x))
        check_parameters(self, *inputs)
        return x.with_shape((*x.shape[:2], *out))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return self._mixed(inputs[0], inputs[1:])

    def _mixed(self, x: Real, tables: Sequence[Real]) -> Real:
        """The last axis first, as the loops do it."""
        left = list(tables)
        samplings = self.samplings(TensorType.plain(x.shape))
        for axis, each in reversed(list(enumerate(samplings, start=2))):
            parts = [x.take(each.sources(tap), axis=axis) for tap in each.taps]
            if each.mixes:
                table = left.pop().reshape(each.out, len(parts), *[1] * (x.ndim - 1 - axis))
                parts = [table[:, tap] * part for tap, part in enumerate(parts)]
            x = reduce(np.add, parts)
        return x

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: the taps of all axes are written out."""
        x, tables = inputs[0], list(inputs[1:])
        samplings = self.samplings(TensorType.plain(x.shape))
        with build.grid() as (n, c, *position):
            weights: list[list[Expr]] = []
            for each, o in zip(samplings, position, strict=True):
                table = tables.pop(0) if each.mixes else None
                taps = range(len(each.taps))
                weights.append([build.let("w", table[o, tap]) for tap in taps] if table else [])

            def mixed(where: tuple[Expr, ...]) -> Expr:
                axis = len(where)
                if axis == len(samplings):
                    return x[(n, c, *where)]
                each = samplings[axis]
                parts = [
                    mixed((*where, each.source(build, position[axis], tap))) for tap in each.taps
                ]
                if not each.mixes:
                    return parts[0]
                total = weights[axis][0] * parts[0]
                for weight, part in zip(weights[axis][1:], parts[1:], strict=True):
                    total = Fma(weight, part, total)
                return total

            build.result((n, c, *position), mixed(()))

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: along each axis a rounding for every tap; picking elements is exact."""
        sizes = [np.abs(table) for table in inputs[1:]]
        relative = gamma(sum(table.shape[1] for table in sizes), unit)
        carried = self._mixed(errors[0], sizes)
        if not sizes:
            return carried
        return relative * self._mixed(np.abs(inputs[0]), sizes) + carried * (1 + relative)

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator: where elements are mixed, vectors along channels are worth a copy."""
        if self.mode != "nearest" and inputs[0].channels > FEW_CHANNELS:
            return Blocking((lanes,), lanes)
        return Blocking((lanes, 1), lanes, follows=True)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        corners = "align_corners"
        cases = [
            (cls("nearest", (2.0,)), (1, 1, 1, 1)),
            (cls("nearest", (2.0,)), (2, 17, 3, 5)),
            (cls("nearest", (0.5, 1.5)), (1, 3, 5, 6)),
            (cls("nearest", size=(7, 2), rounding="floor"), (2, 32, 3, 5)),
            (cls("nearest", (1.7,), coordinates="asymmetric", rounding="ceil"), (2, 3, 11)),
            (cls("nearest", (1.0, 3.0, 2.0), rounding="round_prefer_ceil"), (1, 2, 2, 1, 3)),
            (cls("linear", (2.0,)), (2, 17, 3, 5)),
            (cls("linear", size=(5, 3), coordinates=corners), (2, 3, 3, 7)),
            (cls("linear", size=(1,), coordinates="pytorch_half_pixel"), (2, 7, 4)),
            (cls("linear", (0.6,), coordinates="asymmetric"), (1, 2, 7, 5)),
            (cls("linear", (2.0, 1.0, 1.5)), (1, 3, 2, 3, 4)),
            (cls("cubic", (2.0,)), (2, 17, 3, 2)),
            (cls("cubic", size=(4, 1), coefficient=-0.5), (1, 3, 6, 5)),
            (cls("cubic", (1.3,), exclude_outside=True), (2, 3, 9)),
            (cls("cubic", size=(3, 4, 3), coordinates=corners), (1, 2, 2, 3, 2)),
        ]
        return tuple(Sample(op, (shape,)) for op, shape in cases)
