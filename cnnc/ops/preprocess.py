"""Raw samples as a network wants them: layout, order of colours, scale, mean and deviation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout
from cnnc.ir.graph import Graph, Node, OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Cast, Const, Expr, Fma
from cnnc.ops.attributes import Choice, Kind, Number, Value, format_value
from cnnc.ops.spec import (
    PLAIN,
    Blocking,
    Operator,
    ParameterSpec,
    Real,
    Sample,
    attr,
    check_parameters,
    gamma,
    operator,
)

FIRST, LAST = "channels_first", "channels_last"
LETTERS = ("nchw", "nhwc", "ncl", "nlc", "ncdhw", "ndhwc")
FEW_CHANNELS = 4
"""So many at most, such as the colours of an image, stay apart in memory: no block is filled."""


@dataclass(frozen=True)
class PerChannel(Kind[tuple[float, ...]]):
    """One number for all channels, or a list with one for each."""

    above: float | None = None

    def parse(self, value: Value) -> tuple[float, ...]:
        """See Kind."""
        parts = value if isinstance(value, tuple) else (value,)
        number = Number(above=self.above)
        if not parts:
            raise self.refuse(value)
        try:
            return tuple(map(number.parse, parts))
        except OpError:
            raise self.refuse(value) from None

    def describe(self) -> str:
        """See Kind."""
        what = Number(above=self.above).describe()
        return f"{what}, or a list with one for each channel"

    def unparse(self, field: tuple[float, ...]) -> Value:
        """See Kind."""
        return field[0] if len(field) == 1 else field


@operator("preprocess")
class Preprocess(Operator):
    """(x * scale - mean) / std for each channel, channels first, as f32, or f64 where x is.

    `layout` says how the operand's axes stand: `nchw` or `nhwc` for images, `ncl` or `nlc` for
    series, `ncdhw` or `ndhwc` for volumes; `channels_first` and `channels_last` fit any rank. The
    result has its channels first, always. `colors` is the order the network was trained with: the
    operand's three channels are red, green, blue, and `bgr` reverses them. `mean` and `std` are one
    number, or one for each channel of the result, so after `colors`; both are meant for values that
    `scale` has been applied to.

    Integers and truth values become f32 first. For each channel scale / std and mean / std are
    computed once, so that an element takes one multiplication and one addition.
    """

    is_elementwise: ClassVar[bool] = True
    gathers: ClassVar[bool] = True

    layout: str = attr(
        Choice((FIRST, LAST, *LETTERS)), doc="order of the operand's axes", default=FIRST
    )
    colors: str = attr(
        Choice(("rgb", "bgr")), doc="order of the colours in the network", default="rgb"
    )
    scale: float = attr(Number(), doc="factor of every element", default=1.0)
    mean: tuple[float, ...] = attr(
        PerChannel(), doc="what is subtracted after scaling", default=(0.0,)
    )
    std: tuple[float, ...] = attr(
        PerChannel(above=0), doc="what is divided by in the end", default=(1.0,)
    )

    @property
    def is_last(self) -> bool:
        """Whether the operand's channels are its last axis."""
        return self.layout == LAST or self.layout in LETTERS[1::2]

    @property
    def computes(self) -> bool:
        """Whether there is any arithmetic; otherwise elements are moved and converted only."""
        return (self.scale, {*self.mean}, {*self.std}) != (1, {0}, {1})

    def result(self, x: TensorType) -> TensorType:
        """The result's type; OpError where layout or colours do not fit the operand."""
        if x.rank < 2:
            raise OpError("the operand has no channels", at=0, note=f"its shape is {list(x.shape)}")
        letters = {3: "ncl or nlc", 4: "nchw or nhwc", 5: "ncdhw or ndhwc"}
        if self.layout in LETTERS and len(self.layout) != x.rank:
            raise OpError(
                f"`{self.layout}` is for {len(self.layout)} axes, and there are {x.rank}",
                at="layout",
                help=f"write {letters.get(x.rank, f'{FIRST} or {LAST}')}",
            )
        n, *rest = x.shape
        shape = (n, rest[-1], *rest[:-1]) if self.is_last else x.shape
        if self.colors == "bgr" and shape[1] != 3:
            found = f"the operand has {shape[1]} in layout {self.layout}"
            raise OpError("only three channels are colours", at="colors", note=found)
        return TensorType.plain(tuple(shape), _computed(x.dtype))

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator: what each channel is multiplied by, and what is added then."""
        made = self.result(inputs[0])
        scale, mean, std = (self._spread(name, made) for name in ("scale", "mean", "std"))
        if not self.computes:
            return ()
        factor, offset = scale / std, -mean / std
        with np.errstate(all="ignore"):
            tables = np.array([factor, offset]).astype(made.dtype.numpy)
        if self.scale == 0 or not np.isfinite(tables).all():
            note = f"scale / std is {factor.min():g} to {factor.max():g}"
            raise OpError("nothing is left of the operand", at="scale", note=note)
        return (
            ParameterSpec.fixed("factor", factor, made.dtype),
            ParameterSpec.fixed("offset", offset, made.dtype),
        )

    def _spread(self, name: str, made: TensorType) -> Real:
        """One number for each channel of the result."""
        value = getattr(self, name)
        given = value if isinstance(value, tuple) else (value,)
        if len(given) not in (1, made.channels):
            other = "layout = channels_last" if not self.is_last else "layout = channels_first"
            raise OpError(
                f"{len(given)} numbers for {made.channels} channels",
                at=name,
                note=f"{name} = {format_value(given)}",
                help=f"give one number for all channels, or {made.channels}; or is it `{other}`?",
            )
        return np.broadcast_to(np.asarray(given, np.float64), (made.channels,))

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator: operands of any element type."""
        check_parameters(self, *inputs)
        return self.result(inputs[0])

    def reference(self, *inputs: Real) -> Real:
        """See Operator: scale / std and mean / std are rounded once, in the tables."""
        y: Real = inputs[0].astype(np.float64)
        y = np.moveaxis(y, -1, 1) if self.is_last else y
        y = y[:, ::-1] if self.colors == "bgr" else y
        each = (-1, *[1] * (y.ndim - 2))
        return y * inputs[1].reshape(each) + inputs[2].reshape(each) if self.computes else y

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: conversion, product and sum round; f32, u8 and bool convert exactly."""
        x, tables = inputs[0], [np.abs(table) for table in inputs[1:]]
        size = self.reference(np.abs(x.astype(np.float64)), *tables)
        steepest = [table if place == 0 else table * 0 for place, table in enumerate(tables)]
        carried = self.reference(errors[0], *steepest)
        exact = x.dtype.kind == "f" or x.dtype.itemsize == 1
        relative = gamma(3, unit) if self.computes else 0.0 if exact else unit
        return carried * (1 + relative) + relative * size

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return PLAIN if self.result(inputs[0]).channels <= FEW_CHANNELS else Blocking((1,), lanes)

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """See Operator."""
        return (Layout.blocked(1, 0, write),) * (2 if self.computes else 0)

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        x = inputs[0]
        dtype = _computed(x.dtype)  # a cast may follow in the same loops
        with build.grid() as (n, c, *position):
            source: Expr = Const(2) - c if self.colors == "bgr" else c
            where = (n, *position, source) if self.is_last else (n, source, *position)
            value: Expr = x[where] if x.dtype is dtype else Cast(x[where], dtype)
            if self.computes:
                value = Fma(value, inputs[1][c], inputs[2][c])
            build.result((n, c, *position), value)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        caffe = (103.939, 116.779, 123.68)
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        return (
            Sample(cls(scale=1 / 255), ((1, 1),)),
            Sample(cls("nhwc", "bgr", 1 / 255, mean, std), ((2, 5, 7, 3),), (DType.U8,)),
            Sample(cls("nchw", "bgr", mean=caffe), ((1, 3, 4, 18),), (DType.U8,)),
            Sample(cls("nlc", scale=-0.5, std=(3.0,)), ((2, 9, 17),)),
            Sample(cls(LAST), ((1, 2, 3, 2, 20),), (DType.BOOL,)),
            Sample(cls("nhwc"), ((2, 1, 1, 6),), (DType.I64,)),
            Sample(cls(mean=(3.0,)), ((1, 7, 2, 2),), (DType.I32,)),
        )


def _computed(dtype: DType) -> DType:
    """The element type of the result for one of the operand."""
    return dtype if dtype.is_float else DType.F32


def is_channels_last(graph: Graph, node: Node) -> bool:
    """Whether the arrays of an input have their channels last: all its readers take them so."""
    readers = [user.op for user in graph.users[node]]
    return bool(readers) and all(isinstance(op, Preprocess) and op.is_last for op in readers)
