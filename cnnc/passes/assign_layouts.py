"""Choose how every tensor lies in memory."""

from collections.abc import Mapping
from dataclasses import replace

from cnnc.base.choice import ESTIMATED, Choices
from cnnc.base.layout import Layout
from cnnc.base.target import Target
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.ir.types import TensorType
from cnnc.offers.padding import Halo, halo_in_memory
from cnnc.ops.fused import Fused
from cnnc.ops.repack import Repack
from cnnc.ops.spec import FEW_CHANNELS, Operator
from cnnc.passes._blocks import own_block, rows_of, wider_blocks
from cnnc.passes._rows import layers_in_rows


def assign_layouts(graph: Graph, target: Target, choices: Choices = ESTIMATED) -> Graph:
    """conv(x) -> relu -> conv  →  channels blocked by the vector width, repacked only at the edges.

    Every tensor an operator can work on in blocks of channels is blocked, unless convolutions that
    lie in rows are faster (`_rows.py`); a tensor that a padded window reads gets its zeros in
    memory, as a halo, unless the layer copies it channel by channel (`offers.padding`). Network
    inputs and outputs stay row-major, and a `repack` stands where two neighbours cannot agree.
    Constants that operators read element by element follow; the packing of other weights is
    lowering's choice.
    """
    planner = _Planner(
        target,
        _halos(graph, target),
        wider_blocks(graph, target),
        rows_of(graph, target),
        layers_in_rows(graph, target, choices),
    )
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        new[node] = planner.place(node, [new[operand] for operand in node.inputs])
    outputs: dict[str, Node] = {}
    for name, node in graph.outputs.items():
        outputs[name] = planner.output(new[node], outputs)
    return replace(graph, inputs=tuple(new[node] for node in graph.inputs), outputs=outputs)


def data_arity(node: Node) -> int:
    """How many of the node's operands are data rather than the operator's own parameters."""
    op = node.op
    root, arity = (op.root, op.root_arity) if isinstance(op, Fused) else (op, len(node.inputs))
    assert isinstance(root, Operator)
    own = root.parameters(*(operand.type for operand in node.inputs[:1]))
    return arity - len(own)


class _Planner:
    """Places nodes one by one, operands first."""

    def __init__(
        self,
        target: Target,
        halos: dict[Node, Halo],
        wider: dict[Node, int],
        rows: frozenset[Node],
        in_rows: frozenset[Node],
    ) -> None:
        self.target = target
        self.halos = halos
        self.wider = wider
        self.rows = rows
        self.in_rows = in_rows
        self.copies: dict[tuple[Node, Layout], Node] = {}

    def place(self, node: Node, operands: list[Node]) -> Node:
        """The node with its layout, reading operands in layouts it can work on."""
        if node.is_leaf:
            return node
        op = node.op
        assert isinstance(op, Operator)
        arity = data_arity(node)
        root_arity = op.root_arity if isinstance(op, Fused) else arity
        block = self._block(node, operands, arity, root_arity)
        wanted = self._operand_blocks(node, operands, arity, block)
        halo = halo_in_memory(node, self.target)
        placed = list(operands)
        for position, operand in enumerate(operands):
            is_parameter = arity <= position < (op.root_arity if isinstance(op, Fused) else 10**9)
            if is_parameter:
                continue
            needs = halo if position == 0 else ()
            placed[position] = self._fit(operand, node.type, wanted[position], needs)
        layout = self._layout(node.type, block, self.halos.get(node, ()))
        return replace(node, inputs=tuple(placed), type=node.type.with_layout(layout))

    def output(self, node: Node, taken: Mapping[str, Node]) -> Node:
        """A row-major node of its own for a network output."""
        plain = Layout.plain(node.type.rank)
        if node.type.layout != plain:
            node = self._copy(node, plain)
        if node.is_leaf or node in taken.values():
            return _repack(node, plain, f"{node.name}.out{len(taken)}")
        return node

    def _block(self, node: Node, operands: list[Node], arity: int, root_arity: int) -> int:
        """The channel block of the result."""
        op, rank = node.op, node.type.rank
        assert isinstance(op, Operator)
        if rank < 2 or node in self.in_rows:
            return 1
        kinds = [operand.type for operand in operands]
        lanes = own_block(node.type, self.target)
        wider = self.wider.get(node, lanes)
        if op.blocking(wider, *kinds).writes == wider:
            lanes = wider
        blocking = op.blocking(lanes, *kinds)
        if not blocking.follows or blocking.writes == 1:
            return blocking.writes
        data = operands[:arity] + operands[root_arity:]
        sharing = [operand.type for operand in data if not operand.is_constant]
        if len(sharing) > 1 and any(kind.rank != rank and kind.elements > 1 for kind in sharing):
            return 1
        return lanes if any(kind.layout.block(1) > 1 for kind in sharing if kind.rank > 1) else 1

    def _operand_blocks(
        self, node: Node, operands: list[Node], arity: int, block: int
    ) -> list[int]:
        """The channel block each operand must have."""
        op = node.op
        assert isinstance(op, Operator)
        blocking = op.blocking(block, *(operand.type for operand in operands))
        # Channels of a side operand of lower rank are another axis of the result, and a single one
        # is broadcast.
        wanted = [
            1 if not each.is_constant and _stands_apart(each.type, node.type) else block
            for each in operands
        ]
        for position in range(arity):
            kind = operands[position].type
            if blocking.follows or kind.rank < 2:
                continue
            current = kind.layout.block(1)
            preferred = own_block(kind, self.target)
            readable = [size for size in blocking.reads if size in (preferred, 1)]
            # A copy pays where whole blocks are read again and again; not for the colours of an
            # image, which come one by one.
            few = kind.channels <= FEW_CHANNELS or node.inputs[position] in self.rows
            copied = current == 1 and preferred in blocking.reads and not few
            keeps = current in blocking.reads and not copied
            wanted[position] = current if keeps else (readable or blocking.reads)[0]
        return wanted

    def _fit(self, operand: Node, result: TensorType, block: int, halo: Halo) -> Node:
        """The operand, or a copy of it, with this channel block and at least this halo."""
        if operand.is_constant:
            return self._fit_constant(operand, result, block)
        kind = operand.type
        if kind.rank < 2:
            return operand
        has = kind.layout
        enough = all(
            have[0] >= need[0] and have[1] >= need[1]
            for have, need in zip(has.halo or ((0, 0),) * kind.rank, halo, strict=False)
        )
        if enough and has.block(1) == block:
            return operand
        return self._copy(operand, self._layout(kind, block, halo))

    def _fit_constant(self, operand: Node, result: TensorType, block: int) -> Node:
        shape = (1,) * (result.rank - operand.type.rank) + operand.type.shape
        blocked = block if len(shape) > 1 and shape[1] == result.channels > 1 else 1
        layout = Layout.blocked(len(shape), 1, blocked)
        if shape == operand.type.shape and layout == operand.type.layout:
            return operand
        key = (operand, layout)
        if key not in self.copies:
            assert isinstance(operand.op, Constant)
            same = shape == operand.type.shape
            op = operand.op if same else Constant(operand.op.value.reshape(shape))
            kind = TensorType(shape, operand.type.dtype, layout)
            name = f"{operand.name}.{layout.tag}"
            self.copies[key] = replace(operand, op=op, type=kind, name=name)
        return self.copies[key]

    def _copy(self, operand: Node, layout: Layout) -> Node:
        key = (operand, layout)
        if key not in self.copies:
            self.copies[key] = _repack(operand, layout, f"{operand.name}.{layout.tag}")
        return self.copies[key]

    def _layout(self, kind: TensorType, block: int, halo: Halo) -> Layout:
        return Layout.blocked(kind.rank, 1, block).with_halo(halo) if kind.rank > 1 else kind.layout


def _stands_apart(operand: TensorType, result: TensorType) -> bool:
    """Whether an operand's channels are not the result's."""
    if not operand.rank > 1 < result.rank:
        return False
    return operand.rank < result.rank or operand.channels == 1 < result.channels


def _repack(node: Node, layout: Layout, name: str) -> Node:
    return Node(Repack(), (node,), node.type.with_layout(layout), name, node.span)


def _halos(graph: Graph, target: Target) -> dict[Node, Halo]:
    """For every computed value the zeros that at least one of its readers wants around it."""
    halos: dict[Node, Halo] = {}
    for node in graph.nodes:
        if node.is_leaf:
            continue
        wanted = halo_in_memory(node, target)
        if not wanted:
            continue
        have = halos.get(node.inputs[0], ((0, 0),) * len(wanted))
        halos[node.inputs[0]] = tuple(
            (max(a[0], b[0]), max(a[1], b[1])) for a, b in zip(have, wanted, strict=True)
        )
    return halos
