"""Invariance from pooling: how far results move when the input is shifted a little."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cnnc.analysis.equivariance import number_json
from cnnc.analysis.inputs import Direction
from cnnc.analysis.probe import Probe
from cnnc.base.report import Json
from cnnc.ir.graph import Constant, Graph, Node, OpError, Real
from cnnc.ir.types import TensorType
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum, Norm, Reduction, Weighted
from cnnc.ops.pool_weights import Falloff

AS_WRITTEN = "as written"
KINDS: Mapping[str, Reduction] = {
    "max": Maximum(),
    "avg": Average(),
    "l2": Norm(2.0),
    "weighted": Weighted(),
}
MOST_POOLS = 4
"""Pools whose results are measured: the last ones."""
LINEAR = Falloff("linear")
"""Weights of the weighted kind."""


@dataclass(frozen=True, slots=True)
class Movement:
    """How far one value moves with one kind of pooling in all places.

    `by_pixels[k - 1]` is ‖y(shifted by k) - y‖ / ‖y‖, the mean over the directions.
    """

    layer: str
    kind: str
    by_pixels: tuple[float, ...]

    def to_json(self) -> dict[str, Json]:
        """The movement as plain data."""
        by_pixels: list[Json] = [number_json(each) for each in self.by_pixels]
        return {"layer": self.layer, "kind": self.kind, "by_pixels": by_pixels}


def find_pools(graph: Graph) -> tuple[Node, ...]:
    """The pooling layers."""
    return tuple(node for node in graph.nodes if isinstance(node.op, Pool))


def find_movements(probe: Probe, pixels: int, along: Sequence[Direction]) -> tuple[Movement, ...]:
    """Shifts by 1 to `pixels` in each direction, with the pools as they are and with each kind.

    Measured for what the first pool reads, what the last pools give, and every output.
    """
    pools = [node.name for node in find_pools(probe.graph)]
    first, rows = f"before {pools[0]}", []
    for kind in (AS_WRITTEN, *KINDS):
        graph = probe.graph if kind == AS_WRITTEN else with_pools(probe.graph, KINDS[kind])
        if graph is None:
            continue
        nodes = {node.name: node for node in graph.nodes}
        wanted = {name: nodes[name] for name in pools[-MOST_POOLS:]}
        wanted |= graph.outputs
        if kind == AS_WRITTEN:  # no pool stands before it: the other kinds change nothing
            wanted = {first: nodes[pools[0]].inputs[0], **wanted}
        same = replace(probe, graph=graph)
        values = _movements(same, [*wanted.values()], pixels, along)
        rows += [Movement(name, kind, values[node]) for name, node in wanted.items()]
    order = {name: place for place, name in enumerate(dict.fromkeys(row.layer for row in rows))}
    return tuple(sorted(rows, key=lambda row: order[row.layer]))


def with_pools(graph: Graph, kind: Reduction) -> Graph | None:
    """The graph with this kind in all its pools; None where a window cannot have it."""

    def change(node: Node) -> Node:
        if not isinstance(node.op, Pool):
            return node
        falloff = LINEAR if isinstance(kind, Weighted) else Falloff()
        counts = node.op.count_pad and kind.counts_padding
        op = replace(node.op, kind=kind, count_pad=counts, falloff=falloff, weights=())
        x = node.inputs[0]
        tables = [
            Node(Constant(spec.value), (), spec.type, f"{node.name}.{spec.name}")
            for spec in op.parameters(x.type)
            if spec.value is not None
        ]
        return replace(node, op=op, inputs=(x, *tables), type=_plain(node.type))

    try:
        return graph.rebuild(change)
    except OpError:
        return None


def _plain(type: TensorType) -> TensorType:
    return type.with_shape(type.shape)


def _movements(
    probe: Probe, wanted: Sequence[Node], pixels: int, along: Sequence[Direction]
) -> dict[Node, tuple[float, ...]]:
    plain = probe.values(wanted)
    sums: dict[Node, list[float]] = {node: [] for node in wanted}
    for shift in range(1, pixels + 1):
        moved = [probe.shifted(wanted, direction, shift) for direction in along]
        for node in sums:
            far = [_distance(plain[node], each[node]) for each in moved]
            sums[node].append(float(np.mean(far)))
    return {node: tuple(each) for node, each in sums.items()}


def _distance(before: Real, after: Real) -> float:
    with np.errstate(all="ignore"):
        size = float(np.linalg.norm(before)) or 1.0
        return float(np.linalg.norm(after - before)) / size
