"""Random graphs for Hypothesis: every operator family, 1-D and 2-D, several inputs and outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from cnnc.base.dtype import DType
from cnnc.ir.graph import Array, Constant, Graph, Input, Node, Op, OpError
from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Symbol, Value
from cnnc.ops.spec import Operator, find_operator
from tests.ir.random_movements import draw_movement
from tests.ir.random_reductions import add_reduction

UNARY = (
    "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "hardswish", "elu", "selu",
    "celu", "prelu", "softplus", "softsign", "mish", "hard_sigmoid", "hard_tanh", "abs", "neg",
)  # fmt: skip
IDLE = ("id", "dropout")
BINARY = ("add", "sub", "mul", "min", "max")
STEPS = ("conv", "conv", "pool", "batchnorm", "unary", "unary", "idle", "binary", "scalar")
RARE = (
    "normalisation",
    "channels",
    "concat",
    "flatten",
    "dense",
    "reshape",
    "softmax",
    "log_softmax",
    "gate",
    "twin",
    "number",
    "movement",
    "movement",
    "reduce",
    "matmul",
)
MOST_ELEMENTS = 600


def operator(name: str, **values: Value) -> Operator:
    """An operator of the language from language values."""
    found = find_operator(name)
    assert found is not None, name
    return found.make(values)


@dataclass
class Builder:
    """Adds nodes one by one; what does not fit its operands is left out."""

    draw: st.DrawFn
    random: np.random.Generator
    dtype: DType
    inputs: list[Node] = field(default_factory=list)
    values: list[Node] = field(default_factory=list)
    count: int = 0

    def integer(self, low: int, high: int) -> int:
        """A drawn integer."""
        return self.draw(st.integers(low, high))

    def choice(self, names: Sequence[str]) -> str:
        """A drawn name."""
        return names[self.integer(0, len(names) - 1)]

    def value(self) -> Node:
        """A value made so far, more likely a late one."""
        return self.values[-1 - min(self.integer(0, 5), len(self.values) - 1)]

    def name(self, stem: str) -> str:
        """A new name."""
        self.count += 1
        return f"{stem}.{self.count}"

    def input(self, shape: tuple[int, ...]) -> None:
        """A network input."""
        name = f"input{len(self.inputs)}"
        node = Node(Input(name), (), TensorType.plain(shape, self.dtype), name)
        self.inputs.append(node)
        self.values.append(node)

    def constant(self, array: Array, name: str) -> Node:
        """A constant of the graph's element type."""
        value = array.astype(self.dtype.numpy)
        return Node(Constant(value), (), TensorType.plain(value.shape, self.dtype), name)

    def apply(self, op: Op, *operands: Node) -> Node | None:
        """A node with its parameters, unless the operator refuses its operands."""
        name = self.name(op.label.partition("(")[0])
        parameters: list[Node] = []
        try:
            if isinstance(op, Operator):
                for spec in op.parameters(*(operand.type for operand in operands)):
                    array = self.parameter(spec.name, spec.type.shape)
                    array = array if spec.value is None else spec.value
                    parameters.append(self.constant(array, f"{name}.{spec.name}"))
            inputs = (*operands, *parameters)
            made = op.infer(*(operand.type for operand in inputs))
        except OpError:
            return None
        if made.elements > MOST_ELEMENTS:
            return None
        node = Node(op, inputs, made, name)
        self.values.append(node)
        return node

    def parameter(self, role: str, shape: tuple[int, ...]) -> Array:
        """Values for a parameter; variances are positive."""
        values = self.random.normal(0, 0.6, shape)
        return np.abs(values) + 0.3 if role == "var" else values

    def step(self, kind: str) -> None:
        """One operator of a family; two for those that make a pattern."""
        x = self.value()
        match kind:
            case "conv" | "pool" | "dense" | "normalisation":
                self.apply(getattr(self, f"_{kind}")(x), x)
            case "batchnorm" | "flatten" | "softmax" | "log_softmax":
                self.apply(operator(kind), x)
            case "unary" | "idle":
                self.apply(operator(self.choice(UNARY if kind == "unary" else IDLE)), x)
            case "binary":
                self.apply(operator(self.choice(BINARY)), x, self.value())
            case "concat":
                self.apply(operator("concat"), x, self.value())
            case "reshape":
                self.apply(operator("reshape", shape=(0, self.choice_of_extent(x), -1)), x)
            case "movement":
                self.apply(draw_movement(self.integer, x.type), x)
            case "reduce" | "matmul" | "cast":
                add_reduction(kind, self.integer, self.apply, x)
            case "gate":
                if gate := self.apply(operator("sigmoid"), x):
                    self.apply(operator("mul"), x, gate)
            case "twin":
                self.apply(x.op, *x.inputs) if not x.is_leaf and not parameters_of(x) else None
            case _:
                self._with_constant(x, kind)

    def choice_of_extent(self, x: Node) -> int:
        """One of the extents of a tensor; 1 for a number."""
        return 1 if not x.type.rank else x.type.shape[self.integer(0, x.type.rank - 1)]

    def _with_constant(self, x: Node, kind: str) -> None:
        """Arithmetic with a constant: for each channel, one number, or two constants alone."""
        op = operator(self.choice((*BINARY, "div")))
        if kind == "channels" and x.type.rank > 1:
            array = self.random.normal(1, 0.3, (x.type.channels, *[1] * (x.type.rank - 2)))
        else:
            lowest = 0 if op.name in ("add", "sub") else 1
            array = np.array(float(self.integer(lowest, 2)))
        other = self.constant(array, self.name("number"))
        if kind == "number":
            second = self.constant(np.array(1.0), self.name("number"))
            folded = self.apply(operator("add"), other, second)
            assert folded is not None
            other = folded
        self.apply(op, x, other)

    def _conv(self, x: Node) -> Operator:
        channels = self.integer(1, 4)
        depthwise = bool(self.integer(0, 3) == 0) and x.type.rank > 2
        name = ("conv", "conv", "conv", "conv_transpose", "unshared")[self.integer(0, 4)]
        return operator(
            name,
            channels=x.type.channels if depthwise else channels,
            kernel=self.integer(1, 3),
            stride=self.integer(1, 2),
            pad=(0, 1, Symbol("same"), Symbol("causal"))[self.integer(0, 3)],
            dilation=self.integer(1, 2),
            groups=x.type.channels if depthwise else 1,
            bias=bool(self.integer(0, 1)),
        )

    def _pool(self, x: Node) -> Operator:
        kind = Symbol(self.choice(("max", "avg", "l2", "weighted")))
        if kind.name == "weighted":
            falloff = Symbol("gaussian", (1.5,))
            return operator("pool", kind=kind, size=self.integer(2, 3), falloff=falloff)
        if self.integer(0, 3) == 0:
            return operator("pool", kind=kind, size=Symbol("global"))
        return operator("pool", kind=kind, size=self.integer(1, 3), stride=self.integer(1, 2))

    def _normalisation(self, x: Node) -> Operator:
        name = self.choice(("instance_norm", "group_norm", "layer_norm", "lrn"))
        if name == "lrn":
            return operator(name, size=self.integer(1, 4), alpha=0.5)
        affine = bool(self.integer(0, 2))
        if name == "group_norm":
            return operator(name, groups=self.integer(1, 2), eps=0.1, affine=affine)
        if name == "layer_norm":
            return operator(name, axes=self.integer(1, 2), eps=0.1, affine=affine)
        return operator(name, eps=0.1, affine=affine)

    def _dense(self, x: Node) -> Operator:
        return operator("dense", features=self.integer(1, 5), bias=bool(self.integer(0, 1)))


def parameters_of(node: Node) -> list[Node]:
    """The operands that belong to the node's operator."""
    return [operand for operand in node.inputs if operand.name.startswith(f"{node.name}.")]


@st.composite
def graphs(draw: st.DrawFn, dtype: DType = DType.F64, casts: bool = False) -> Graph:
    """A graph of up to a dozen operators; float64, so that rewrites can be compared closely.

    With `casts`, some values become whole numbers.
    """
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    build = Builder(draw, random, dtype)
    batch, rank = build.integer(1, 2), build.integer(1, 2)
    for _ in range(build.integer(1, 2)):
        build.input((batch, build.integer(1, 3), *[build.integer(3, 6) for _ in range(rank)]))
    for _ in range(build.integer(1, 12)):
        build.step(build.choice((*STEPS, *RARE, "cast") if casts else (*STEPS, *RARE)))
    made = [node for node in build.values if not node.is_leaf] or build.values
    outputs = {"out": made[-1]}
    if build.integer(0, 1):
        outputs["also"] = made[build.integer(0, len(made) - 1)]
    return Graph("random", tuple(build.inputs), outputs, batch)


def arrays_for(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Input arrays of the declared shapes and types."""
    random = np.random.default_rng(seed)
    return {
        node.name: random.normal(0, 1, node.type.shape).astype(node.type.dtype.numpy)
        for node in graph.inputs
    }
