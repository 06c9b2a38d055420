"""From vector loops to vector values."""

from collections.abc import Mapping
from functools import cached_property

from cnnc.loop.affine import affine
from cnnc.loop.expr import (
    Buffer,
    Cast,
    Compare,
    Const,
    Expr,
    Load,
    Local,
    Ramp,
    Select,
    Var,
    children,
)
from cnnc.loop.interval import Range
from cnnc.loop.kernel import Alloc, Body, For, Kernel, Kind, Let, Prefetch, Stmt, Store
from cnnc.loop.rewrite import parts, with_children
from cnnc.loop.text import print_expr
from cnnc.lowering.lets import Names, names_in
from cnnc.lowering.loops import ScheduleError, substitute
from cnnc.lowering.permuted import Permuted


def expand_vectors(kernel: Kernel) -> Kernel:
    """for v < 16 vector: y[a + v] = x[b + v] * s[c]  →  y[a : a + 16] = x[b : b + 16] * s[c].

    Where lanes read what is no such line, but lies beside each other in a way that is known, they
    are taken from whole vectors (`Permuted`).
    """
    return kernel.with_body(_Expansion(kernel).body(kernel.body, {}))


class _Expansion:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    @cached_property
    def names(self) -> Names:
        """Of vectors that others are taken from."""
        return Names(names_in(self._kernel))

    def body(self, body: Body, ranges: Mapping[str, Range]) -> Body:
        """Statements in which variables have these ranges."""
        result: list[Stmt] = []
        for stmt in body:
            if isinstance(stmt, For) and stmt.kind is Kind.VECTOR:
                single = substitute(stmt.body, {stmt.var: Const(0)}) if stmt.extent == 1 else None
                result.extend(single or _Vector(stmt, ranges, self).body())
            elif isinstance(stmt, For):
                inside = {**ranges, stmt.var: (0, stmt.extent - 1)}
                result.append(stmt.with_body(self.body(stmt.body, inside)))
            else:
                result.append(stmt)
        return tuple(result)


class _Vector:
    """The statements of one vector loop."""

    def __init__(self, loop: For, ranges: Mapping[str, Range], kernel: _Expansion) -> None:
        self.loop = loop
        self.var = Var(loop.var)
        self.ranges = ranges
        self.kernel = kernel
        self.widths: dict[str, int] = {}

    def body(self) -> Body:
        """For all lanes at once."""
        result: list[Stmt] = []
        for stmt in self.loop.body:
            # anew for each, as it may read what the one before it stored
            lanes = Permuted(self.var, self.loop.extent, self.ranges, lambda: self.kernel.names)
            match stmt:
                case Let(name, value):
                    wide = self._wide(value, lanes)
                    self.widths[name] = wide.lanes
                    result += [*lanes.lets, Let(name, wide)]
                case Store(buffer, (index,), value):
                    if not _mentions(index, self.var):
                        raise ScheduleError(f"{buffer.name} does not vary with {self.loop.var}")
                    wide = self._wide(value, lanes)
                    result += [*lanes.lets, Store(buffer, (self._ramp(index),), wide)]
                case Alloc() | For() | Prefetch():
                    raise ScheduleError(f"the vector loop {self.loop.var} is not innermost")
        return tuple(result)

    def _wide(self, expr: Expr, lanes: Permuted) -> Expr:
        """A value in all lanes."""
        match expr:
            case Load(buffer, (index,)):
                return self._load(buffer, index, lanes) if _mentions(index, self.var) else expr
            case Cast(index, dtype) if index.dtype is None:
                return Cast(self._ramp(index), dtype) if _mentions(index, self.var) else expr
            case Local(name, dtype, _) if name in self.widths:
                return Local(name, dtype, self.widths[name])
            case Select(Compare() as test, then, otherwise) if self._differs(test):
                ends = self._wide(then, lanes), self._wide(otherwise, lanes)
                if chosen := lanes.choice(test, *ends):
                    return chosen
                raise self._fault(test)
            case Compare() if self._differs(expr):
                raise self._fault(expr)
        return with_children(expr, tuple(self._wide(part, lanes) for part in children(expr)))

    def _load(self, buffer: Buffer, index: Expr, lanes: Permuted) -> Expr:
        try:
            return Load(buffer, (self._ramp(index),))
        except ScheduleError:
            if permuted := lanes.load(buffer, index):
                return permuted
            raise

    def _ramp(self, index: Expr) -> Expr:
        stride = affine(index).coefficient(self.var)
        rest = affine(index - self.var * stride).expr()
        if _mentions(rest, self.var):
            raise ScheduleError(f"{print_expr(index)} is not linear in {self.var.name}")
        return Ramp(rest, self.loop.extent, stride) if stride else rest

    def _differs(self, test: Compare) -> bool:
        """Whether a comparison of indices has several results."""
        return test.left.dtype is None and _mentions(test, self.var)

    def _fault(self, test: Expr) -> ScheduleError:
        return ScheduleError(f"{print_expr(test)} differs between the lanes of {self.var.name}")


def _mentions(expr: Expr, var: Var) -> bool:
    return any(part == var for part in parts(expr))
