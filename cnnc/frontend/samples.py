"""A batch that is a range: why a net may not have one."""

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from cnnc.base.errors import Diagnostic
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ops.attributes import format_value
from cnnc.ops.spec import Operator

_HELP = "give the batch as one number"


def find_dependence(most: Graph, least: Graph) -> list[Diagnostic]:
    """What keeps a net from running any number of samples, or nothing.

    The graphs are the net built for the most and the least samples. Samples have to be
    independent, every tensor has them on its first axis, and nothing else in the net follows from
    how many there are.
    """
    found = [*_mixed(most)]
    if not found:
        found = [*_different(most, least)]
    return found


def _mixed(graph: Graph) -> Iterator[Diagnostic]:
    """Operators whose result for one sample needs others, or that have no axis of samples."""
    fed: set[Node] = set(graph.inputs)
    for node in graph.nodes:
        if not any(operand in fed for operand in node.inputs):
            continue
        fed.add(node)
        assert isinstance(node.op, Operator)
        if node.op.mixes_batch(*(operand.type for operand in node.inputs)):
            yield _refuse(node, f"`{node.op.name}` mixes the samples of a batch")
        elif node.type.shape[:1] != (graph.batch,):
            yield _refuse(node, f"the result of `{node.op.name}` has no axis of samples")


def _different(most: Graph, least: Graph) -> Iterator[Diagnostic]:
    """The first node that is another one for another batch."""
    for one, two in zip(most.nodes, least.nodes, strict=False):
        if one.name != two.name or type(one.op) is not type(two.op):
            yield _refuse(
                one, f"for a batch of {least.batch} the net has `{two.name}` here instead"
            )
            return
        if (why := _difference(one, two, most.batch, least.batch)) is not None:
            yield _refuse(one, f"`{one.name}` depends on how many samples there are", why)
            return
    if len(most.nodes) != len(least.nodes):
        last = most.nodes[-1]
        yield _refuse(last, f"for a batch of {least.batch} the net has other operators")


def _difference(one: Node, two: Node, most: int, least: int) -> str | None:
    has_samples = isinstance(one.op, Input | Operator) and one.type.shape[:1] == (most,)
    shapes = one.type.shape[has_samples:], two.type.shape[has_samples:]
    if shapes[0] != shapes[1]:
        a, b = list(one.type.shape), list(two.type.shape)
        return f"its shape is {a}, but {b} for a batch of {least}"
    if isinstance(one.op, Constant) and isinstance(two.op, Constant):
        if np.array_equal(one.op.value, two.op.value):
            return None
        first, other = one.op.value.flat[0], two.op.value.flat[0]
        return f"it is {first}, but {other} for a batch of {least}"
    if not isinstance(one.op, Operator):
        return None
    for field in fields(one.op):  # type: ignore[arg-type]
        a, b = (getattr(node.op, field.name) for node in (one, two))
        follows = isinstance(a, tuple) and isinstance(b, tuple) and a[:1] == (most,)
        if a != b and not (follows and b[:1] == (least,) and a[1:] == b[1:]):
            return f"`{field.name}` is {_text(a)}, but {_text(b)} for a batch of {least}"
    return None


def _text(value: object) -> str:
    return format_value(value) if isinstance(value, int | float | tuple) else str(value)


def _refuse(node: Node, message: str, why: str | None = None) -> Diagnostic:
    notes = () if why is None else (why,)
    full = f"{message}, so the batch is no range"
    return Diagnostic("E0305", full, node.span, notes=notes, help=_HELP)
