"""Three-way blame: which room disagrees with the other two."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np

from cnnc.backends.interp.evaluate import run_kernel
from cnnc.base.errors import InternalError
from cnnc.base.layout import Layout
from cnnc.base.report import Json
from cnnc.ir.graph import Array, Node
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.loop.interval import Range, bounds
from cnnc.loop.kernel import For, Kernel, Kind, Stmt, Store, walk
from cnnc.lowering.elementary import expand_elementary
from cnnc.lowering.loops import parallelise
from cnnc.memory import aligned, packed, unpacked
from cnnc.ops.composed import components
from cnnc.ops.spec import Operator

NATIVE = "native backend"
LOWERING = "lowering"
OPERATOR = "operator definition"
PASSES = "passes"
PROGRAM = "memory plan and program"


@dataclass(frozen=True, slots=True)
class Blame:
    """The guilty room, what speaks against it, and where the source asked for the layer."""

    room: str
    why: str
    layer: str = ""
    place: str = ""

    def to_json(self) -> dict[str, Json]:
        """The finding as plain data."""
        return {"room": self.room, "why": self.why, "layer": self.layer, "place": self.place}

    def __str__(self) -> str:
        return f"{self.room}: {self.why}"


@dataclass(frozen=True, slots=True)
class Suspect:
    """One element of a layer's result that is out of tolerance.

    `scheduled` is the layer's kernel before flattening and `flat` what the backend got; `operands`
    are the logical arrays, `value` and `allowed` the exact element and its tolerance.
    """

    node: Node
    scheduled: Kernel
    flat: Kernel
    operands: tuple[Array, ...]
    index: tuple[int, ...]
    value: float
    allowed: float


def blame_layer(suspect: Suspect, backend: str) -> Blame:
    """Run the element through the interpreter: as compiled, then as the operator defines it."""
    place = str(suspect.node.span or "")
    compiled = _interpret_flat(suspect)
    if backend != "interp" and _agrees(compiled, suspect):
        why = f"the interpreter runs the same loops and gets {_show(compiled)}, which is right"
        return Blame(NATIVE, why, suspect.node.name, place)
    defined = _interpret_definition(suspect)
    if _agrees(defined, suspect):
        why = (
            f"the operator's own loops give {_show(defined)}, which is right; "
            f"after scheduling and flattening they give {_show(compiled)}"
        )
        return Blame(LOWERING, why, suspect.node.name, place)
    why = f"its loops give {_show(defined)}, its reference {suspect.value!r}"
    modules = " or ".join(_modules(suspect.node))
    return Blame(f"{OPERATOR} ({modules})", why, suspect.node.name, place)


def _modules(node: Node) -> list[str]:
    """Where the definition may be wrong: the operator's file; of a fused one, all that it joins."""
    return list(dict.fromkeys(type(each).__module__ for each in components(node.op)))


def definition(node: Node) -> Kernel:
    """The loops as the operator writes them: row-major, not scheduled, still with indices."""
    op = node.op
    if not isinstance(op, Operator):
        raise InternalError(f"{node.name} is no operator", stage="diff")
    params = [
        Buffer(f"x{position}", operand.type.shape, operand.type.dtype, _plain(operand))
        for position, operand in enumerate(node.inputs)
    ]
    out = Buffer("y", node.type.shape, node.type.dtype, _plain(node))
    build = KernelBuilder(out, *params)
    op.define(build, *params)
    return Kernel("definition", (*params, out), ("y",), build.body)


def tasks_of(kernel: Kernel, index: Sequence[int]) -> frozenset[int]:
    """The iterations of the parallel nests that may write the element, for `run_kernel`."""
    found = [set(_nest_tasks(stmt, kernel.outputs[0], index)) for stmt in kernel.body]
    return frozenset().union(*found)


def _nest_tasks(stmt: Stmt, out: str, index: Sequence[int]) -> Iterator[int]:
    """Iterations of a parallel nest whose stores to `out` may reach the index; 0 for other code."""
    loops: list[For] = []
    inner = stmt
    while isinstance(inner, For) and inner.kind is Kind.PARALLEL:
        loops.append(inner)
        if len(inner.body) != 1:
            break
        inner = inner.body[0]
    if not loops:
        yield 0
        return
    body = loops[-1].body
    ranges: dict[str, Range] = {}
    for each in walk((stmt,)):
        if isinstance(each, For):  # several may have one name, and different extents
            _, last = ranges.get(each.var, (0, 0))
            ranges[each.var] = (0, max(last, each.extent - 1))
    stores = [each for each in walk(body) if isinstance(each, Store) and each.buffer.name == out]
    extents = [loop.extent for loop in loops]
    for steps in _narrow(loops, stores, index, ranges):
        yield int(np.ravel_multi_index(steps, extents))


def _narrow(
    loops: Sequence[For], stores: Sequence[Store], index: Sequence[int], ranges: dict[str, Range]
) -> Iterator[tuple[int, ...]]:
    """Steps of the loops from which a store may reach the index, one loop after the other."""
    if not loops:
        yield ()
        return
    first, *rest = loops
    for step in range(first.extent):
        fixed = {**ranges, first.var: (step, step)}
        if any(_reaches(store, index, fixed) for store in stores):
            for steps in _narrow(rest, stores, index, fixed):
                yield (step, *steps)


def _reaches(store: Store, index: Sequence[int], ranges: dict[str, Range]) -> bool:
    for part, wanted in zip(store.index, index, strict=True):
        low, high = bounds(part, ranges)
        if not low <= wanted <= high:
            return False
    return True


def _interpret_flat(suspect: Suspect) -> float | str:
    """The element from the kernel the backend got."""
    *params, out = suspect.scheduled.params
    buffers = [
        packed(param, operand) for param, operand in zip(params, suspect.operands, strict=True)
    ]
    # Flattening keeps parallel loops, and indices say more exactly than offsets who writes what.
    tasks = tasks_of(suspect.scheduled, suspect.index)
    return _run(suspect.flat, [*buffers, _undefined(out)], tasks, out, suspect.index)


def _interpret_definition(suspect: Suspect) -> float | str:
    """The element from the operator's own loops."""
    kernel = definition(suspect.node)
    axes = _grid(kernel)
    kernel = expand_elementary(parallelise(kernel, *axes))
    out = kernel.params[-1]
    buffers = [
        packed(param, operand)
        for param, operand in zip(kernel.params[:-1], suspect.operands, strict=True)
    ]
    tasks = tasks_of(kernel, suspect.index)
    return _run(kernel, [*buffers, _undefined(out)], tasks, out, suspect.index)


def _run(
    kernel: Kernel, buffers: list[Array], tasks: Set[int], out: Buffer, index: tuple[int, ...]
) -> float | str:
    try:
        run_kernel(kernel, buffers, tasks)
    except InternalError as error:
        return error.message
    return float(unpacked(out, buffers[-1])[index].item())


def _grid(kernel: Kernel) -> list[str]:
    """Variables of the outermost perfect nest without reductions."""
    names: list[str] = []
    body = kernel.body
    while len(body) == 1 and isinstance(body[0], For) and not body[0].reduces:
        names.append(body[0].var)
        body = body[0].body
    return names


def _undefined(buffer: Buffer) -> Array:
    memory = aligned(buffer.layout.size(buffer.shape), buffer.dtype.numpy)
    memory[:] = np.nan if buffer.dtype.is_float else 0
    return memory


def _agrees(got: float | str, suspect: Suspect) -> bool:
    if isinstance(got, str):
        return False
    rounded = float(suspect.node.type.dtype.numpy.type(suspect.value))
    if np.isfinite(got) and np.isfinite(suspect.value):
        return bool(abs(got - suspect.value) <= suspect.allowed)
    return bool(got == rounded or (np.isnan(got) and np.isnan(rounded)))


def _show(got: float | str) -> str:
    return got if isinstance(got, str) else repr(got)


def _plain(node: Node) -> Layout:
    return Layout.plain(node.type.rank)
