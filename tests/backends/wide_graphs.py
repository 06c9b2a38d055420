"""Random networks as wide as vectors: blocks with and without filling, groups, halos, residuals."""

from dataclasses import dataclass, field

import numpy as np

from cnnc.ir.graph import Constant, Graph, Input, Node, OpError
from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Symbol, Value
from cnnc.ops.spec import Operator
from tests.ir.random_graphs import operator
from tests.ir.random_movements import draw_movement

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 24, 31, 32, 33, 40, 48)
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "hardswish")
PADS: tuple[Value, ...] = (0, 1, 2, Symbol("same"), Symbol("causal"), Symbol("same_lower"))
MOST_ELEMENTS = 6000


@dataclass
class _Builder:
    """Adds operators one by one; those that do not fit their operands are left out."""

    random: np.random.Generator
    values: list[Node] = field(default_factory=list)
    inputs: list[Node] = field(default_factory=list)

    def one_of(self, *choices: Value) -> Value:
        """A choice."""
        return choices[int(self.random.integers(len(choices)))]

    def number(self, low: int, high: int) -> int:
        """An integer from low to high."""
        return int(self.random.integers(low, high + 1))

    def input(self, shape: tuple[int, ...]) -> None:
        """A network input."""
        name = f"input{len(self.inputs)}"
        self.inputs.append(Node(Input(name), (), TensorType.plain(shape), name))
        self.values.append(self.inputs[-1])

    def late(self) -> Node:
        """One of the last values, most often the last one."""
        back = self.number(0, 3) if self.number(0, 2) == 0 else 0
        return self.values[-1 - min(back, len(self.values) - 1)]

    def apply(self, op: Operator, *operands: Node) -> Node | None:
        """A node with random parameters; None where operands do not fit or it is too large."""
        name = f"{op.name}.{len(self.values)}"
        parameters = []
        try:
            for spec in op.parameters(*(operand.type for operand in operands)):
                value = spec.value
                if value is None:
                    value = np.abs(self.random.normal(0, 0.5, spec.type.shape)) + 0.1
                constant = Constant(value.astype(np.float32))
                parameters.append(Node(constant, (), spec.type, f"{name}.{spec.name}"))
            inputs = (*operands, *parameters)
            made = op.infer(*(operand.type for operand in inputs))
        except OpError:
            return None
        if made.elements > MOST_ELEMENTS:
            return None
        self.values.append(Node(op, inputs, made, name))
        return self.values[-1]

    def step(self) -> None:
        """One operator, or a few that make a pattern."""
        x = self.late()
        steps = [self._concat, self._pointwise, self._two, self._normalisation]
        if x.type.spatial:
            steps += [self._conv, self._conv, self._conv, self._pool, self._gate, self._dense]
            steps += [self._tower, self._movement]
        steps[self.number(0, len(steps) - 1)](x)

    def _conv(self, x: Node) -> None:
        """Any convolution, often with an activation and a residual behind it."""
        axes, groups = len(x.type.spatial), 1
        channels = CHANNELS[self.number(0, len(CHANNELS) - 1)]
        if self.number(0, 3) == 0:
            groups = channels = x.type.channels
        elif self.number(0, 2) == 0:
            groups = next(count for count in (4, 3, 2, 1) if x.type.channels % count == 0)
            channels = groups * (1, 4, 8, 16)[self.number(0, 3)]

        def extents(*choices: Value) -> Value:
            return tuple(self.one_of(*choices) for _ in range(axes))

        name = ("conv", "conv", "conv", "conv_transpose", "unshared")[self.number(0, 4)]
        conv = operator(
            name,
            channels=channels,
            kernel=extents(1, 2, 3, 4),
            stride=extents(1, 1, 1, 2, 3, 4),
            pad=self.one_of(*PADS),
            dilation=extents(1, 1, 2, 3),
            groups=groups,
            bias=bool(self.number(0, 1)),
        )
        made = self.apply(conv, x)
        if made and self.number(0, 1):
            made = self._pointwise(made)
        alike = [node for node in self.values[:-1] if made and node.type == made.type]
        if made and alike and self.number(0, 2):
            pair = [made, alike[-1]][:: self.number(0, 1) * 2 - 1]
            self.apply(operator(str(self.one_of("add", "sub", "mul"))), *pair)

    def _tower(self, x: Node) -> None:
        """Convolutions one upon the other, each result like its operand in shape and halo."""
        conv = operator("conv", channels=x.type.channels, kernel=3, pad=Symbol("same"), bias=False)
        for _ in range(self.number(2, 4)):
            x = self.apply(conv, x) or x

    def _movement(self, x: Node) -> None:
        """A result in blocks that is moved, or moved back into blocks."""
        self.apply(draw_movement(self.number, x.type), x)

    def _pool(self, x: Node) -> None:
        self.apply(
            operator(
                "pool",
                kind=self.one_of(Symbol("max"), Symbol("avg"), Symbol("l2")),
                size=self.one_of(1, 2, 3, Symbol("global")),
                stride=self.number(1, 4),
                pad=self.number(0, 1),
                dilation=self.number(1, 2),
                ceil=bool(self.number(0, 1)),
            ),
            x,
        )

    def _gate(self, x: Node) -> None:
        """A factor for each channel, computed from all positions."""
        mean = self.apply(operator("pool", kind=Symbol("avg"), size=Symbol("global")), x)
        if mean:
            gate = self.apply(operator("conv", channels=x.type.channels, kernel=1), mean)
            self.apply(operator(str(self.one_of("mul", "add"))), x, gate or mean)

    def _dense(self, x: Node) -> None:
        flat = self.apply(operator("flatten"), x)
        if flat:
            features = CHANNELS[self.number(0, len(CHANNELS) - 1)]
            self.apply(operator("dense", features=features), flat)

    def _concat(self, x: Node) -> None:
        self.apply(operator("concat"), x, self.late())

    def _normalisation(self, x: Node) -> None:
        """Of every kind; a large eps keeps lines of equal elements from being all rounding."""
        match self.number(0, 5):
            case 0:
                self.apply(operator("instance_norm", eps=0.1), x)
            case 1:
                self.apply(operator("group_norm", groups=self.number(1, 4), eps=0.1), x)
            case 2:
                self.apply(operator("layer_norm", axes=self.number(1, 2), eps=0.1), x)
            case 3:
                self.apply(operator("lrn", size=self.number(1, 6), alpha=0.5), x)
            case _:
                self.apply(operator("batchnorm"), x)

    def _two(self, x: Node) -> None:
        self.apply(operator(str(self.one_of("add", "sub", "mul"))), x, self.late())

    def _pointwise(self, x: Node) -> Node | None:
        return self.apply(operator(str(self.one_of(*ACTIVATIONS))), x)


def wide_graph(seed: int) -> Graph:
    """A network of one to three spatial axes and up to a dozen operators, finite everywhere."""
    build = _Builder(np.random.default_rng(seed))
    axes, batch = (1, 2, 2, 2, 3)[build.number(0, 4)], build.number(1, 3)
    longest = {1: 20, 2: 9, 3: 5}[axes]
    for _ in range(build.number(1, 2)):
        channels = CHANNELS[build.number(0, len(CHANNELS) - 1)]
        build.input((batch, channels, *(build.number(1, longest) for _ in range(axes))))
    build.apply(operator("id"), build.values[-1])
    for _ in range(build.number(1, 8)):
        build.step()
    made = [node for node in build.values if not node.is_leaf]
    outputs = {"out": made[-1], "also": made[build.number(0, len(made) - 1)]}
    return Graph("wide", tuple(build.inputs), outputs, batch)
