"""Pooling over any number of spatial axes."""

from collections.abc import Sequence

import numpy as np

from cnnc.base.layout import Shape
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder, spatial_letters
from cnnc.loop.expr import Buffer, Const
from cnnc.ops.attributes import Extents, Flag, Padding, PaddingKind
from cnnc.ops.pool_kinds import (
    Average,
    Maximum,
    Norm,
    Pooling,
    Reduction,
    ReductionKind,
    Site,
    Weighted,
)
from cnnc.ops.pool_weights import (
    Falloff,
    FalloffKind,
    Size,
    Step,
    Weights,
    WeightsKind,
    check_table_size,
    explicit_weights,
    weight_tables,
)
from cnnc.ops.spec import (
    FEW_CHANNELS,
    Blocking,
    Nest,
    Operator,
    ParameterSpec,
    Real,
    Sample,
    attr,
    check_floats,
    check_parameters,
    operator,
)
from cnnc.ops.window import Window, resolve_window


@operator("pool")
class Pool(Operator):
    """One number for every window of every channel. Reads [N, C, *spatial], writes [N, C, *out].

    - `max`: the largest element. Padding never wins. NaN if there is a NaN.
    - `avg`: the sum of the elements over the number of taps inside the input; with `count_pad`,
      inside the input and its padding.
    - `l2`, `lp(p)`: (sum of |x|^p)^(1/p), with p = 2 for `l2`.
    - `weighted`: the average weighted by the distance of each tap from the window's centre, given
      by `falloff`, or by `weights`. Weights are divided by the sum of those inside the input; with
      `count_pad`, inside the input and its padding.

    Distances are Euclidean, in elements of the input, so dilation stretches them; the centre of a
    window of even extent lies between two elements. `falloff` gives the weight at distance r:
    `gaussian(sigma)` exp(-r² / 2 sigma²); `linear` 1 - r / (R + 1), R being the largest distance in
    the window; `inverse` 1 / (1 + r). `weights` are one list used along every axis and multiplied,
    `[1, 2, 1]`, or nested lists for the whole window.

    A `global` window is the whole input: `out` is 1 along every axis. With `ceil` the last window
    may reach beyond the padding, if it starts inside the input or the padding before it. Every
    window must hold an element of the input.
    """

    kind: Reduction = attr(ReductionKind(), doc="what becomes of a window")
    size: tuple[int, ...] = attr(Size(), doc="extent of the window")
    stride: tuple[int, ...] = attr(Step(), doc="step of the window", default=())
    pad: Padding = attr(PaddingKind(), doc="padding around the input", default=Padding())
    dilation: tuple[int, ...] = attr(Extents(), doc="distance between taps", default=(1,))
    ceil: bool = attr(Flag(), doc="whether a last, cut window counts", default=False)
    count_pad: bool = attr(Flag(), doc="whether averages count padding", default=False)
    falloff: Falloff = attr(FalloffKind(), doc="weight by distance", default=Falloff())
    weights: Weights = attr(WeightsKind(), doc="weights of the taps", default=())

    @property
    def reads_nearest(self) -> bool:
        """Whether taps in the padding read the nearest element inside the input.

        It is under the same window, where that has no gaps, and may count twice.
        """
        return self.kind.may_repeat and set(self.dilation) == {1}

    def window(self, x: TensorType) -> Window:
        """The window on an input."""
        if not self.size:
            for name in ("stride", "pad", "dilation"):
                if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                    raise OpError(
                        f"a global window has no {name}",
                        at=name,
                        help=f"leave out `{name}`, or give `size` as a number",
                    )
            return resolve_window(x, x.spatial, (1,), Padding(), (1,), at="size")
        stride = self.stride or self.size
        window = resolve_window(
            x, self.size, stride, self.pad, self.dilation, ceil=self.ceil, at="size"
        )
        _check_windows_see_input(window, x.spatial)
        return window

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator: the tables of weighted pooling."""
        x = inputs[0]
        window = self.window(x)
        self._check_attributes()
        if not isinstance(self.kind, Weighted):
            return ()
        check_table_size(window)
        if self.weights:
            weights = explicit_weights(self.weights, window.kernel)
        else:
            weights = self.falloff.weights(window)
        tables = weight_tables(weights, window, x.spatial, self.count_pad)
        names = ("weights", "factor")
        return tuple(
            ParameterSpec.fixed(name, table, x.dtype)
            for name, table in zip(names, tables, strict=False)
        )

    def _check_attributes(self) -> None:
        has_falloff, kind = self.falloff.name != "none", self.kind.symbol
        if self.count_pad and not self.kind.counts_padding:
            raise OpError(f"`count_pad` means nothing to `{kind}`", at="count_pad")
        if not isinstance(self.kind, Weighted):
            for name, is_given in (("falloff", has_falloff), ("weights", bool(self.weights))):
                if is_given:
                    raise OpError(f"`{name}` means nothing to `{kind}`", at=name)
        elif has_falloff == bool(self.weights):
            raise OpError(
                "`falloff` and `weights` are both given"
                if has_falloff
                else "`weighted` needs `falloff` or `weights`",
                at="weights" if has_falloff else "kind",
                help="give one: `falloff = gaussian(1.0)`, `weights = [1, 2, 1]`",
            )

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        x = inputs[0]
        check_floats(inputs)
        window = self.window(x)
        check_parameters(self, *inputs)
        return x.with_shape((*x.shape[:2], *window.out))

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        pooling = self._pooling(inputs[0].shape, inputs[1:])
        return self.kind.reference(inputs[0], pooling)

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        x, outside = inputs[0], self.kind.outside
        pooling = self._pooling(x.shape)
        site = Site(build, pooling, inputs[1:])
        names = [f"k{letter}" for letter in spatial_letters(len(pooling.spatial))]
        with build.grid() as (n, c, *position):
            total = build.register("acc", x.dtype, Const(outside, x.dtype))
            with build.loops(names, pooling.window.kernel, reduces=True) as tap:
                where = (n, c, *pooling.window.position(position, tap))
                nearest = self.reads_nearest
                value = build.nearest(x, where) if nearest else build.padded(x, where, outside)
                build.store(total, (), self.kind.join(site, total[()], value, tap))
            build.result((n, c, *position), self.kind.finish(site, total[()], position))

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator."""
        pooling = self._pooling(inputs[0].shape, inputs[1:])
        return self.kind.error(unit, inputs[0], errors[0], pooling)

    def _pooling(self, shape: Shape, tables: Sequence[Real] = ()) -> Pooling:
        window = self.window(TensorType.plain(shape))
        return Pooling(window, shape[2:], self.count_pad, tables)

    def nest(self, out: TensorType, *inputs: TensorType) -> Nest:
        """See Operator."""
        window = self.window(inputs[0])
        strided, taps = max(window.stride) > 1, window.kernel[-1]
        return Nest(out.spatial, per_channel=True, strided=strided, taps=taps, temporaries=3)

    def halo(self, *inputs: TensorType) -> tuple[tuple[int, int], ...]:
        """See Operator: zeros serve all kinds but `max`."""
        if self.kind.outside != 0:
            return ()
        return ((0, 0), (0, 0), *self.window(inputs[0]).halo(inputs[0].spatial))

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        if self.size and inputs[0].channels > FEW_CHANNELS:
            return Blocking((lanes,), lanes)  # windows in rows are read one by one: a copy pays
        return Blocking((lanes, 1), lanes, follows=True)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (*_plain_samples(), *_weighted_samples())


def _plain_samples() -> Sequence[Sample]:
    largest, mean, l2 = Maximum(), Average(), Norm(2.0)
    same, lower = Padding("same"), Padding("same_lower")
    ones, uneven = Padding(explicit=((1, 1),)), Padding(explicit=((1, 2), (0, 1)))
    cases: list[tuple[Pool, Shape]] = [
        (Pool(largest, (1,)), (1, 1, 1, 1)),
        (Pool(largest, (2,)), (2, 3, 7, 6)),
        (Pool(largest, (3,), (2,), ones), (1, 19, 9, 8)),
        (Pool(largest, (3, 2), (2, 3), uneven, (2, 1), ceil=True), (2, 4, 9, 8)),
        (Pool(largest, ()), (2, 5, 13)),
        (Pool(largest, (2,), (5,)), (1, 2, 14)),
        (Pool(mean, (2,)), (1, 17, 5, 7)),
        (Pool(mean, ()), (2, 18, 4, 3)),
        (Pool(mean, (3,), (1,), same), (2, 3, 5, 4)),
        (Pool(mean, (3,), (2,), ones, ceil=True), (1, 3, 6, 5)),
        (Pool(mean, (3,), (2,), ones, ceil=True, count_pad=True), (1, 3, 6, 5)),
        (Pool(mean, (3,), (1,), Padding("causal"), (2,)), (2, 5, 11)),
        (Pool(mean, (2, 1, 3), (1, 2, 2), lower), (1, 2, 3, 4, 5)),
        (Pool(l2, (2,)), (2, 3, 7, 6)),
        (Pool(l2, (3,), (2,), same), (1, 17, 5, 6)),
        (Pool(l2, ()), (1, 4, 3, 5)),
        (Pool(Norm(1.0), (3,), (2,), ones, ceil=True), (1, 2, 6)),
        (Pool(Norm(3.0), (2,), pad=ones), (1, 3, 5, 5)),
        (Pool(Norm(4.0), (3,), dilation=(2,)), (2, 2, 9)),
        (Pool(Norm(2.5), (2,)), (1, 3, 4, 6)),
    ]
    return [Sample(op, (shape,)) for op, shape in cases]


def _weighted_samples() -> Sequence[Sample]:
    weighted, bell, ones = Weighted(), Falloff("gaussian", 1.0), Padding(explicit=((1, 1),))
    linear, inverse, binomial = Falloff("linear"), Falloff("inverse"), (1.0, 2.0, 1.0)
    window = ((1.0, 0.0, 2.0), (3.0, 1.0, 1.0))
    cases: list[tuple[Pool, Shape]] = [
        (Pool(weighted, (3,), (2,), falloff=bell), (1, 17, 7, 9)),
        (Pool(weighted, (3,), (1,), Padding("same"), falloff=bell), (2, 3, 5, 4)),
        (Pool(weighted, (4,), dilation=(2,), falloff=linear), (1, 2, 15)),
        (Pool(weighted, (), falloff=inverse), (2, 3, 4, 5)),
        (Pool(weighted, (3,), (2,), ones, ceil=True, weights=binomial), (1, 3, 6)),
        (Pool(weighted, (3,), (2,), ones, (1,), True, True, weights=binomial), (1, 3, 6, 5)),
        (Pool(weighted, (2, 3), pad=ones, weights=window), (1, 2, 4, 6)),
    ]
    return [Sample(op, (shape,)) for op, shape in cases]


def _check_windows_see_input(window: Window, spatial: Shape) -> None:
    for axis, extent in enumerate(spatial):
        (before, after), stride = window.pads[axis], window.stride[axis]
        # Windows that start inside the input see it, however many there are.
        early, late = -(-before // stride), -(-(before + extent) // stride)
        first, last = window.taps_inside(axis, extent, until=early)
        blind = [int(position) for position in np.flatnonzero(first == last)]
        if late < window.out[axis]:
            blind.append(late)
        if blind:
            start = blind[0] * stride - before
            raise OpError(
                "a window holds nothing but padding",
                at="pad",
                note=f"spatial axis {axis}: {extent} between {before} and {after} of padding; the "
                f"window at {start} to {start + window.span(axis) - 1} has no tap from 0 to "
                f"{extent - 1}",
                help="pad less",
            )
