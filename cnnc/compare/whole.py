"""Whole networks: what the outputs should be, how far they may be off, and which pass changed them.

The tolerance of an output comes from an experiment (Monte Carlo arithmetic, D. S. Parker 1997): the
network is evaluated twice in float64, once with every operator's result moved, in a random
direction, by the bound on that operator's own rounding errors. Multiplying worst cases through a
deep network instead would allow almost anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cnnc.base.target import NOTHING, Rounding
from cnnc.compare.layerwise import bound_errors
from cnnc.compare.measure import Errors, measure
from cnnc.driver import SOURCE, Pass, optimise
from cnnc.ir.evaluate import Evaluated, evaluate, trace
from cnnc.ir.graph import Array, Graph, Node, Real
from cnnc.ops.spec import Operator

MARGIN = 4
"""Tolerance over the largest change that the random directions made."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Exact outputs in float64 and the tolerance of each element, by name."""

    values: Mapping[str, Real]
    tolerances: Mapping[str, Real]

    def measure(self, name: str, got: Array) -> Errors:
        """How far an output is from the exact one."""
        return measure(got, self.values[name], self.tolerances[name])


def expect(
    graph: Graph, inputs: Mapping[str, Array], seed: int, rounding: Rounding = NOTHING
) -> Expected:
    """Evaluate the network with and without rounding errors, side by side.

    `rounding` is the target's.
    """
    random = np.random.default_rng(seed)
    bound: list[Real] = [np.zeros(())]

    def disturb(node: Node, value: Real) -> Real:
        if node.is_leaf or not node.type.dtype.is_float:
            return value
        signs = random.integers(0, 2, value.shape) * 2 - 1
        return value + signs * np.nan_to_num(bound[0], nan=0.0, posinf=0.0)

    disturbed = trace(graph, inputs, disturb)
    values: dict[Node, Real] = {}
    tolerances: dict[Node, Real] = {}
    for step in trace(graph, inputs):
        if not step.node.is_leaf:
            bound[0] = bound_errors(step.node, step.value, step.operands, rounding)
        moved = next(disturbed)
        if step.node in graph.output_nodes:
            values[step.node] = step.value
            tolerances[step.node] = _tolerance(step, moved)
    return Expected(
        {name: values[node] for name, node in graph.outputs.items()},
        {name: tolerances[node] for name, node in graph.outputs.items()},
    )


def _tolerance(step: Evaluated, moved: Evaluated) -> Real:
    """For whole numbers, what the operator says of operands that are off by the margin."""
    node, value = step.node, step.value
    if node.type.dtype.is_float:
        unit = node.type.dtype.unit_roundoff
        return MARGIN * _largest_shift(value, moved.value) + 2 * unit * np.abs(value)
    if not isinstance(node.op, Operator):
        return np.zeros(value.shape)
    pairs = zip(step.operands, moved.operands, strict=True)
    errors = [np.full(a.shape, MARGIN * _largest_shift(a, b)) for a, b in pairs]
    with np.errstate(all="ignore"):
        return node.op.error(node.type.dtype.unit_roundoff, value, step.operands, errors)


def _largest_shift(value: Real, moved: Real) -> float:
    """The largest change among those that are finite."""
    with np.errstate(invalid="ignore"):
        shift = np.abs(moved.astype(np.float64) - value.astype(np.float64))
    return float(np.max(shift, where=np.isfinite(shift), initial=0.0))


def find_guilty_pass(
    graph: Graph, passes: Sequence[Pass], inputs: Mapping[str, Array], expected: Expected
) -> tuple[str, str] | None:
    """The first of some passes after which an output is out of tolerance, and that output."""
    guilty: list[tuple[str, str]] = []

    def observe(name: str, after: Graph) -> None:
        if guilty or name == SOURCE:
            return
        for output, value in evaluate(after, inputs).items():
            if not expected.measure(output, value).ok:
                guilty.append((name, output))
                return

    optimise(graph, passes, observe)
    return guilty[0] if guilty else None


def split_batches(arrays: Sequence[Array], size: int) -> list[list[Array]]:
    """Full batches; the samples start over to fill the last one."""
    count = len(arrays[0])
    starts = range(0, count, size)
    return [
        [np.take(each, range(s, s + size), axis=0, mode="wrap") for each in arrays] for s in starts
    ]
