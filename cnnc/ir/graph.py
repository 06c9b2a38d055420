"""The graph: a node is an operator applied to nodes; a graph is its outputs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, prod
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.base.source import Span
from cnnc.ir.types import TensorType

Array = NDArray[np.generic]
Real = NDArray[np.float64]


class Op(Protocol):
    """What the graph asks of an operator; `cnnc.ops.spec.Operator` is the base of real ones."""

    @property
    def label(self) -> str:
        """The operator with its attributes, as text that parses back."""
        ...

    def infer(self, *inputs: TensorType) -> TensorType:
        """Type of the result, or OpError naming the attribute or operand to blame."""
        ...

    def reference(self, *inputs: Real) -> Real:
        """The truth, in NumPy, on operands widened to float64."""
        ...


@dataclass(eq=False)  # not frozen: Python sets an exception's traceback
class OpError(Exception):
    """An operator refuses its attributes or operands; the frontend turns `at` into a span.

    `at` is an attribute's name, or the index of an operand. `why` completes "… because"; `note`
    shows the arithmetic; `help` says how to fix it.
    """

    why: str
    at: str | int | None = None
    note: str | None = None
    help: str | None = None

    def __str__(self) -> str:
        return self.why


@record
class Input:
    """A network input; its type is the node's."""

    name: str

    @property
    def label(self) -> str:
        """See Op."""
        return "input"

    def infer(self, *inputs: TensorType) -> TensorType:
        """An input's type is declared, never inferred."""
        raise TypeError("an input has no rule to infer its type")

    def reference(self, *inputs: Real) -> Real:
        """An input's value is given, never computed."""
        raise TypeError("an input has no value of its own")


@record
class Initial:
    """How a parameter without stored weights is initialised.

    `kind` is "weight" (random, scaled by fan_in and fan_out), "zeros", "ones" or "quarters" (0.25).
    """

    kind: str
    fan_in: int = 1
    fan_out: int = 1


@record
class Parameter:
    """A trained tensor not bound to values yet; `path` is its instance path and weight name."""

    path: str
    initial: Initial

    @property
    def label(self) -> str:
        """See Op."""
        return "parameter"

    def infer(self, *inputs: TensorType) -> TensorType:
        """A parameter's type is declared, never inferred."""
        raise TypeError("a parameter has no rule to infer its type")

    def reference(self, *inputs: Real) -> Real:
        """A parameter has no value until weights are bound."""
        raise TypeError("a parameter has no value before weights are bound")


PART = 2**16
"""Elements of a part of a constant, unless a single row has more."""


def rows_at_once(shape: Shape, multiple: int = 1) -> int:
    """Rows of a part: `multiple`, or a multiple of it."""
    return max(1, PART // (multiple * max(1, prod(shape[1:])))) * multiple


def cuts(shape: Shape, rows: int) -> Iterator[slice]:
    """The first axis cut into so many rows each, at the end perhaps less."""
    return (slice(start, min(start + rows, shape[0])) for start in range(0, shape[0], rows))


def magnitudes(parts: Iterable[Array]) -> tuple[float, float]:
    """The least but 0 and the greatest of the absolute values; NaN where an element is."""
    least, most = inf, 0.0
    for part in parts:
        sizes = np.abs(part)
        least = float(np.minimum(least, sizes.min(where=sizes != 0, initial=inf)))
        most = float(np.maximum(most, sizes.max(initial=0.0)))
    return least, most


class Recipe(Protocol):
    """How a constant is made, part by part, whenever it is asked for: nobody keeps the whole.

    It is the same each time, and however it is cut. The rank is at least 1.
    """

    @property
    def shape(self) -> Shape:
        """The shape of the whole."""
        ...

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The element type."""
        ...

    @property
    def magnitudes(self) -> tuple[float, float]:
        """No element but 0 is smaller than the first, none is greater than the second."""
        ...

    @property
    def identity(self) -> object:
        """Recipes of the same type and equal identity make the same array."""
        ...

    def parts(self, rows: int) -> Iterator[Array]:
        """The array in parts of so many rows, one after the other."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A tensor known at compile time: the logical array whatever the node's layout.

    `source` is an array, or says how to make it.
    """

    source: Array | Recipe = field(repr=False)

    @property
    def value(self) -> Array:
        """The whole array; of a recipe a new one each time."""
        if isinstance(self.source, np.ndarray | np.generic):
            return self.source
        whole = np.empty(self.source.shape, self.source.dtype)
        rows = rows_at_once(whole.shape)
        for cut, part in zip(cuts(whole.shape, rows), self.source.parts(rows), strict=True):
            whole[cut] = part
        return whole

    def parts(self, rows: int) -> Iterator[Array]:
        """The array in parts of so many rows, one after the other; the rank is at least 1."""
        source = self.source
        if isinstance(source, np.ndarray):
            return (source[cut] for cut in cuts(source.shape, rows))
        return source.parts(rows)

    @property
    def magnitudes(self) -> tuple[float, float]:
        """No element but 0 is smaller than the first, none is greater than the second.

        NaN where an element is.
        """
        if not isinstance(self.source, np.ndarray | np.generic):
            return self.source.magnitudes
        if not self.source.ndim:
            return magnitudes((self.source,))
        return magnitudes(self.parts(rows_at_once(self.source.shape)))

    @property
    def label(self) -> str:
        """See Op."""
        return "constant"

    def infer(self, *inputs: TensorType) -> TensorType:
        """A constant's type is declared, never inferred."""
        raise TypeError("a constant has no rule to infer its type")

    def reference(self, *inputs: Real) -> Real:
        """The value itself."""
        return np.asarray(self.value, np.float64)


class InPlace(Protocol):
    """An operator that is done by where its operands lie; `cnnc.ops.view` has it."""

    @property
    def joins(self) -> bool:
        """Whether the operands lie in the result; otherwise the result lies in its operand."""
        ...

    def find_fault(self, out: TensorType, *inputs: TensorType) -> str | None:
        """Why the layouts do not agree; None where they do."""
        ...


def is_in_place(op: object) -> TypeGuard[InPlace]:
    """Whether an operator is done by where its operands lie."""
    # not by isinstance, which takes its time with protocols
    return hasattr(type(op), "joins") and hasattr(type(op), "find_fault")


LEAVES = (Input, Parameter, Constant)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """An operator applied to nodes. Nodes compare by identity.

    `name` is the instance path (`body.0.conv`); `span` is where the source asked for it.
    """

    op: Op
    inputs: tuple["Node", ...]
    type: TensorType
    name: str
    span: Span | None = None

    @property
    def is_leaf(self) -> bool:
        """Whether the node is an input, parameter or constant."""
        return isinstance(self.op, LEAVES)

    @property
    def is_constant(self) -> bool:
        """Whether the value is known at compile time."""
        return isinstance(self.op, Constant)

    @property
    def constant(self) -> Array | None:
        """The value of a constant node, otherwise None. It may have to be made: see Constant."""
        return self.op.value if isinstance(self.op, Constant) else None

    def with_inputs(self, inputs: Sequence["Node"]) -> "Node":
        """The same node reading other values of the same types; itself if nothing changes."""
        if len(inputs) == len(self.inputs) and all(
            new is old for new, old in zip(inputs, self.inputs, strict=True)
        ):
            return self
        return replace(self, inputs=tuple(inputs))


@dataclass(frozen=True)
class Graph:
    """A network: `inputs` in declared order, `outputs` by name in declared order.

    `batch` is how many samples the leading axis of the inputs carries. Where `fewest` is given, a
    run may take any number of samples from it up to `batch`. An input that no output needs stays
    in `inputs`. Of a graph that `is_apart`, types are those of a single sample, and a run takes its
    samples through the graph one after the other.
    """

    name: str
    inputs: tuple[Node, ...]
    outputs: Mapping[str, Node]
    batch: int = 1
    fewest: int | None = None
    is_apart: bool = False

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node the outputs need, and all inputs, operands before users."""
        done: dict[Node, None] = dict.fromkeys(self.inputs)
        stack: list[tuple[Node, Iterator[Node]]] = []
        for output in self.outputs.values():
            stack.append((output, iter(output.inputs)))
            while stack:
                node, rest = stack[-1]
                following = next((n for n in rest if n not in done), None)
                if following is not None:
                    stack.append((following, iter(following.inputs)))
                    continue
                stack.pop()
                done.setdefault(node)
        return tuple(done)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all nodes."""
        return frozenset(node.name for node in self.nodes)

    @cached_property
    def users(self) -> Mapping[Node, tuple[Node, ...]]:
        """Who reads each node, once per operand position; outputs are not users."""
        users: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for operand in node.inputs:
                users[operand].append(node)
        return {node: tuple(readers) for node, readers in users.items()}

    @cached_property
    def output_nodes(self) -> frozenset[Node]:
        """The nodes that are outputs."""
        return frozenset(self.outputs.values())

    def is_private(self, node: Node) -> bool:
        """Whether exactly one node reads the value and it is no output: safe to absorb."""
        return len(self.users[node]) == 1 and node not in self.output_nodes

    def rebuild(self, change: Callable[[Node], Node]) -> "Graph":
        """Apply `change` to every node, operands first; the same graph if nothing changes.

        `change` sees a node whose operands are already rebuilt, and returns it or a replacement.
        """
        new: dict[Node, Node] = {}
        for node in self.nodes:
            new[node] = change(node.with_inputs([new[operand] for operand in node.inputs]))
        if all(new[node] is node for node in self.nodes):
            return self
        inputs = tuple(new[node] for node in self.inputs)
        return replace(
            self, inputs=inputs, outputs={name: new[node] for name, node in self.outputs.items()}
        )
