"""Layers that one kernel joins, as if they were one layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

import cnnc
from cnnc import driver
from cnnc.backends.cuda.joining import chain_from
from cnnc.backends.cuda.kernel import Wish
from cnnc.backends.cuda.kernels import pooled_dense
from cnnc.backends.cuda.kernels.joined import Joined
from cnnc.loop.expr import Buffer
from cnnc.loop.task import Task
from cnnc.lowering.lowered import Layer
from cnnc.ops.spec import Operator
from tests.cuda.kernels.harness import MEMORY, Array, Case

Make = Callable[[Sequence[Task], Wish], Joined | None]


@dataclass(frozen=True)
class Operators:
    """Several operators, each of which reads what the one before has made."""

    layers: Sequence[Layer]

    def reference(self, *values: Array) -> Array:
        """See Operator."""
        return self._each(values)[-1][2]

    def error(
        self, unit: float, out: Array, values: Sequence[Array], errors: Sequence[Array]
    ) -> Array:
        """See Operator: that of each is carried on by the next."""
        error, rest = errors[0], list(errors[1:])
        for op, operands, result in self._each(values):
            own = [rest.pop(0) for _ in operands[1:]]
            error = op.error(unit, result, operands, [np.reshape(error, operands[0].shape), *own])
        return error

    def _each(self, values: Sequence[Array]) -> list[tuple[Operator, list[Array], Array]]:
        made, rest = values[0], list(values[1:])
        found = []
        for layer in self.layers:
            own = [rest.pop(0) for _ in layer.operands[1:-1]]
            operands = [made.reshape(layer.operands[0].type.shape), *own]
            op = layer.node.op
            assert isinstance(op, Operator)
            made = op.reference(*operands)
            found.append((op, operands, made))
        return found


@dataclass(frozen=True)
class Node:
    """See ir.graph.Node."""

    op: Operators


@dataclass(frozen=True)
class Loops:
    """See loop.kernel.Kernel."""

    params: tuple[Buffer, ...]


@dataclass(frozen=True)
class JoinedLayer:
    """See lowering.lowered.Layer."""

    kernel: Loops
    node: Node
    operands: tuple[object, ...]


def tasks_of(text: str, batch: int) -> tuple[list[Layer], list[Task]]:
    """The layers from the one called `pool` on that may be joined."""
    graph = cnnc.load_text(f"cnn 1\nnet test {{\n{text}\nweights he(seed = 1)\n}}\n", batch=batch)
    target = driver.find_target("cuda")
    lowered = driver.plan(graph.graph, target)[0]
    program = lowered.program
    first = next(i for i, step in enumerate(program.steps) if step.layer.endswith("pool"))
    steps = chain_from(program, first, 3)
    layers = [each for each in lowered.layers if first <= each.step < first + len(steps)]
    tasks = [program.kernels[step.kernel].task for step in steps]
    return layers, [task for task in tasks if task]


def chain(name: str, text: str, precision: str, make: Make, batch: int) -> Case:
    """The case of these layers; the kernel has to be there."""
    layers, tasks = tasks_of(text, batch)
    narrow = frozenset("xy") if precision.endswith(MEMORY) else frozenset()
    wish = Wish(name, 80, precision.removesuffix(MEMORY), narrow=narrow)
    tries = ((make(tasks[:count], wish), count) for count in (3, 2))
    joined, count = next(each for each in tries if each[0])
    assert joined is not None
    layers, tasks = layers[:count], tasks[:count]
    params = [
        replace(tasks[source.task].param(source.param), name=argument)
        for argument, source in joined.arguments
        if source
    ]
    operands = [layers[0].operands[0], *(o for layer in layers for o in layer.operands[1:-1])]
    whole = JoinedLayer(Loops(tuple(params)), Node(Operators(layers)), tuple(operands))
    return Case(whole, joined.kernel, precision, narrow=narrow)  # type: ignore[arg-type]


def with_tile(tile: tuple[int, int], tasks: Sequence[Task], wish: Wish) -> Joined | None:
    """A kernel with this tile."""
    found = pooled_dense.chain_of(tasks)
    return found and pooled_dense.make_kernel(found, wish, tile)


def classifier(channels: int, side: int, end: str) -> str:
    """A convolution, and what stands behind it."""
    return f"""input x: f32[N, 8, {side}, {side - 1}]
output y = x -> a: conv({channels}, 1) -> pool: {end}"""


CHAINS = {
    # what the network of a few classes has, in a single block
    "one_block": (64, 5, "pool(avg, global) -> flatten -> dense(12) -> softmax", 1, None),
    "parts": (70, 5, "pool(avg, global) -> flatten -> dense(37) -> relu", 3, (32, 32)),
    "maximum": (
        33,
        4,
        "pool(max, global) -> relu -> flatten -> dense(9, bias = false)",
        2,
        (32, 64),
    ),
    "all": (100, 6, "pool(avg, global) -> flatten -> dense(150) -> softmax", 3, (32, 64)),
    "wide": (256, 3, "pool(avg, global) -> flatten -> dense(40) -> softmax", 1, (256, 16)),
    # a squeeze of an image into channels, and what follows it
    "squeeze": (48, 7, "pool(avg, global) -> conv(12, 1) -> silu -> conv(48, 1)", 1, (64, 16)),
    "offered": (512, 7, "pool(avg, global) -> flatten -> dense(1000)", 1, None),
}
"""Channels, extent, layers, samples, tile."""


def chains(
    precisions: Sequence[str] = ("f32", "bf16", "f16", "bf16_memory", "f16_memory"),
) -> list[Case]:
    """All cases; those of 16 bits for some."""
    found = []
    for number, (name, (channels, side, end, batch, tile)) in enumerate(CHAINS.items()):
        make: Make = partial(with_tile, tile) if tile else pooled_dense.offer
        text = classifier(channels, side, end)
        for precision in precisions if number in (0, 1, 4) else precisions[:1]:
            found.append(chain(f"joined_{name}_{precision}", text, precision, make, batch))
    return found
