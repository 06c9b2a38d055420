"""One operator as a network, run through a backend."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.base import Backend
from cnnc.base.choice import ESTIMATED, Choice, Choices, Chosen
from cnnc.base.target import Target
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.lowering.lower import lower
from cnnc.lowering.lowered import Lowered
from cnnc.offers.direct import DIRECT
from cnnc.offers.offer import key_of
from cnnc.ops.spec import Operator
from cnnc.passes.assign_layouts import assign_layouts
from tests.ops.cases import dtype_of, stored

F32 = NDArray[np.float32]
Real = NDArray[np.float64]


def single(op: Operator, data: Sequence[Real], parameters: Sequence[Real]) -> Graph:
    """A network of one operator: data operands are inputs, parameters constants."""
    inputs = [_leaf(Input(f"x{i}"), value, f"x{i}") for i, value in enumerate(data)]
    constants = [
        _leaf(Constant(stored(value)), value, f"p{i}") for i, value in enumerate(parameters)
    ]
    operands = (*inputs, *constants)
    node = Node(op, operands, op.infer(*(operand.type for operand in operands)), "layer")
    return Graph("single", tuple(inputs), {"y": node})


def _leaf(op: Input | Constant, value: Real, name: str) -> Node:
    return Node(op, (), TensorType.plain(value.shape, dtype_of(value)), name)


def lowered(graph: Graph, target: Target, choices: Choices = ESTIMATED) -> Lowered:
    """The graph as a program, as the driver makes it but without optimising."""
    return lower(assign_layouts(graph, target, choices), target)


def in_blocks(graph: Graph) -> Choices:
    """Choices that lay no convolution in rows, whatever estimates say."""
    layers = (node for node in graph.nodes if isinstance(node.op, Operator))
    return Choices({key_of(node, ESTIMATED): Chosen(Choice(DIRECT)) for node in layers})


def run(
    graph: Graph,
    data: Sequence[Real],
    backend: Backend,
    target: Target,
    threads: int = 1,
    choices: Choices = ESTIMATED,
) -> list[F32]:
    """The network's outputs; memory the program does not write shows as an odd number."""
    program = lowered(graph, target, choices).program
    executable = backend.compile(program, target, threads)
    inputs = [np.ascontiguousarray(stored(value)) for value in data]
    outputs = [np.full(port.shape, 12345).astype(port.dtype.numpy) for port in program.outputs]
    executable.run(inputs, outputs)
    return outputs


def assert_within(
    op: Operator, out: F32, exact: Real, operands: Sequence[Real], unit: float = 2.0**-24
) -> None:
    """The result equals the reference within the operator's own error bound."""
    with np.errstate(all="ignore"):
        bound = op.error(unit, exact, operands, [np.zeros(value.shape) for value in operands])
        rounded = stored(exact)
    assert out.shape == exact.shape
    assert out.dtype == rounded.dtype
    if rounded.dtype.kind != "f":
        # Exact operands leave whole numbers no choice, unless something was computed before.
        assert (np.abs(out.astype(np.float64) - exact.astype(np.float64)) <= bound).all()
        assert bound.any() or (out == rounded).all()
        return
    finite = np.isfinite(rounded) & np.isfinite(bound)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(rounded))
    infinite = np.isinf(rounded)
    np.testing.assert_array_equal(out[infinite], rounded[infinite])
    wrong = np.abs(out[finite] - exact[finite]) > bound[finite] + 2.0**-126
    assert not wrong.any(), (out[finite][wrong][:5], exact[finite][wrong][:5], bound[finite][wrong])


def held_within(
    op: Operator, operands: list[np.ndarray], backend: Backend, target: Target
) -> np.ndarray:
    """What an operator of one input computes, which is within its bound."""
    x = operands[0]
    out = run(single(op, [x], operands[1:]), [x], backend, target)[0]
    with np.errstate(all="ignore"):
        exact = op.reference(*(each.astype(np.float64) for each in operands))
    assert_within(op, out, exact, operands)
    return out
