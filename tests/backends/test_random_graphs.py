"""Random networks through the whole compiler against the reference."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnc import driver
from cnnc.base.dtype import DType
from cnnc.base.target import Target
from cnnc.ir.evaluate import evaluate
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ops.batchnorm import BatchNorm
from cnnc.ops.spec import Operator, Real
from tests.backends.compilers import NATIVE
from tests.backends.machines import SCALAR, SMALL, machine
from tests.ir.random_graphs import arrays_for, graphs

SLOW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
TARGETS = [name for name in ("native", "x86-64", SCALAR, SMALL) if driver.can_run(machine(name))]


@pytest.mark.parametrize("name", TARGETS)
@SLOW
@given(graph=graphs(dtype=DType.F32, casts=True), seed=st.integers(0, 1000))
def test_native_code_agrees_with_the_reference(name: str, graph: Graph, seed: int) -> None:
    inputs = arrays_for(graph, seed)
    outputs = _run(graph, inputs, machine(name), threads=1)
    exact = evaluate(graph, inputs)
    with np.errstate(all="ignore"):
        bounds = _bounds(graph, inputs)
    for (label, value), bound in zip(exact.items(), bounds, strict=True):
        wide = np.asarray(value, np.float64)
        error = np.abs(outputs[label] - wide)
        safe = np.isfinite(bound)
        assert (error[safe] <= bound[safe] + 1e-6 * np.abs(wide[safe]) + 1e-30).all(), label


@SLOW
@given(graph=graphs(dtype=DType.F32, casts=True), threads=st.integers(2, 5))
def test_results_do_not_depend_on_the_number_of_threads(graph: Graph, threads: int) -> None:
    inputs, target = arrays_for(graph), driver.find_target("native")
    alone = _run(graph, inputs, target, threads=1)
    together = _run(graph, inputs, target, threads=threads)
    for name, value in alone.items():
        np.testing.assert_array_equal(value, together[name])


def _run(graph: Graph, inputs: dict, target: Target, threads: int) -> dict[str, Real]:
    optimised = driver.optimise(graph, driver.pipeline(target))
    program = driver.lower_graph(optimised, target).program
    outputs = {port.name: np.empty(port.shape, port.dtype.numpy) for port in program.outputs}
    for value in outputs.values():
        value.fill(np.nan if value.dtype.kind == "f" else 99)
    arrays = [inputs[port.name] for port in program.inputs]
    NATIVE.compile(program, target, threads).run(arrays, list(outputs.values()))
    return outputs


def _bounds(graph: Graph, inputs: dict) -> list[Real]:
    """Running error analysis: every node's bound from those of its operands."""
    values: dict[Node, Real] = {}
    errors: dict[Node, Real] = {}
    for node in graph.nodes:
        if isinstance(node.op, Input | Constant):
            value = inputs[node.name] if isinstance(node.op, Input) else node.op.value
            values[node] = np.asarray(value, np.float64)
            errors[node] = np.zeros_like(values[node])
            continue
        assert isinstance(node.op, Operator)
        operands = [values[operand] for operand in node.inputs]
        carried = [errors[operand] for operand in node.inputs]
        values[node] = node.op.reference(*operands)
        # Twice the bound: fusing and folding round at other places than the graph as written.
        bound = node.op.error(2.0**-24, values[node], operands, carried)
        if isinstance(node.op, BatchNorm):
            bound = bound + 4 * 2.0**-24 * _parts_of_batchnorm(node.op.eps, *operands)
        errors[node] = 2 * np.asarray(bound, np.float64)
    return [errors[node] for node in graph.outputs.values()]


def _parts_of_batchnorm(
    eps: float, x: Real, weight: Real, bias: Real, mean: Real, var: Real
) -> Real:
    """Sizes that cancel once batchnorm is a scale and a shift: |s x| + |s mean| + |bias|."""
    per_channel = (-1, *[1] * (x.ndim - 2))
    scale, mean, bias = (
        np.abs(value).reshape(per_channel) for value in (weight / np.sqrt(var + eps), mean, bias)
    )
    size: Real = scale * (np.abs(x) + mean) + bias
    return size
