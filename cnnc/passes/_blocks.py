"""Which channel blocks tensors will have: what passes know before layouts are assigned."""

from math import prod

from cnnc.base.dtype import DType
from cnnc.base.layout import channel_block
from cnnc.base.target import LINE, Target
from cnnc.ir.graph import Graph, Node
from cnnc.ir.types import TensorType
from cnnc.offers.offer import root_of
from cnnc.ops.concat import Concat
from cnnc.ops.spec import Operator


def own_block(kind: TensorType, target: Target) -> int:
    """The block of a tensor that lies alone: integers as f32, so that casts need no other."""
    lanes = target.lanes(kind.dtype if kind.dtype.is_float else DType.F32)
    return channel_block(kind.channels, lanes)


def expected_blocks(graph: Graph, target: Target) -> dict[Node, int]:
    """The channel block that every value should get, 1 where it should lie row-major."""
    blocks: dict[Node, int] = {}
    for node in graph.nodes:
        op, kind = node.op, node.type
        blocks[node] = 1
        if not isinstance(op, Operator) or kind.rank < 2:
            continue
        blocking = op.blocking(own_block(kind, target), *_types(node))
        if not blocking.follows or any(blocks[operand] > 1 for operand in node.inputs):
            blocks[node] = blocking.writes
    return blocks


def wider_blocks(graph: Graph, target: Target) -> dict[Node, int]:
    """Values with so few channels that their own block is narrower than that of a concat they join.

    They are computed in the wider one, which takes no more instructions, rather than copied.
    """
    wider: dict[Node, int] = {}
    for node in reversed(graph.nodes):
        if not isinstance(node.op, Operator) or node.type.rank < 2:
            continue
        root, operands = root_of(node)
        block = wider.get(node, own_block(node.type, target))
        blocking = node.op.blocking(block, *_types(node))
        if not isinstance(root, Concat):
            passes_on = node in wider and (blocking.follows or blocking.reads == (block,))
            alike = [each for each in node.inputs if _is_alike(each.type, node.type)]
            operands = tuple(alike) if passes_on else ()
        for operand in operands:
            kind = operand.type
            if not operand.is_leaf and 1 < kind.channels <= blocking.writes // 2:
                wider[operand] = max(blocking.writes, wider.get(operand, 1))
    return wider


def moves_lanes(node: Node, target: Target) -> bool:
    """Whether channels change lanes where the operands lie in blocks; in rows it lies as they do.

    That is what concats and slices do that cut blocks, and shuffles.
    """
    if not isinstance(node.op, Operator) or node.type.rank < 2:
        return False
    root, operands = root_of(node)
    block, kinds = own_block(node.type, target), [operand.type for operand in operands]
    if not root.permuted_vectors(block, *kinds):
        return False
    return all(own_block(kind, target) == block for kind in kinds)


def rows_of(graph: Graph, target: Target) -> frozenset[Node]:
    """Values that all who read them read as fast from rows as from blocks, where they lie so.

    These are windows of one tap over all channels. With many registers, a tile of theirs reads a
    line of memory of each channel nearly whole; what it leaves should still be near for the next
    tile, two lines where rows begin anywhere. With few, lines are read again and again, and those
    of maps whose size is a power of two drive each other out of the cache. Inputs of the network
    are not among them: a layer that is tuned or measured alone shall read what it reads in a net.
    """
    if target.vector_registers < 32 or target.multiplies_by_lane:
        return frozenset()
    return frozenset(
        node
        for node, readers in graph.users.items()
        if 2 * LINE * prod(node.type.shape[1:2]) <= target.l1_bytes
        and not node.is_leaf
        and readers
        and all(_reads_one_tap(reader, node) for reader in readers)
    )


def _reads_one_tap(node: Node, x: Node) -> bool:
    assert isinstance(node.op, Operator)
    nest = node.op.nest(node.type, *_types(node))
    alone = node.inputs[0] is x and node.inputs.count(x) == 1
    return alone and nest.one_tap and nest.groups == 1 and not nest.strided


def _is_alike(one: TensorType, other: TensorType) -> bool:
    """Whether channels of one tensor can be those of the other."""
    return one.rank == other.rank and one.channels == other.channels


def _types(node: Node) -> list[TensorType]:
    return [operand.type for operand in node.inputs]
