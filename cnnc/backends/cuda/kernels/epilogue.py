"""What becomes of each sum before it is stored, in registers: any tail, as text."""

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from cnnc.backends.cuda.expressions import ATOM, Printer, value_type
from cnnc.backends.cuda.kernel import Wish
from cnnc.backends.cuda.templates import render
from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.loop.affine import affine
from cnnc.loop.expr import Buffer, Const, Expr, Load, Var, children
from cnnc.loop.kernel import Let, Store
from cnnc.loop.task import SUM, Task

POSITIONS: Mapping[int, tuple[str, ...]] = {
    2: ("n", "oc"),
    3: ("n", "oc", "ol"),
    4: ("n", "oc", "oh", "ow"),
}
"""The variables of a position in a tensor of this rank."""


@record
class Operand:
    """Elements at n * strides[0] + oh * strides[1] + ow * strides[2] + oc * channel + offset."""

    argument: str
    element: str
    strides: tuple[int, int, int]
    channel: int
    offset: int

    def allows(self, width: int) -> bool:
        """Whether `width` neighbouring channels, the first a multiple of it, are one load."""
        firsts = (*self.strides, self.offset)
        return self.channel == 1 and all(first % width == 0 for first in firsts)

    def at(self, space: tuple[int, int, int]) -> str:
        """The offset in the kernels' text, of results with these extents of n, oh and ow.

        `c` is the channel; `pixel` numbers positions, for what lies as the result does.
        """
        named = zip(("n", "oh", "ow"), self.strides, space, strict=True)
        axes = [each for each in named if each[2] > 1]
        parts = [(name, stride) for name, stride, _ in axes]
        inner = axes[-1][1] if axes else 0
        steps = [inner * prod(extent for _, _, extent in axes[i:]) for i in range(1, len(axes) + 1)]
        if inner and [stride for _, stride in parts] == steps:
            parts = [("pixel", inner)]
        parts.append(("c", self.channel))
        terms = [name if factor == 1 else f"{name} * {factor}" for name, factor in parts if factor]
        terms += [str(self.offset)] * (self.offset != 0 or not terms)
        return " + ".join(terms)


@record
class Tail:
    """A function of the sum and of what the tail reads, and the operands in its order."""

    operands: tuple[Operand, ...]
    lines: tuple[str, ...]
    result: str
    result_operand: Operand


@record
class TailView:
    """What the template of the function sees."""

    name: str
    parameters: str
    lines: tuple[str, ...]
    result: str


@record
class Access:
    """A statement that loads neighbouring channels into the array `name`."""

    name: str
    statement: str


@record
class Epilogue:
    """What the templates of kernels see: `width` channels from `c` on at position `pixel`.

    `column_loads` depend on the channel alone. `needs` says which of pixel, n, oh and ow are read.
    The values stand in `sums`; `call` is what becomes of element i. Where `is_vector` is false, the
    statements read `valid`, how many of the channels there are.
    """

    function: str
    width: int
    is_vector: bool
    column_loads: tuple[Access, ...]
    row_loads: tuple[Access, ...]
    needs: frozenset[str]
    call: str
    store: str

    def position(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """Statements that name what is read of these, given as text."""
        return tuple(f"const int {n} = {text};" for n, text in values.items() if n in self.needs)


def make_epilogue(
    wish: Wish, tail: Tail, space: tuple[int, int, int], channels: int, width: int
) -> Epilogue:
    """The epilogue of a kernel for results of (batch, height, width) and these channels.

    `width` neighbouring channels are done at a time; of a group, where there are groups.
    """
    name, everything = wish.name, (*tail.operands, tail.result_operand)
    is_vector = channels % width == 0 and all(
        each.channel == 0 or (each.allows(width) and _is_aligned(each, width, wish))
        for each in everything
    )
    loads = []
    for operand in tail.operands:
        at = f"&{operand.argument}[{operand.at(space)}]"
        into = f"{operand.argument}_v"
        if operand.allows(width) and is_vector:
            text = f"cnnc::load({into}, {at});"
        else:
            count = width if is_vector else "valid"
            text = f"cnnc::gather<{operand.channel}>({into}, {at}, {count});"
        loads.append((any(operand.strides), Access(into, text)))
    result = tail.result_operand
    target = f"&{result.argument}[{result.at(space)}]"
    store = (
        f"cnnc::store({target}, sums);"
        if is_vector
        else f"cnnc::scatter<{result.channel}>({target}, sums, valid);"
    )
    text = " ".join(each.at(space) for each in everything)
    called = ", ".join(["sums[i]", *(f"{access.name}[i]" for _, access in loads)])
    parameters = ", ".join(f"float {each}" for each in ["sum", *_values(tail)])
    view = TailView(f"{name}_tail", parameters, tail.lines, tail.result)
    is_plain = not tail.lines and tail.result == "sum"
    return Epilogue(
        "" if is_plain else render("tail.cu", view),
        width,
        is_vector,
        tuple(access for moves, access in loads if not moves),
        tuple(access for moves, access in loads if moves),
        frozenset({"pixel", "n", "oh", "ow"} & set(text.split())),
        "sums[i]" if is_plain else f"{name}_tail({called})",
        store,
    )


def _is_aligned(operand: Operand, width: int, wish: Wish) -> bool:
    """Whether so many neighbours are moved by one instruction, or by several of 16 bytes."""
    size = wish.bytes_of(operand.argument) * width
    return width == 1 or wish.alignment % min(size, 16) == 0


def _values(tail: Tail) -> Iterator[str]:
    return (operand.argument for operand in tail.operands)


def tail_of(task: Task) -> Tail | None:
    """The tail of a task, its bias first; None where this cannot be written in float32."""
    y = task.param("y")
    if y.dtype is not DType.F32 or len(y.shape) not in POSITIONS:
        return None
    bias = Operand("bias", "float", (0, 0, 0), 1, 0)
    operands = (bias,) if task.has("bias") else ()
    lines = ("const float biased = sum + bias;",) if operands else ()
    if task.tail is None:
        place = _operand(Load(y, (_plain_offset(y),)))
        return Tail(operands, lines, "biased" if lines else "sum", place) if place else None
    *lets, store = task.tail.body
    if not isinstance(store, Store) or not all(isinstance(each, Let) for each in lets):
        return None
    return _written(operands, lines, [each for each in lets if isinstance(each, Let)], store)


def _written(
    operands: tuple[Operand, ...], lines: tuple[str, ...], lets: Sequence[Let], store: Store
) -> Tail | None:
    """The tail with these statements behind its first lines."""
    loads = _distinct([*(each.value for each in lets), store.value])
    read = [operand for load in loads if (operand := _operand(load))]
    place = _operand(Load(store.buffer, store.index))
    is_once = len({operand.argument for operand in read}) == len(loads)
    if place is None or not is_once or any(each.value.dtype is None for each in lets):
        return None
    names = {load: (load.buffer.name, ATOM) for load in loads}
    printer = Printer(names.__getitem__, locals={SUM: "biased" if lines else "sum"})
    for each in lets:
        printer.locals[each.name] = name = each.name.replace(".", "_") + "_"
        kind = value_type(each.value.dtype, "int")
        lines = (*lines, f"const {kind} {name} = {printer.value(each.value)[0]};")
    return Tail((*operands, *read), lines, printer.value(store.value)[0], place)


def _distinct(values: Sequence[Expr]) -> list[Load]:
    """The loads in these values, each once, in order."""
    found: dict[Load, None] = {}

    def visit(expr: Expr) -> None:
        if isinstance(expr, Load):
            found[expr] = None
            return
        for child in children(expr):
            visit(child)

    for value in values:
        visit(value)
    return list(found)


def _operand(load: Load) -> Operand | None:
    """What is read at a flat index; None where that is no sum of the position, or no float32."""
    form = affine(load.index[0])
    factors = {term.name: factor for term, factor in form.terms if isinstance(term, Var)}
    if len(factors) != len(form.terms) or load.buffer.dtype is not DType.F32:
        return None
    assert set(factors) <= {"n", "oc", "ol", "oh", "ow"}, factors
    strides = (factors.get("n", 0), factors.get("oh", 0), factors.get("ow", factors.get("ol", 0)))
    return Operand(load.buffer.name, "float", strides, factors.get("oc", 0), form.constant)


def _plain_offset(y: Buffer) -> Expr:
    """Where the result's element lies, of a layer with nothing behind it."""
    total: Expr = Const(0)
    strides = strides_of(y.layout.order, y.shape)
    for name, stride in zip(POSITIONS[len(y.shape)], strides, strict=True):
        total = total + Var(name) * stride
    return total


def strides_of(order: tuple[int, ...], shape: Shape) -> tuple[int, ...]:
    """Elements between neighbours along each axis, for axes that lie in this order."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)
