"""Runs what `define` wrote, in NumPy: loops that may run in any order become axes of arrays."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout
from cnnc.ir.types import TensorType
from cnnc.loop import expr as e
from cnnc.loop.build import KernelBuilder
from cnnc.loop.kernel import Body, For, Let, Store
from cnnc.ops.spec import Operator

Array = NDArray[np.generic]
AXES = 12
BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "and": np.logical_and,
    "or": np.logical_or,
    "min": np.minimum, "max": np.maximum, "floordiv": np.floor_divide, "mod": np.mod,
}  # fmt: skip
COMPARE = {"lt": np.less, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal}
CALL = {
    "exp": np.exp, "log": np.log, "tanh": np.tanh, "erf": special.erf, "sigmoid": special.expit,
    "silu": lambda x: x * special.expit(x),
    "pow": np.power, "sqrt": np.sqrt, "abs": np.abs, "expm1": np.expm1, "log1p": np.log1p,
    "copysign": np.copysign, "exponent": lambda x: (np.frexp(x)[1] - 1).astype(x.dtype),
    "ldexp": lambda x, n: np.ldexp(x, np.asarray(n).astype(int)),
}  # fmt: skip


class Evaluator:
    """`arrays` hold each buffer with its halo; `names` the loop variables, lets and registers."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays, self.names = arrays, {}
        self.stored = np.zeros(arrays["out"].shape, int)

    def run(self, body: Body, depth: int = 0) -> None:
        """Execute statements inside `depth` loops that became axes."""
        for stmt in body:
            match stmt:
                case For(var, extent, inner, _, reduces):
                    axis = np.arange(extent).reshape(-1, *[1] * (AXES - 1 - depth))
                    for value in range(extent) if reduces else [axis]:
                        self.names[var] = value
                        self.run(inner, depth + (not reduces))
                case Let(name, value):
                    self.names[name] = self.value(value)
                case Store(buffer, index, value) if buffer.space is e.Space.REGISTER:
                    assert index == ()
                    self.names[buffer.name] = self.value(value)
                case Store(buffer, index, value):
                    place = self.place(buffer, index)
                    np.add.at(self.stored, place, 1)
                    self.arrays[buffer.name][place] = self.value(value)

    def place(self, buffer: e.Buffer, index: Sequence[e.Expr]) -> tuple[Array, ...]:
        """Where an element lies in the array that holds its buffer."""
        parts = [self.value(part) + buffer.layout.halo_of(a)[0] for a, part in enumerate(index)]
        for part, extent in zip(parts, self.arrays[buffer.name].shape, strict=True):
            assert np.all((part >= 0) & (part < extent)), f"{buffer.name}{index} is out of bounds"
        return tuple(np.broadcast_arrays(*parts))

    def value(self, expr: e.Expr) -> Array:
        """The value of an expression at all positions of the loops that became axes."""
        match expr:
            case e.Const(value, dtype):
                return np.asarray(value, dtype.numpy if dtype else np.int64)
            case e.Var(name) | e.Local(name) | e.Load(e.Buffer(name, (), space=e.Space.REGISTER)):
                return self.names[name]
            case e.Load(buffer, index):
                return self.arrays[buffer.name][self.place(buffer, index)]
            case e.Binary(op, left, right):
                return BINARY[op](self.value(left), self.value(right))
            case e.Compare(op, left, right):
                return COMPARE[op](self.value(left), self.value(right))
            case e.Select(condition, then, otherwise):
                return np.where(*map(self.value, (condition, then, otherwise)))
            case e.Fma(a, b, c):
                a, b, c = map(self.value, (a, b, c))
                return (np.multiply(a, b, dtype=np.float64) + c).astype(c.dtype)
            case e.Call(function, args):
                return CALL[function](*map(self.value, args))
            case e.Cast(value, dtype):
                return cast(np.asarray(self.value(value)), dtype)
        raise TypeError(type(expr).__name__)


def cast(x: Array, dtype: DType) -> Array:
    """The elements in another type; floating point becomes integers by way of Python's own."""
    if x.dtype.kind != "f" or dtype.is_float or dtype is DType.BOOL:
        return x.astype(dtype.numpy)
    limits = np.iinfo(dtype.numpy)

    def whole(each: float) -> int:
        if each != each:
            return 0
        return (
            int(min(max(each, limits.min), limits.max))
            if abs(each) < 2**80
            else (int(limits.max if each > 0 else limits.min))
        )

    made = [min(max(whole(float(each)), int(limits.min)), int(limits.max)) for each in x.ravel()]
    return np.array(made, dtype.numpy).reshape(x.shape)


def run_loops(op: Operator, operands: Sequence[Array], *, halo: bool = False) -> Array:
    """The operator's result through its loops, in the element type of the operands.

    With `halo`, operand 0 keeps the zeros around it that the operator asks for.
    """
    types = [TensorType.plain(array.shape, DType.of(array.dtype)) for array in operands]
    layouts = [type.layout for type in types]
    if halo:
        layouts[0] = Layout.plain(types[0].rank).with_halo(op.halo(*types))
    buffers = [
        e.Buffer(f"x{number}", type.shape, type.dtype, layout)
        for number, (type, layout) in enumerate(zip(types, layouts, strict=True))
    ]
    result = op.infer(*types)
    build = KernelBuilder(e.Buffer("out", result.shape, result.dtype, result.layout))
    op.define(build, *buffers)
    arrays = {b.name: b.layout.pack(array) for b, array in zip(buffers, operands, strict=True)}
    arrays["out"] = np.zeros(result.shape, result.dtype.numpy)
    evaluator = Evaluator(arrays)
    with np.errstate(all="ignore"):
        evaluator.run(build.body)
    assert np.all(evaluator.stored == 1), "an element is not written exactly once"
    return arrays["out"]
