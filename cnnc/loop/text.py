"""Kernels as readable pseudo-code; `cnnc.loop.parse` reads it back."""

from cnnc.base.dtype import DType
from cnnc.loop.expr import (
    Binary,
    Buffer,
    Call,
    Cast,
    Compare,
    Const,
    Expr,
    Fma,
    Load,
    Local,
    Ramp,
    Select,
    Var,
)
from cnnc.loop.kernel import Alloc, Body, For, Kernel, Kind, Let, Store

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
            lines.append(f'  {name} "{text}"')
    if origin.macs:
        lines.append(f"  macs {origin.macs}")
    for param in kernel.params:
        role = "out" if param.name in kernel.outputs else "in"
        lines.append(f"  {role} {print_buffer(param)}")
    _print_body(kernel.body, 1, lines)
    return "\n".join([*lines, "}"]) + "\n"


def print_buffer(buffer: Buffer) -> str:
    """Name, element type, shape, and the layout if it is not plain."""
    shape = ", ".join(map(str, buffer.shape))
    text = f"{buffer.name}: {buffer.dtype}[{shape}]"
    return text if buffer.layout.is_plain else f"{text} @ {buffer.layout}"


def print_expr(expr: Expr) -> str:
    """One expression."""
    return _expr(expr)[0]


def _print_body(body: Body, depth: int, lines: list[str]) -> None:
    pad = "  " * depth
    for stmt in body:
        match stmt:
            case For(var, extent, inner, kind, reduces):
                words = ["reduce"] if reduces else []
                words += [kind.value] if kind is not Kind.SERIAL else []
                how = "".join(f" {word}" for word in words)
                lines.append(f"{pad}for {var} in {extent}{how} {{")
                _print_body(inner, depth + 1, lines)
                lines.append(f"{pad}}}")
            case Alloc(buffer):
                lines.append(f"{pad}register {print_buffer(buffer)}")
            case Let(name, value):
                lines.append(f"{pad}let {name} = {print_expr(value)}")
            case Store(buffer, index, value):
                lines.append(f"{pad}{_access(buffer, index)} = {print_expr(value)}")


def _access(buffer: Buffer, index: tuple[Expr, ...]) -> str:
    return f"{buffer.name}[{', '.join(map(print_expr, index))}]"


def _expr(expr: Expr) -> tuple[str, int]:
    """Text, and how tightly its outermost operation binds."""
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
        case Fma(a, b, c):
            return f"fma({', '.join(map(print_expr, (a, b, c)))})", _ATOM
        case Select(condition, then, otherwise):
            return f"select({', '.join(map(print_expr, (condition, then, otherwise)))})", _ATOM
        case Call(function, args):
            return f"{function}({', '.join(map(print_expr, args))})", _ATOM
        case Cast(value, dtype):
            return f"{dtype}({print_expr(value)})", _ATOM
        case Compare(op, left, right):
            return _infix(COMPARISONS[op], _COMPARISON_LEVEL, left, right)
        case Binary("min" | "max" as op, left, right):
            return f"{op}({print_expr(left)}, {print_expr(right)})", _ATOM
        case Binary(op, left, right):
            return _infix(*SYMBOLS[op], left, right)
    raise TypeError(f"{expr!r} has no text")


def _infix(symbol: str, level: int, left: Expr, right: Expr) -> tuple[str, int]:
    a, level_a = _expr(left)
    b, level_b = _expr(right)
    a = f"({a})" if level_a < level else a
    b = f"({b})" if level_b <= level else b
    return f"{a} {symbol} {b}", level


def _number(value: int | float, dtype: DType | None) -> str:
    if dtype is None:
        return str(value)
    if dtype is DType.BOOL:
        return "true" if value else "false"
    return f"{float(value)!r}{'' if dtype is DType.F32 else f':{dtype}'}"
