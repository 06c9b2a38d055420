"""Fusion by composition: an operator and the pointwise operators that follow it, as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout
from cnnc.base.record import record
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Call, Expr, Local
from cnnc.loop.functions import ELEMENTARY
from cnnc.loop.kernel import expressions
from cnnc.loop.rewrite import parts
from cnnc.ops.broadcast import load_broadcast
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import Blocking, Nest, Operator, Real, Sample

V = TypeVar("V")
UNDERFLOW = 2.0**-150
"""Largest rounding error of a subnormal float32, and more than that of a float64."""


@record
class Earlier:
    """The value of an earlier step: 0 is the root, k the k-th step of the tail."""

    step: int

    def __str__(self) -> str:
        return f"%{self.step}"


@record
class Extra:
    """An operand the tail brings along: 0 is the first one after the root's own."""

    operand: int

    def __str__(self) -> str:
        return f"${self.operand}"


@record
class TailStep:
    """A pointwise operator applied to earlier values and extra operands."""

    op: Pointwise
    args: tuple[Earlier | Extra, ...]

    def __str__(self) -> str:
        return f"{self.op.label}{{{', '.join(map(str, self.args))}}}"


@dataclass(frozen=True)
class Fused(Operator):
    """`root`, then each step of `tail` on the element while it is still in a register.

    Operands are the root's `root_arity` operands and parameters, then the extra ones. It has no
    name in the language: `fuse` makes it.
    """

    root: Operator
    root_arity: int
    tail: tuple[TailStep, ...]

    name = "fused"

    @property
    def label(self) -> str:
        """See Operator."""
        steps = "; ".join(map(str, self.tail))
        return f"fused[{self.root_arity}: {self.root.label}; {steps}]"

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        return self._types(inputs)[-1]

    def _types(self, inputs: Sequence[TensorType]) -> list[TensorType]:
        types = [self.root.infer(*inputs[: self.root_arity])]
        for step in self.tail:
            made = step.op.infer(*_pick(step, types, inputs[self.root_arity :]))
            if made.shape != types[0].shape:
                # The root's loops write the result: no step may widen it.
                raise OpError(f"{step} gives {made} from {types[0]}")
            types.append(made)
        return types

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return self._values(inputs)[-1]

    def _values(self, inputs: Sequence[Real]) -> list[Real]:
        values = [self.root.reference(*inputs[: self.root_arity])]
        for step in self.tail:
            values.append(step.op.reference(*_pick(step, values, inputs[self.root_arity :])))
        return values

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: each step's bound, given the bound of the step before.

        A float between steps may be subnormal, where roundings are no longer relative to it.
        """
        n = self.root_arity
        values = self._values(inputs)
        least = [UNDERFLOW if value.dtype.kind == "f" else 0.0 for value in values]
        bounds = [self.root.error(unit, values[0], inputs[:n], errors[:n])]
        for position, step in enumerate(self.tail, start=1):
            operands = _pick(step, values, inputs[n:])
            off = [bound + most for bound, most in zip(bounds, least, strict=False)]
            carried = _pick(step, off, errors[n:])
            bounds.append(step.op.error(unit, values[position], operands, carried))
        return bounds[-1]

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: the root writes through a builder whose results pass the tail first."""
        extras = inputs[self.root_arity :]

        def tail(inner: KernelBuilder, index: tuple[Expr, ...], value: Expr) -> Expr:
            loaded = [load_broadcast(extra, index) for extra in extras]
            values = [value]
            for step in self.tail:
                # Later steps may read a value twice; naming it computes it once.
                values[-1] = inner.let("v", values[-1])
                values.append(step.op.element(inner, *_pick(step, values, loaded)))
            return values[-1]

        with build.epilogue(tail):
            self.root.define(build, *inputs[: self.root_arity])

    def calls_functions(self, dtype: DType) -> bool:
        """Whether a step of the tail is an elementary function: many instructions an element."""
        build = KernelBuilder(Buffer("y", (), dtype, Layout.plain(0)))
        values = [
            step.op.element(build, *(Local("v", dtype) for _ in step.args)) for step in self.tail
        ]
        return any(
            isinstance(part, Call) and part.function in ELEMENTARY
            for root in (*values, *expressions(build.body))
            for part in parts(root)
        )

    def macs(self, out: TensorType, *inputs: TensorType) -> int:
        """See Operator."""
        return self.root.macs(out, *inputs[: self.root_arity])

    def nest(self, out: TensorType, *inputs: TensorType) -> Nest:
        """See Operator."""
        return self.root.nest(out, *inputs[: self.root_arity])

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return self.root.blocking(lanes, *inputs[: self.root_arity])

    def packing(self, read: int, write: int, *inputs: TensorType) -> tuple[Layout, ...]:
        """See Operator."""
        return self.root.packing(read, write, *inputs[: self.root_arity])

    def halo(self, *inputs: TensorType) -> tuple[tuple[int, int], ...]:
        """See Operator."""
        return self.root.halo(*inputs[: self.root_arity])

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator: the root may, or a step of the tail with its extra operands."""
        types, extras = self._types(inputs), inputs[self.root_arity :]
        return self.root.mixes_batch(*inputs[: self.root_arity]) or any(
            step.op.mixes_batch(*_pick(step, types, extras)) for step in self.tail
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """Fused operators are tested through `fuse` on whole graphs."""
        return ()


def root_operator(op: Operator) -> Operator:
    """The operator that others are fused behind, or itself."""
    return op.root if isinstance(op, Fused) else op


def _pick(step: TailStep, values: Sequence[V], extras: Sequence[V]) -> list[V]:
    return [
        values[arg.step] if isinstance(arg, Earlier) else extras[arg.operand] for arg in step.args
    ]
