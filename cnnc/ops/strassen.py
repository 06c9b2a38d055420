"""Convolution of single positions with seven products instead of eight; made by the compiler."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import EllipsisType

import numpy as np

from cnnc.base.layout import Layout
from cnnc.ir.graph import Initial
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.ops.groups import sizes
from cnnc.ops.spec import Blocking, Nest, Operator, ParameterSpec, Real, Sample, gamma
from cnnc.ops.strassen_loops import BandWriter, Form, halves_rows

PRODUCTS = 7
_Place = tuple[slice | EllipsisType, ...]
MOST_UNLIKE = 32.0
"""How many times larger the weights of a channel may be than those of the one it is mixed with."""
LARGEST_WEIGHT = 2.0**120
"""Sums of larger ones might overflow."""


@dataclass(frozen=True)
class Strassen(Operator):
    """A 1×1 convolution by Strassen's algorithm: seven products of halves instead of eight.

    In the form with fifteen sums (S. Winograd; in P. C. Fischer and R. L. Probert, "Efficient
    Procedures for Using Matrix Algorithms", ICALP 1974), of which four are those of weights
    [channels / 2, C / 2, 7], made by `combine_weights`. Halves are those of the channels, and of
    the positions the left and the right half of each row, or where rows are of odd length the even
    and the odd rows. Bands of `rows` are computed one by one, and of each so many
    `channels_at_once` of a half of the channels, so many rows and columns of a half in a
    `register_tile`; channels are split into `parts` that different threads may compute, each with
    sums of the input of its own. A value that is not finite spreads over all results at its
    position and at the one that it is paired with. `stride` says which rows and columns of the
    input are read.
    """

    channels: int
    bias: bool
    rows: int
    channels_at_once: int
    register_tile: tuple[int, int]
    parts: int = 1
    stride: tuple[int, int] = (1, 1)

    name = "strassen"

    @property
    def label(self) -> str:
        """See Operator."""
        shape = f"channels={self.channels}, rows={self.rows}, at_once={self.channels_at_once}"
        parts = f", parts={self.parts}" if self.parts > 1 else ""
        stride = f", stride={self.stride[0]}x{self.stride[1]}" if max(self.stride) > 1 else ""
        tile = f"tile={self.register_tile[0]}x{self.register_tile[1]}"
        return f"strassen({shape}, {tile}{parts}{stride})"

    @property
    def text(self) -> str:
        """The algorithm's name."""
        return "7 products for 8"

    @property
    def sums_channels(self) -> bool:
        """See Operator."""
        return True

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator."""
        x = inputs[0]
        shape = (self.channels // 2, x.channels // 2, PRODUCTS)
        specs = [
            ParameterSpec("weight", TensorType.plain(shape, x.dtype), Initial("weight", x.channels))
        ]
        if self.bias:
            bias = TensorType.plain((self.channels,), x.dtype)
            specs.append(ParameterSpec("bias", bias, Initial("zeros")))
        return tuple(specs)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        x = inputs[0]
        places = (-(-extent // step) for extent, step in zip(x.spatial, self.stride, strict=True))
        return x.with_shape((x.shape[0], self.channels, *places))

    def reference(self, *inputs: Real) -> Real:
        """See Operator: the same arithmetic, which is exact but for rounding."""
        return self._compute(-1, inputs)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: gamma(roundings) times the sums of the sizes that are summed.

        A result is a sum of up to four products, each over half of the channels and with inputs
        that are sums of up to four; two sums and a bias are added besides.
        """
        relative = gamma(2 * inputs[0].shape[1] + 8, unit)
        size = self._compute(1, sizes(inputs, unit)).astype(np.float64)
        bound: Real = relative * (1 + 1e-4) * size
        if errors[0].any():
            zeros = [np.zeros_like(value) for value in inputs[2:]]
            moved = self._compute(1, (errors[0], np.abs(inputs[1]), *zeros))
            bound += moved * (1 + relative)
        return bound

    def _compute(self, minus: int, inputs: Sequence[Real]) -> Real:
        """The convolution, or with minus = 1 the sums of its sizes."""
        x = inputs[0][:, :, :: self.stride[0], :: self.stride[1]]
        w = np.moveaxis(inputs[1], -1, 0).astype(x.dtype)
        o, c = self.channels // 2, x.shape[1] // 2
        sides = halves_of_positions(x.shape[3])
        (b11, b12), (b21, b22) = ([x[:, at][side] for side in sides] for at in _halves(c))
        t1 = b12 + minus * b11
        t2 = b22 + minus * t1

        def times(product: int, part: Real) -> Real:
            made: Real = w[product] @ part.reshape(*part.shape[:2], -1)
            return made.reshape(part.shape[0], o, *part.shape[2:])

        u1 = times(0, b11)
        u2 = u1 + times(2, t2)
        u3 = u2 + times(3, b22 + minus * b12)
        u4 = times(5, t1)
        y = np.empty((x.shape[0], self.channels, *x.shape[2:]), x.dtype)
        (y11, y12), (y21, y22) = ([y[:, at][side] for side in sides] for at in _halves(o))
        y11[...] = u1 + times(1, b21)
        y12[...] = u2 + u4 + times(6, b22)
        y21[...] = u3 + times(4, t2 + minus * b21)
        y22[...] = u3 + u4
        return y + inputs[2].reshape(-1, 1, 1) if self.bias else y

    def macs(self, out: TensorType, *inputs: TensorType) -> int:
        """See Operator: those of the convolution that it computes."""
        return out.elements * inputs[0].channels

    def nest(self, out: TensorType, *inputs: TensorType) -> Nest:
        """See Operator."""
        return Nest(out.spatial)

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return Blocking((lanes,), lanes)

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """See Operator: [O/at_once][product][I/read][read][at_once]."""
        weight = Layout((0, 2, 1), ((1, read), (0, self.channels_at_once)))
        return (weight, Layout.blocked(1, 0, self.channels_at_once))[: 1 + self.bias]

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: sums of the input, products of them, band by band."""
        out = build.out
        sizes = (self.channels, self.rows, self.channels_at_once, self.register_tile, self.parts)
        with (
            build.loop("n", out.shape[0]) as n,
            build.loop("ob", out.shape[2] // self.rows) as band,
            build.loop("op", self.parts) as part,
        ):
            BandWriter(
                Form(*sizes, self.bias), self.stride, build, inputs, (n, band * self.rows, part)
            ).write()

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """It has no name in the language: see its own tests."""
        return ()


def halves_of_positions(columns: int) -> tuple[_Place, _Place]:
    """What a map of so many columns is halved into, as indices of [N, C, H, W]: `halves_rows`."""
    if halves_rows(columns):
        left, right = _halves(columns // 2)
        return (..., left), (..., right)
    return (..., slice(0, None, 2), slice(None)), (..., slice(1, None, 2), slice(None))


def combine_weights(weights: Real) -> Real:
    """[O, C, 1, 1] to [O / 2, C / 2, 7]: the left factors of the products, as they are used."""
    o, c = (extent // 2 for extent in weights.shape[:2])
    (a11, a12), (a21, a22) = (
        (weights[rows, :c, 0, 0], weights[rows, c:, 0, 0]) for rows in _halves(o)
    )
    s1 = a21 + a22
    s2 = s1 - a11
    return np.stack([a11, a12, s2, a11 - a21, -a22, s1, a12 - s2], axis=-1)


def mixes_alike(parts: Iterable[Real]) -> bool:
    """Whether channels of about the same size are mixed, by their weights [O, C, 1, 1], all finite.

    They come in parts of some results each. The error of a result is small against the larger of
    two channels, a half of all apart, and so is what an input of small weights adds to it.
    """
    results: list[Real] = []
    inputs: Real | float = 0.0
    for part in parts:
        if not (np.abs(part) <= LARGEST_WEIGHT).all():
            return False
        squares = part.astype(np.float64)[:, :, 0, 0] ** 2
        results.append(squares.sum(axis=1))
        inputs = inputs + squares.sum(axis=0)
    return all(_are_alike(squares) for squares in (np.concatenate(results), np.asarray(inputs)))


def _are_alike(squares: Real) -> bool:
    """Whether of pairs a half apart none differs much, by the sums of their squares."""
    pairs = np.sort(np.sqrt(squares).reshape(2, -1), axis=0)
    return bool((pairs[1] <= MOST_UNLIKE * pairs[0]).all())


def _halves(extent: int) -> tuple[slice, slice]:
    """Of an axis twice as long."""
    return slice(extent), slice(extent, 2 * extent)
