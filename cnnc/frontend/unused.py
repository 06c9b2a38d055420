"""Warnings for names that nothing reads."""

from collections.abc import Iterator
from dataclasses import fields

from cnnc.base.errors import Diagnostic
from cnnc.frontend import ast


def find_unused(program: ast.Program, net: ast.Net) -> Iterator[Diagnostic]:
    """What the whole file never mentions, and names of this net and of blocks without a use.

    A name that starts with `_` is meant to be unused.
    """
    everywhere = _mentioned(program)
    for param in program.params:
        yield from _warn("param", param.name, everywhere | {"N"})
    for each in program.imports:
        for imported in each.items:
            yield from _warn("import", imported.local, everywhere)
    for block in program.blocks:
        yield from _warn("block", block.name, everywhere)
        inside = _mentioned(block)
        for formal in block.formals:
            yield from _warn("parameter", formal.name, inside)
        for name in _bound(block.body):
            yield from _warn("binding", name, inside)
    inside = _mentioned(net)
    for item in net.items:
        if isinstance(item, ast.Input):
            yield from _warn("input", item.name, inside)
    for name in _bound(net):
        yield from _warn("binding", name, inside)


def _warn(what: str, name: ast.Name, mentioned: set[str]) -> Iterator[Diagnostic]:
    if name.text not in mentioned and not name.text.startswith("_"):
        message = f"{what} `{name.text}` is never used"
        help = f"remove it, or call it `_{name.text}`"
        yield Diagnostic("W0201", message, name.span, help=help, severity="warning")


def _mentioned(root: ast.Node) -> set[str]:
    names: set[str] = set()
    for node in _walk(root):
        match node:
            case ast.Reference() | ast.Call():
                names.add(node.name.text)
            case ast.OutputItem(value=None):
                names.add(node.name.text)
    return names


def _bound(root: ast.Node) -> Iterator[ast.Name]:
    for node in _walk(root):
        if isinstance(node, ast.Binding):
            yield from node.names
        if isinstance(node, ast.Repeat) and node.index is not None:
            yield node.index


def _walk(root: ast.Node) -> Iterator[ast.Node]:
    """Every node below the root in the order of the text, without recursion."""
    stack: list[object] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, tuple):
            stack += reversed(node)
        elif isinstance(node, ast.Node):
            yield node
            stack += [getattr(node, each.name) for each in reversed(fields(node))]
