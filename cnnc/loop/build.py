"""How operators write loops."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout, Shape
from cnnc.loop.expr import (
    Binary,
    Buffer,
    Cast,
    Const,
    Expr,
    Index,
    Load,
    Local,
    Space,
    Var,
    as_index,
    as_like,
    binary,
    select,
)
from cnnc.loop.interval import Range, bounds
from cnnc.loop.kernel import Alloc, Body, For, Let, Stmt, Store, register

Epilogue = Callable[["KernelBuilder", tuple[Expr, ...], Expr], Expr]

SPATIAL = {0: (), 1: ("l",), 2: ("h", "w"), 3: ("d", "h", "w")}
"""Letters of the spatial axes by their number."""


def spatial_letters(rank: int) -> tuple[str, ...]:
    """Letters of `rank` spatial axes: l; h, w; d, h, w; then p0, p1, …"""
    return SPATIAL.get(rank) or tuple(f"p{axis}" for axis in range(rank))


def grid_names(rank: int) -> tuple[str, ...]:
    """Loop variables over a result: n, oc, then ol, or oh and ow."""
    letters = spatial_letters(max(0, rank - 2))
    return ("n", "oc", *(f"o{letter}" for letter in letters))[:rank]


class KernelBuilder:
    """Collects the statements of one kernel.

    `out` is the result's buffer, `inputs` are all others. `result` stores into it through the
    epilogue, which is how fused pointwise operators see the value before it reaches memory.
    """

    def __init__(self, out: Buffer, *inputs: Buffer) -> None:
        self.out = out
        self._epilogues: list[Epilogue] = []
        self._bodies: list[list[Stmt]] = [[]]
        self._ranges: dict[str, Range] = {}
        self._names: set[str] = {buffer.name for buffer in (out, *inputs)}

    @property
    def body(self) -> Body:
        """What has been written."""
        return tuple(self._bodies[0])

    @contextmanager
    def loop(self, name: str, extent: int, *, reduces: bool = False) -> Iterator[Var]:
        """A loop around what is written inside the `with`.

        Loops that stand side by side may share a name, so that one schedule serves them all.
        """
        while name in self._ranges:
            name += "_"
        self._ranges[name] = (0, extent - 1)
        self._bodies.append([])
        yield Var(name)
        body = tuple(self._bodies.pop())
        del self._ranges[name]
        self._bodies[-1].append(For(name, extent, body, reduces=reduces))

    @contextmanager
    def loops(
        self, names: Sequence[str], extents: Shape, *, reduces: bool = False
    ) -> Iterator[tuple[Var, ...]]:
        """A nest of loops, the first name outermost."""
        if not names:
            yield ()
            return
        with (
            self.loop(names[0], extents[0], reduces=reduces) as first,
            self.loops(names[1:], extents[1:], reduces=reduces) as rest,
        ):
            yield (first, *rest)

    @contextmanager
    def grid(self) -> Iterator[tuple[Var, ...]]:
        """One loop per axis of the result: n, oc, then ol, or oh and ow."""
        with self.loops(grid_names(len(self.out.shape)), self.out.shape) as index:
            yield index

    def register(self, name: str, dtype: DType, value: Expr) -> Buffer:
        """A scalar accumulator that starts at `value`."""
        buffer = register(self._fresh(name), (), dtype)
        self._emit(Alloc(buffer))
        self.store(buffer, (), value)
        return buffer

    def scratch(self, name: str, shape: Shape, dtype: DType, layout: Layout) -> Buffer:
        """Memory for values between the nests that follow, the running thread's own."""
        buffer = Buffer(self._fresh(name), shape, dtype, layout, Space.SCRATCH)
        self._emit(Alloc(buffer))
        return buffer

    def let(self, name: str, value: Expr) -> Local:
        """A name for a value, so that it is computed once."""
        name = self._fresh(name)
        self._emit(Let(name, value))
        return Local(name, value.dtype, value.lanes)

    def store(self, buffer: Buffer, index: Sequence[Index], value: Expr) -> None:
        """Write one element."""
        self._emit(Store(buffer, tuple(as_index(part) for part in index), value))

    def write(self, body: Body) -> None:
        """Statements that are written already."""
        self._bodies[-1].extend(body)

    def result(self, index: Sequence[Expr], value: Expr) -> None:
        """Write one element of the result, after the epilogue."""
        where = tuple(index)
        for epilogue in reversed(self._epilogues):
            value = epilogue(self, where, value)
        self.store(self.out, where, value)

    @contextmanager
    def epilogue(self, epilogue: Epilogue) -> Iterator[None]:
        """Results written inside the `with` pass through `epilogue(build, index, value)` first."""
        self._epilogues.append(epilogue)
        yield
        self._epilogues.pop()

    def padded(self, x: Buffer, index: Sequence[Expr], fill: float) -> Expr:
        """The element at `index`, or `fill` outside the tensor.

        Indices that stay inside the tensor, or inside its halo when `fill` is zero, are not tested.
        """
        inside: Expr = Const(1, DType.BOOL)
        clamped: list[Expr] = []
        for axis, (part, extent) in enumerate(zip(index, x.shape, strict=True)):
            low, high = self.range(part)
            halo = x.layout.halo_of(axis) if fill == 0 else (0, 0)
            lowest, highest = -halo[0], extent - 1 + halo[1]
            safe = part
            if low < lowest:
                inside = both(inside, part >= 0)
                safe = maximum(safe, 0)
            if high > highest:
                inside = both(inside, part < extent)
                safe = minimum(safe, extent - 1)
            clamped.append(safe)
        return select(inside, Load(x, tuple(clamped)), Const(fill, x.dtype))

    def nearest(self, x: Buffer, index: Sequence[Expr]) -> Expr:
        """The element at `index`, or the nearest one to it inside the tensor."""
        clamped: list[Expr] = []
        for part, extent in zip(index, x.shape, strict=True):
            low, high = self.range(part)
            part = maximum(part, 0) if low < 0 else part
            clamped.append(minimum(part, extent - 1) if high >= extent else part)
        return Load(x, tuple(clamped))

    def inside(self, index: Sequence[Expr], shape: Shape) -> Expr:
        """Whether an index lies inside a shape; constant where it always does."""
        holds: Expr = Const(1, DType.BOOL)
        for part, extent in zip(index, shape, strict=True):
            low, high = self.range(part)
            if low < 0:
                holds = both(holds, part >= 0)
            if high >= extent:
                holds = both(holds, part < extent)
        return holds

    def range(self, index: Expr) -> Range:
        """Smallest and largest value of an index here."""
        return bounds(index, self._ranges)

    def _emit(self, stmt: Stmt) -> None:
        self._bodies[-1].append(stmt)

    def _fresh(self, name: str) -> str:
        fresh, count = name, 0
        while fresh in self._names:
            count += 1
            fresh = f"{name}_{count}"
        self._names.add(fresh)
        return fresh


def number(index: Expr, dtype: DType) -> Expr:
    """An index as a number."""
    if isinstance(index, Const):
        return Const(float(index.value) if dtype.is_float else int(index.value), dtype)
    return Cast(index, dtype)


def maximum(left: Expr, right: Index) -> Expr:
    """The larger; NaN if either is."""
    return binary("max", left, as_like(right, left))


def minimum(left: Expr, right: Index) -> Expr:
    """The smaller; NaN if either is."""
    return binary("min", left, as_like(right, left))


def both(left: Expr, right: Expr) -> Expr:
    """Logical and."""
    match left, right:
        case Const(value), other:
            return other if value else left
        case other, Const(value):
            return other if value else right
    return Binary("and", left, right)
