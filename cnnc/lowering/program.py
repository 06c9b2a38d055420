"""Kernels and a memory plan put together as a program."""

from collections.abc import Sequence

from cnnc.base.layout import Layout
from cnnc.base.target import Target
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import (
    Blob,
    Kernel,
    Place,
    Port,
    Program,
    Region,
    Step,
    align,
)
from cnnc.lowering.lifetimes import arena_values
from cnnc.lowering.lowered import Layer
from cnnc.lowering.packed import Packed
from cnnc.lowering.plan_memory import plan_memory
from cnnc.lowering.sharing import is_short, place_barriers, share_steps


def assemble(
    graph: Graph,
    layers: Sequence[Layer],
    kernels: Sequence[Kernel],
    calls: Sequence[int],
    target: Target,
) -> Program:
    """The program that calls `kernels[calls[i]]` for layer i."""
    values = arena_values(graph, [layer.node for layer in layers])
    plan = plan_memory(tuple(values.values()))
    weights = _Weights()
    places: dict[Node, Place] = {}
    for position, node in enumerate(graph.inputs):
        places[node] = Place(Region.INPUT, index=position)
    for position, node in enumerate(graph.outputs.values()):
        places[node] = Place(Region.OUTPUT, index=position)
    for node, value in values.items():
        places[node] = Place(Region.ARENA, plan.offsets[value.name])
    found = [
        tuple(
            weights.place(node, buffer) if node.is_constant else places[node]
            for node, buffer in zip(layer.operands, layer.kernel.params, strict=True)
        )
        for layer in layers
    ]
    scheduled = [layer.kernel for layer in layers]
    shared = share_steps(scheduled, target)
    barriers = place_barriers(scheduled, found, shared)
    steps = [
        Step(call, where, barrier, layer.node.name, is_shared)
        for call, where, barrier, layer, is_shared in zip(
            calls, found, barriers, layers, shared, strict=True
        )
    ]
    return Program(
        name=graph.name,
        kernels=tuple(kernels),
        steps=tuple(steps),
        inputs=tuple(_port(graph, node.name, node) for node in graph.inputs),
        outputs=tuple(_port(graph, name, node) for name, node in graph.outputs.items()),
        weights=tuple(weights.blobs),
        weights_bytes=weights.bytes,
        arena_bytes=plan.bytes,
        arena_bound=plan.bound,
        is_short=is_short(scheduled, target, graph.batch if graph.is_apart else 1),
        apart=graph.is_apart,
        shares_samples=graph.is_apart and not target.is_small,
        is_range=graph.fewest is not None,
    )


def _port(graph: Graph, name: str, node: Node) -> Port:
    """An input or output, of all samples."""
    shape = node.type.shape
    if graph.is_apart:
        shape = (graph.batch, *shape[1:])
    return Port(name, shape, node.type.dtype)


class _Weights:
    """Constants laid out one after the other; the same constant in the same layout once."""

    def __init__(self) -> None:
        self.blobs: list[Blob] = []
        self.bytes = 0
        self._places: dict[tuple[Node, Layout], Place] = {}

    def place(self, node: Node, buffer: Buffer) -> Place:
        """Where the constant lies, packed as the buffer asks."""
        key = (node, buffer.layout)
        if key not in self._places:
            assert isinstance(node.op, Constant)
            blob = Blob(node.name, align(self.bytes), Packed(node.op, buffer))
            self.blobs.append(blob)
            self.bytes = blob.end
            self._places[key] = Place(Region.WEIGHTS, blob.offset)
        return self._places[key]
