"""Sparse interactions and shared parameters of each layer, against layers without them."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from cnnc.analysis.dependence import Dependences
from cnnc.analysis.motion import data_operands
from cnnc.analysis.uses import Uses, count_uses
from cnnc.base.layout import Shape
from cnnc.base.report import Json
from cnnc.ir.graph import Graph, Node
from cnnc.listing import operator_text, trained_operands
from cnnc.ops.spec import Operator


@dataclass(frozen=True, slots=True)
class Weights:
    """A trained tensor of a layer and how often each of its values is used in one run.

    `uses` is None where there was too much to count.
    """

    name: str
    shape: Shape
    count: int
    uses: Uses | None

    def to_json(self) -> dict[str, Json]:
        """The tensor as plain data."""
        uses = self.uses
        counted: Json = None
        if uses:
            counted = {"min": uses.least, "mean": uses.mean, "max": uses.most, "total": uses.total}
        shape: list[Json] = [*self.shape]
        return {"name": self.name, "shape": shape, "parameters": self.count, "uses": counted}


@dataclass(frozen=True, slots=True)
class LayerCounts:
    """What one layer connects and trains.

    `connections` counts pairs of an element of a data operand and an element of the result that
    depends on it, `dense` all such pairs. `is_exact` is false where connections are only bounded
    from above.
    """

    name: str
    op: str
    shape: Shape
    connections: int
    dense: int
    is_exact: bool
    weights: tuple[Weights, ...]
    is_wide: bool
    """Whether some element of the result reads more than one element of an operand."""

    @property
    def density(self) -> float:
        """Connections as a share of all there could be."""
        return self.connections / self.dense if self.dense else 0.0

    @property
    def parameters(self) -> int:
        """Trained values."""
        return sum(each.count for each in self.weights)

    @property
    def unshared(self) -> int | None:
        """Trained values if no two uses shared one; None where they were not counted."""
        uses = [each.uses for each in self.weights]
        return None if None in uses else sum(each.total for each in uses if each)

    @property
    def dense_parameters(self) -> int:
        """Trained values of a dense layer with the same operands and result, its bias included."""
        has_bias = any(each.name.endswith(".bias") for each in self.weights)
        return self.dense + (prod(self.shape) if has_bias else 0)

    @property
    def main(self) -> Weights | None:
        """The largest of its trained tensors."""
        return max(self.weights, key=lambda each: each.count, default=None)

    def to_json(self) -> dict[str, Json]:
        """The layer as plain data."""
        shape: list[Json] = [*self.shape]
        return {
            "name": self.name,
            "op": self.op,
            "shape": shape,
            "connections": self.connections,
            "dense_connections": self.dense,
            "density": self.density,
            "exact": self.is_exact,
            "parameters": self.parameters,
            "unshared_parameters": self.unshared,
            "dense_parameters": self.dense_parameters if self.weights and self.is_wide else None,
            "weights": [each.to_json() for each in self.weights],
        }


def count_layers(graph: Graph, dependences: Dependences) -> Mapping[Node, LayerCounts]:
    """The counts of every layer, in the order of the graph."""
    return {node: _count(node, dependences) for node in graph.nodes if not node.is_leaf}


def _count(node: Node, dependences: Dependences) -> LayerCounts:
    dependence, op = dependences.of(node), node.op
    assert isinstance(op, Operator)
    data = [
        place
        for place, operand in enumerate(node.inputs)
        if operand in data_operands(node) and not operand.is_constant
    ]
    pairs = [dependence.pairs(place) for place in data]
    sizes = [node.inputs[place].type.elements for place in data]
    weights = []
    for weight in dict.fromkeys(trained_operands(node)):
        uses = count_uses(dependence, node.inputs.index(weight))
        weights.append(Weights(weight.name, weight.type.shape, weight.type.elements, uses))
    elements = node.type.elements
    is_wide = op.is_convolution or any(count > elements for count in pairs)
    counted = dependence.is_exact
    text = operator_text(op)
    shape = node.type.shape
    return LayerCounts(
        *(node.name, text, shape, sum(pairs), elements * sum(sizes), counted),
        tuple(weights),
        is_wide,
    )
