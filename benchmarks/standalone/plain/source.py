"""The whole source of a network: weights, buffers, functions, and the one that calls them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import numpy as np
from peers.unsupported import UnsupportedError

from cnnc.base.dtype import DType
from cnnc.ir.graph import Graph, Node
from standalone.plain import elements, moves, windows
from standalone.plain.writer import Body, array, emit

PARTS = (elements, moves, windows)
"""Importing them registers their operators."""
HEAD = """/* {name} in plain loops. */
#include <math.h>
#include <string.h>

"""
WEIGHTS = "weights.bin"


@dataclass(frozen=True, slots=True)
class Plain:
    """`source` in C calls its function `plain_run`; `assembly` has the weights of a file in it.

    `buffers` is how many bytes of tensors between layers there are.
    """

    source: str
    assembly: str
    weights: bytes
    prototype: str
    buffers: int


def plain_source(graph: Graph) -> Plain:
    """A graph in plain loops; UnsupportedError names what cannot be written."""
    for node in graph.nodes:
        if node.type.dtype is not DType.F32:
            raise UnsupportedError(f"the writer of plain loops knows float32 only (`{node.name}`)")
    steps = [node for node in graph.nodes if not node.is_leaf]
    names = _ends(graph)
    constants = [node for node in graph.nodes if node.is_constant]
    names |= {node: f"w{place}" for place, node in enumerate(constants)}
    unions = _unions(graph, steps, names)
    for place, tensors in enumerate(unions):
        names |= {node: f"u{place}.t{steps.index(node)}" for node in tensors}
    parts = [HEAD.format(name=graph.name)]
    parts += [f"extern const float {array(names[n], n.type.shape)};\n" for n in constants]
    parts += ["\n", *(_union(place, some, steps) for place, some in enumerate(unions)), "\n"]
    parts += [_function(place, node) for place, node in enumerate(steps)]
    prototype = _prototype(graph)
    calls = [f"  {_call(place, node, names)}\n" for place, node in enumerate(steps)]
    calls += [f"  {line}\n" for line in _copies(graph, names)]
    parts += [prototype, " {\n", *calls, "}\n"]
    values = [np.asarray(node.constant, "<f4").tobytes() for node in constants]
    sizes = [4 * max(prod(node.type.shape) for node in some) for some in unions]
    symbols = [names[node] for node in constants]
    return Plain(
        "".join(parts), _assembly(symbols, values), b"".join(values), prototype, sum(sizes)
    )


def _ends(graph: Graph) -> dict[Node, str]:
    """Parameters of the function: an output that another one has too is copied from that."""
    names = {node: f"in{place}" for place, node in enumerate(graph.inputs)}
    for place, node in enumerate(graph.outputs.values()):
        if not node.is_leaf:
            names.setdefault(node, f"out{place}")
    return names


def _unions(graph: Graph, steps: Sequence[Node], known: dict[Node, str]) -> list[list[Node]]:
    """Tensors that may share memory: each takes the first union in which none is still read."""
    place = {node: number for number, node in enumerate(steps)}
    last = {node: max((place[user] for user in graph.users[node]), default=-1) for node in steps}
    unions: list[list[Node]] = []
    for node in steps:
        if node in known:
            continue
        free = (some for some in unions if last[some[-1]] < place[node])
        found = next(free, None)
        if found is None:
            unions.append([node])
        else:
            found.append(node)
    return unions


def _union(place: int, tensors: Sequence[Node], steps: Sequence[Node]) -> str:
    members = "".join(
        f"  float {array(f't{steps.index(node)}', node.type.shape)};\n" for node in tensors
    )
    return f"static union {{\n{members}}} u{place};\n"


def _function(place: int, node: Node) -> str:
    body = Body()
    emit(node.op, node, body)
    operands = enumerate(node.inputs)
    parameters = [f"const float {array(f'x{at}', x.type.shape)}" for at, x in operands]
    parameters.append(f"float {array('y', node.type.shape)}")
    comment = f"/* {node.name}: {node.op.label.replace('*/', '* /')} */\n"
    head = f"static inline void f{place}({', '.join(parameters)}) {{\n"
    return "".join([comment, head, *(f"{line}\n" for line in body.lines), "}\n\n"])


def _prototype(graph: Graph) -> str:
    inputs = enumerate(graph.inputs)
    parameters = [f"const float {array(f'in{at}', x.type.shape)}" for at, x in inputs]
    outputs = enumerate(graph.outputs.values())
    parameters += [f"float {array(f'out{at}', y.type.shape)}" for at, y in outputs]
    return f"void plain_run({', '.join(parameters)})"


def _call(place: int, node: Node, names: dict[Node, str]) -> str:
    return f"f{place}({', '.join(names[each] for each in (*node.inputs, node))});"


def _copies(graph: Graph, names: dict[Node, str]) -> Iterator[str]:
    """Outputs that are not computed where they go."""
    for place, node in enumerate(graph.outputs.values()):
        if names[node] != f"out{place}":
            yield f"memcpy(out{place}, {names[node]}, {4 * prod(node.type.shape)});"


def _assembly(symbols: Sequence[str], values: Sequence[bytes]) -> str:
    """Symbols for parts of a file of weights: text of so many numbers takes minutes to compile."""
    lines = ['.section .rodata,"a",%progbits']
    starts = accumulate(map(len, values), initial=0)
    for symbol, value, start in zip(symbols, values, starts, strict=False):
        lines += [".balign 16", f".globl {symbol}", f"{symbol}:"]
        lines += [f'.incbin "{WEIGHTS}", {start}, {len(value)}']
    return "\n".join([*lines, '.section .note.GNU-stack,"",%progbits', ""])
