"""Operators that move elements."""

from math import prod

from cnnc.ir.graph import Node
from cnnc.ops.axes import resolve_axis
from cnnc.ops.concat import Concat
from cnnc.ops.flatten import Flatten
from cnnc.ops.movement.slice import Slice
from cnnc.ops.movement.transpose import Transpose
from cnnc.ops.reshape import Reshape
from standalone.plain.writer import Body, element, emit, indices, shape_of


@emit.register(Flatten)
@emit.register(Reshape)
def _reshape(op: object, node: Node, body: Body) -> None:
    body.say(f"memcpy(y, x0, {4 * prod(shape_of(node))});")


@emit.register
def _concat(op: Concat, node: Node, body: Body) -> None:
    axis, start = resolve_axis(op.axis, node.type.rank), 0
    names = indices("i", node.type.rank)
    for place in range(len(node.inputs)):
        shape = shape_of(node, place)
        target = [*names[:axis], f"{names[axis]} + {start}", *names[axis + 1 :]]
        with body.loops(names, shape):
            body.say(f"{element('y', target)} = {element(f'x{place}', names)};")
        start += shape[axis]


@emit.register
def _slice(op: Slice, node: Node, body: Body) -> None:
    names = indices("i", node.type.rank)
    places = op.positions(shape_of(node))
    index = [f"{name} * {p.step} + {p.start}" for name, p in zip(names, places, strict=True)]
    with body.loops(names, node.type.shape):
        body.say(f"{element('y', names)} = {element('x0', index)};")


@emit.register
def _transpose(op: Transpose, node: Node, body: Body) -> None:
    names = indices("i", node.type.rank)
    source = [""] * len(names)
    for name, axis in zip(names, op.order, strict=True):
        source[axis] = name
    with body.loops(names, node.type.shape):
        body.say(f"{element('y', names)} = {element('x0', source)};")
