"""Kernels and programs as readable text; `cnnc.loop.parse` reads kernels back."""

import json

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.loop.expr import (
    Binary,
    Buffer,
    Call,
    Cast,
    Compare,
    Const,
    Expr,
    Fma,
    Lanes,
    Load,
    Local,
    Ramp,
    Select,
    Var,
    children,
)
from cnnc.loop.kernel import (
    Alloc,
    Body,
    For,
    Kernel,
    Kind,
    Let,
    Place,
    Prefetch,
    Program,
    Region,
    Stmt,
    Store,
)

SYMBOLS = {
    "or": ("or", 1),
    "and": ("and", 2),
    "add": ("+", 4),
    "sub": ("-", 4),
    "mul": ("*", 5),
    "div": ("/", 5),
    "floordiv": ("//", 5),
    "mod": ("%", 5),
}
"""Infix operations: how they are written and how tightly they bind."""
COMPARISONS = {"lt": "<", "le": "<=", "eq": "==", "ne": "!="}
_COMPARISON_LEVEL = 3
_ATOM = 9


def print_kernel(kernel: Kernel) -> str:
    """The kernel as text, ending in a newline."""
    origin = kernel.origin
    lines = [f"kernel {kernel.name} {{"]
    for name, text in (
        ("layer", origin.layer),
        ("op", origin.op),
        ("place", origin.place),
        ("algorithm", origin.algorithm),
    ):
        if text:
            lines.append(f"  {name} {json.dumps(text, ensure_ascii=False)}")
    if origin.macs:
        lines.append(f"  macs {origin.macs}")
    for param in kernel.params:
        role = "out" if param.name in kernel.outputs else "in"
        lines.append(f"  {role} {print_buffer(param)}")
    return "\n".join([*lines, *_body(kernel.body, "  "), "}"]) + "\n"


def print_program(program: Program) -> str:
    """Inputs, outputs and memory, the steps in order, then every kernel."""
    lines = [f"program {program.name} {{"]
    for role, ports in (("input", program.inputs), ("output", program.outputs)):
        lines += [f"  {role} {port.name}: {port.dtype}{_shape(port.shape)}" for port in ports]
    lines.append(f"  arena {program.arena_bytes} bytes{' a thread' * program.apart}")
    lines += [f"  steps for {samples_text(program)}"] * program.apart
    if program.scratch_bytes:
        lines.append(f"  scratch {program.scratch_bytes} bytes a thread")
    lines.append(f"  weights {program.weights_bytes} bytes")
    lines += [
        f"    at {blob.offset}: {blob.name}, {blob.contents.bytes}" for blob in program.weights
    ]
    for step in program.steps:
        kernel = program.kernels[step.kernel]
        args = [
            f"{param.name} = {_place(place, program)}"
            for param, place in zip(kernel.params, step.places, strict=True)
        ]
        lines += ["  barrier"] if step.barrier else []
        alone = "" if step.shared else "alone "
        lines.append(f"  {alone}{kernel.name}({', '.join(args)})  # {step.layer}")
    kernels = "".join(f"\n{print_kernel(kernel)}" for kernel in program.kernels)
    return "\n".join([*lines, "}"]) + "\n" + kernels


def samples_text(program: Program) -> str:
    """What the steps of a program are run for, where samples are apart."""
    return f"each of {'at most ' * program.is_range}{program.repeats} samples"


def print_buffer(buffer: Buffer) -> str:
    """Name, element type, shape, and the layout if it is not plain."""
    text = f"{buffer.name}: {buffer.dtype}{_shape(buffer.shape)}"
    return text if buffer.layout.is_plain else f"{text} @ {buffer.layout}"


def print_statement(stmt: Stmt) -> str:
    """One statement; of a loop, only its first line."""
    match stmt:
        case For(var, extent, _, kind, reduces, samples, turned, grain):
            words = ["samples"] if samples else []
            words += ["reduce"] if reduces else []
            words += ["turned"] if turned else []
            words += [kind.value] if kind is not Kind.SERIAL else []
            words += [f"by {grain}"] if grain else []
            return " ".join([f"for {var} in {extent}", *words, "{"])
        case Alloc(buffer):
            return f"{buffer.space.value} {print_buffer(buffer)}"
        case Let(name, value):
            return f"let {name} = {print_expr(value)}"
        case Store(buffer, index, value):
            return f"{_access(buffer, index)} = {print_expr(value)}"
        case Prefetch(buffer, index, later):
            return f"prefetch {'later ' * later}{_access(buffer, index)}"


def print_expr(expr: Expr) -> str:
    """One expression."""
    return _expr(expr)[0]


def _body(body: Body, pad: str) -> list[str]:
    lines: list[str] = []
    for stmt in body:
        lines.append(pad + print_statement(stmt))
        if isinstance(stmt, For):
            lines += [*_body(stmt.body, f"{pad}  "), f"{pad}}}"]
    return lines


def _shape(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _place(place: Place, program: Program) -> str:
    match place.region:
        case Region.INPUT:
            return program.inputs[place.index].name
        case Region.OUTPUT:
            return program.outputs[place.index].name
    return f"{place.region.value} + {place.offset}"


def _access(buffer: Buffer, index: tuple[Expr, ...]) -> str:
    return f"{buffer.name}[{', '.join(map(print_expr, index))}]"


def _expr(expr: Expr) -> tuple[str, int]:
    """Text, and how tightly its outermost operation binds."""
    if name := _function(expr):
        return f"{name}({', '.join(map(print_expr, children(expr)))})", _ATOM
    match expr:
        case Const(value, dtype):
            return _number(value, dtype), _ATOM
        case Var(name) | Local(name, _, _):
            return name, _ATOM
        case Ramp(base, width, stride):
            step = f" by {stride}" if stride != 1 else ""
            return f"{print_expr(base)} :+ {width}{step}", 0
        case Load(buffer, index):
            return _access(buffer, index), _ATOM
        case Lanes(parts, places):
            taken = ", ".join(map(str, places))
            return f"lanes({taken} of {', '.join(map(print_expr, parts))})", _ATOM
        case Compare(op, left, right):
            return _infix(COMPARISONS[op], _COMPARISON_LEVEL, left, right)
        case Binary("add", left, Const(value, None)) if value < 0:
            return _infix("-", SYMBOLS["sub"][1], left, Const(-value))
        case Binary(op, left, right):
            return _infix(*SYMBOLS[op], left, right)
    raise TypeError(f"{expr!r} has no text")


def _function(expr: Expr) -> str | None:
    """What is written before the parentheses; None for what is not written as a call."""
    match expr:
        case Fma() | Select():
            return type(expr).__name__.lower()
        case Cast(_, dtype):
            return str(dtype)
        case Call(name, _) | Binary("min" | "max" as name, _, _):
            return name
    return None


def _infix(symbol: str, level: int, left: Expr, right: Expr) -> tuple[str, int]:
    """Operations group to the left; comparisons do not group."""
    a, level_a = _expr(left)
    b, level_b = _expr(right)
    a = f"({a})" if level_a < level + (level == _COMPARISON_LEVEL) else a
    b = f"({b})" if level_b <= level else b
    return f"{a} {symbol} {b}", level


def _number(value: int | float, dtype: DType | None) -> str:
    if dtype is None:
        return str(value)
    if dtype is DType.BOOL:
        return "true" if value else "false"
    number = repr(float(value)) if dtype.is_float else str(int(value))
    return number if dtype is DType.F32 else f"{number}:{dtype}"
