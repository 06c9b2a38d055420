"""Prints a graph; `cnnc.ops.graph_text` reads it back.

    graph digits (batch=1)
    %0 image = input : f32[1, 1, 8, 8]
    %1 stem.weight = constant #5c1f0a9be2d3c4a7 : f32[16, 1, 3, 3]
    %2 stem.bias = constant [0.5, -1.0] : f32[2]
    %3 stem = conv(channels=16, kernel=3) %0, %1, %2 : f32[1, 16, 6, 6]@aBcd16b  # digits.cnn:12:5
    output logits = %3

One line per node: number, name, operator, operands, type. A constant shows its elements in
row-major order, or a digest of them where there are many. Comments are not read back.
"""

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np

from cnnc.ir.graph import Array, Constant, Graph, Input, Node, Op, Parameter

INLINE = 16
"""Elements of a constant that are still written out."""


def format_graph(graph: Graph, *, places: bool = False, inline: int = INLINE) -> str:
    """The graph as text, ending in a line end; with `places`, the source of each node."""
    number = {node: position for position, node in enumerate(graph.nodes)}
    fewest = "" if graph.fewest is None else f"{graph.fewest}.."
    apart = ", apart" if graph.is_apart else ""
    lines = [f"graph {graph.name} (batch={fewest}{graph.batch}{apart})"]
    for node in graph.nodes:
        line = f"%{number[node]} {format_node(node, number, inline)}"
        lines.append(f"{line}  # {node.span}" if places and node.span else line)
    lines += [f"output {name} = %{number[node]}" for name, node in graph.outputs.items()]
    return "\n".join(lines) + "\n"


def format_node(node: Node, number: Mapping[Node, int], inline: int = INLINE) -> str:
    """Name, operator, operands by their number, and type."""
    operands = ", ".join(f"%{number[operand]}" for operand in node.inputs)
    operation = _operation(node.op, inline)
    return f"{node.name} = {operation}{' ' if operands else ''}{operands} : {node.type}"


def _operation(op: Op, inline: int) -> str:
    match op:
        case Input():
            return "input"
        case Parameter(_, initial):
            fans = f", fan_in={initial.fan_in}, fan_out={initial.fan_out}"
            return f"parameter(initial={initial.kind}{fans})"
        case Constant():
            value = op.value
            if value.size > inline:
                return f"constant #{digest(value)}"
            return f"constant [{', '.join(map(_format_element, value.flat))}]"
    return op.label


def _format_element(element: np.generic) -> str:
    """The shortest decimal that names exactly this element."""
    if isinstance(element, np.bool_):
        return str(bool(element)).lower()
    short = str(element)
    if not isinstance(element, np.floating) or np.isnan(element):
        return short
    return short if type(element)(float(short)) == element else repr(float(element))


def digest(value: Array) -> str:
    """Sixteen hexadecimal digits of the element type, shape and elements."""
    hashed = blake2b(f"{value.dtype.str}{value.shape}".encode(), digest_size=8)
    hashed.update(np.ascontiguousarray(value).data)
    return hashed.hexdigest()


def large_constants(graph: Graph, *, inline: int = INLINE) -> dict[str, Array]:
    """By digest, the values that the text of the graph leaves out."""
    values = [node.constant for node in graph.nodes]
    return {digest(value): value for value in values if value is not None and value.size > inline}
