"""An AST as indented text."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from cnnc.base.source import Span
from cnnc.frontend import ast


def format_ast(program: ast.Program) -> str:
    """One line per node: its class, what it holds itself, and its place."""
    return "\n".join(_lines("", program, 0))


def _lines(role: str, node: object, depth: int) -> Iterator[str]:
    """The node and everything below it; empty parts are left out."""
    pad, label = "  " * depth, f"{role}: " if role else ""
    if isinstance(node, tuple):
        for item in node:
            yield from _lines(role, item, depth)
        return
    if not is_dataclass(node) or isinstance(node, Span):
        yield f"{pad}{label}{_text(node)}"
        return
    own, below = [], []
    for each in fields(node):
        value: object = getattr(node, each.name)
        if isinstance(value, Span) or value is None or value == ():
            continue
        if isinstance(value, ast.Name | ast.Text):
            own.append(f"{each.name}={_text(value)}")
        elif is_dataclass(value) or isinstance(value, tuple):
            below.append((each.name, value))
        else:
            own.append(f"{each.name}={_text(value)}")
    span: object = getattr(node, "span", None)
    place = f"  @{span.line}:{span.column}" if isinstance(span, Span) else ""
    head = " ".join([type(node).__name__, *own])
    yield f"{pad}{label}{head}{place}"
    for name, value in below:
        yield from _lines(name, value, depth + 1)


def _text(value: object) -> str:
    match value:
        case ast.Name(text):
            return text
        case ast.Text(text):
            return f'"{text}"'
        case bool():
            return str(value).lower()
    return str(value)
