"""Three-way blame: which room disagrees with the other two."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from cnnc.backends.interp.evaluate import run_kernel
from cnnc.base.errors import InternalError
from cnnc.base.layout import Layout
from cnnc.base.report import Json
from cnnc.ir.graph import Array, Node
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.loop.interval import bounds
from cnnc.loop.kernel import For, Kernel, Kind, Stmt, Store, walk
from cnnc.lowering.elementary import expand_elementary
from cnnc.lowering.loops import parallelise
from cnnc.memory import aligned, packed, unpacked
from cnnc.ops.fused import Fused
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

    `params` are the layer's buffers as its scheduled kernel declares them and `flat` what the
    backend got; `operands` are the logical arrays, `value` and `allowed` the exact element and its
    tolerance.
    """

    node: Node
    params: tuple[Buffer, ...]
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
    root = suspect.node.op.root if isinstance(suspect.node.op, Fused) else suspect.node.op
    return Blame(f"{OPERATOR} ({type(root).__module__})", why, suspect.node.name, place)


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
    ranges = {each.var: (0, each.extent - 1) for each in walk(body) if isinstance(each, For)}
    stores = [each for each in walk(body) if isinstance(each, Store) and each.buffer.name == out]
    extents = [loop.extent for loop in loops]
    for task in range(prod(extents)):
        steps = np.unravel_index(task, extents)
        fixed = {loop.var: (int(step), int(step)) for loop, step in zip(loops, steps, strict=True)}
        if any(_reaches(store, index, {**ranges, **fixed}) for store in stores):
            yield task


def _reaches(store: Store, index: Sequence[int], ranges: dict[str, tuple[int, int]]) -> bool:
    for part, wanted in zip(store.index, index, strict=True):
        low, high = bounds(part, ranges)
        if not low <= wanted <= high:
            return False
    return True


def _interpret_flat(suspect: Suspect) -> float | str:
    """The element from the kernel the backend got."""
    out = suspect.params[-1]
    where = _offset(out, suspect.index)
    buffers = [
        packed(param, operand)
        for param, operand in zip(suspect.params[:-1], suspect.operands, strict=True)
    ]
    memory = _undefined(out)
    return _run(suspect.flat, [*buffers, memory], (where,), out, suspect.index)


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
    return _run(kernel, [*buffers, _undefined(out)], suspect.index, out, suspect.index)


def _run(
    kernel: Kernel, buffers: list[Array], store: Sequence[int], out: Buffer, index: tuple[int, ...]
) -> float | str:
    try:
        run_kernel(kernel, buffers, tasks_of(kernel, store))
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


def _offset(buffer: Buffer, index: tuple[int, ...]) -> int:
    """Where the element lies in the buffer's memory."""
    numbers = np.zeros(buffer.shape, np.int64)
    numbers[index] = 1
    return int(np.argmax(buffer.layout.pack(numbers).reshape(-1)))


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
