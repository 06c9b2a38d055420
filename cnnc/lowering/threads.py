"""Loops for a GPU: a thread for each result, neighbours next to each other."""

from dataclasses import replace

from cnnc.base.layout import Layout
from cnnc.ir.graph import Node
from cnnc.ir.types import TensorType
from cnnc.loop.affine import affine
from cnnc.loop.expr import Buffer, Var
from cnnc.loop.kernel import Body, For, Kernel, Kind, Stmt, Store, walk
from cnnc.lowering.flatten import offset
from cnnc.lowering.loops import drop_unit_loops
from cnnc.lowering.nests import fission
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.dense import Dense
from cnnc.ops.spec import Operator

ALGORITHM = "a thread for each result"


def schedule_threads(kernel: Kernel) -> Kernel:
    """for n, oc, oh, ow: …  →  for n, oh, ow, oc parallel: …, in the order of the result's memory.

    Every nest's outer loops are shared, down to the first that reduces or stands beside others.
    """
    nests = fission(kernel).body
    return drop_unit_loops(kernel.with_body(tuple(_shared(nest, kernel) for nest in nests)))


def operand_layouts(root: Operator, kinds: list[TensorType], out: TensorType) -> list[Layout]:
    """How each operand lies: weights with the channels of the result innermost.

    `kinds` are the operands' types. Those that lie in the arena stay as they are.
    """
    layouts = [kind.layout for kind in kinds]
    rank = kinds[0].rank
    match root:
        case Conv():
            layouts[1] = Layout((*range(1, rank), 0))
        case ConvTranspose():
            layouts[1] = Layout((0, *range(2, rank), 1))
        case Dense():
            layouts[1] = Layout((1, 0))
    return layouts


def align_constants(node: Node, layouts: list[Layout]) -> list[Layout]:
    """Constants of the result's shape lie as the result does."""
    return [
        node.type.layout.alone if alike else layout
        for operand, layout in zip(node.inputs, layouts, strict=True)
        for alike in [operand.is_constant and operand.type.shape == node.type.shape]
    ]


def _shared(nest: Stmt, kernel: Kernel) -> Stmt:
    loops: list[For] = []
    body: Body = (nest,)
    while len(body) == 1 and isinstance(body[0], For) and not body[0].reduces:
        loops.append(body[0])
        body = body[0].body
    if not body or not loops:
        return nest
    first = loops[0].var
    steps = _steps(body, kernel.params[-1])
    # the samples stay outside, whatever they are in memory: there may be fewer of them
    rest = sorted(loops[1:], key=lambda loop: -steps.get(loop.var, 0))
    for loop in reversed([loop for loop in loops if loop.var == first] + rest):
        body = (replace(loop, body=body, kind=Kind.PARALLEL),)
    return body[0]


def _steps(body: Body, out: Buffer) -> dict[str, int]:
    """By how many elements the place of a result moves with each variable."""
    for stmt in walk(body):
        if isinstance(stmt, Store) and stmt.buffer == out:
            form = affine(offset(out, stmt.index))
            return {term.name: abs(k) for term, k in form.terms if isinstance(term, Var)}
    return {}
