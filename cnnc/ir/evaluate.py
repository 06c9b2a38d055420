"""Runs a graph with the operators' references: the oracle."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import cast

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.errors import Diagnostic, InternalError, UserError, did_you_mean
from cnnc.base.record import record
from cnnc.ir.graph import Array, Constant, Graph, Input, Node, Parameter, Real

Change = Callable[[Node, Real], Real]


@record
class Evaluated:
    """A node with its value and its operands' values, floating point widened to float64."""

    node: Node
    operands: tuple[Real, ...]
    value: Real


def evaluate(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs by name, computed in float64 and rounded once to their types.

    `inputs` must have the declared shapes and element types, and the whole batch where samples are
    apart; UserError lists what does not fit.
    """
    if graph.is_apart:
        return _evaluate_apart(graph, inputs)
    values = {
        step.node: round_to(step.value, step.node.type.dtype)
        for step in trace(graph, inputs)
        if step.node in graph.output_nodes
    }
    return {name: values[node] for name, node in graph.outputs.items()}


def _evaluate_apart(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    alone = replace(graph, is_apart=False, batch=1, fewest=None)
    found = [evaluate(alone, sample) for sample in samples_of(graph, inputs)]
    return {name: np.concatenate([each[name] for each in found]) for name in graph.outputs}


def samples_of(graph: Graph, inputs: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """What goes through the graph together: each sample where they are apart, otherwise all."""
    if not graph.is_apart:
        yield dict(inputs)
        return
    for sample in range(graph.batch):
        yield {name: array[sample : sample + 1] for name, array in inputs.items()}


def trace(
    graph: Graph, inputs: Mapping[str, Array], change: Change | None = None
) -> Iterator[Evaluated]:
    """Every node with its value, operands first; a value is let go after its last reader.

    Where samples are apart, `inputs` are those of one (see `samples_of`).
    `change(node, value)` may replace a value before anybody reads it.
    """
    check_inputs(graph, inputs)
    return _trace(graph, inputs, change)


def _trace(graph: Graph, inputs: Mapping[str, Array], change: Change | None) -> Iterator[Evaluated]:
    readers = {node: len(users) for node, users in graph.users.items()}
    live: dict[Node, Real] = {}
    for node in graph.nodes:
        operands = tuple(live[operand] for operand in node.inputs)
        value = _value(node, operands, inputs)
        if change:
            value = change(node, value)
        if readers[node]:
            live[node] = value
        yield Evaluated(node, operands, value)
        for operand in node.inputs:
            readers[operand] -= 1
            if not readers[operand]:
                del live[operand]


def _value(node: Node, operands: tuple[Real, ...], inputs: Mapping[str, Array]) -> Real:
    match node.op:
        case Constant():
            return widen(node.op.value)
        case Input(name):
            return widen(inputs[name])
        case Parameter(path):
            raise InternalError(f"parameter {path} is evaluated before weights are bound")
    # Infinities and NaN are values here; what an operator makes of them is its definition.
    with np.errstate(all="ignore"):
        value = node.op.reference(*operands)
    if value.shape != node.type.shape:
        found = list(value.shape)
        raise InternalError(f"the reference of {node.name} has shape {found}, not {node.type}")
    return value


def widen(array: Array) -> Real:
    """Floating point as float64; integers and truth values as they are."""
    wide = array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array
    return cast(Real, wide)


def round_to(value: Real, dtype: DType) -> Array:
    """The value rounded to an element type; too large becomes infinite."""
    with np.errstate(over="ignore"):
        return value.astype(dtype.numpy)


def check_inputs(graph: Graph, inputs: Mapping[str, Array]) -> None:
    """UserError with a diagnostic for every array that is missing, unknown or does not fit."""
    known = [node.name for node in graph.inputs]
    wrong = [
        Diagnostic(
            "E0603",
            f"{graph.name} has no input `{name}`",
            help=did_you_mean(name, known) or f"its inputs are {', '.join(known)}",
        )
        for name in inputs
        if name not in known
    ]
    for node in graph.inputs:
        if node.name not in inputs:
            why = f"input `{node.name}` is missing"
            wrong.append(Diagnostic("E0603", why, node.span, notes=(f"it is {node.type}",)))
        else:
            wrong += _check_input(node, inputs[node.name])
    if wrong:
        raise UserError(wrong)


def _check_input(node: Node, array: Array) -> list[Diagnostic]:
    wrong = []
    expected, found = node.type.dtype.numpy, array.dtype
    if array.shape != node.type.shape:
        why = f"input `{node.name}` has shape {list(array.shape)}, not {list(node.type.shape)}"
        wrong.append(Diagnostic("E0601", why, node.span))
    if found != expected:
        why = f"input `{node.name}` is {found}, not {expected}"
        fix = f"convert it with `.astype({expected.name!r})`"
        wrong.append(Diagnostic("E0602", why, node.span, help=fix))
    return wrong
