"""What is kept of a compiled program beside its code: enough to run it without lowering again.

An entry of the cache in JSON: the keys of the program's object code, where its weights lie, and how
much memory it takes. Its own key says all that lowering reads: the optimised graph without the
values of its constants, the target, the choices, and the source files of lowering and of what it
stands on.
"""

import json
from hashlib import sha256

from cnnc.backends.native import keys
from cnnc.base.choice import Choices
from cnnc.base.layout import Layout
from cnnc.base.record import record
from cnnc.base.report import Json
from cnnc.base.resources import digest_sources
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.container import UnsoundError
from cnnc.fields import Fields
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import Blob, Program, align
from cnnc.lowering.packed import Packed
from cnnc.ops.composed import components

FORMAT = "program 2"


@record
class Weight:
    """A constant among the weights: the node's position in the graph, its layout, its offset."""

    node: int
    layout: str
    offset: int


@record
class Kept:
    """All of a program but its loops; `objects` are the keys of its modules, in order.

    Sizes are in bytes: `arena_bytes` is what threads share, `scratch_bytes` what each has.
    """

    objects: tuple[str, ...]
    weights: tuple[Weight, ...]
    weights_bytes: int
    arena_bytes: int
    scratch_bytes: int
    is_shared: bool
    is_short: bool

    @staticmethod
    def of(program: Program, graph: Graph, objects: tuple[str, ...]) -> "Kept":
        """What is to be kept of a program for an optimised graph."""
        places = {node.op: place for place, node in enumerate(graph.nodes)}
        weights = [
            Weight(places[packed.constant], packed.buffer.layout.tag, blob.offset)
            for blob in program.weights
            if isinstance(packed := blob.contents, Packed)
        ]
        sizes = (program.weights_bytes, program.shared_bytes, program.own_bytes)
        return Kept(objects, tuple(weights), *sizes, program.is_shared, program.is_short)

    def blobs(self, graph: Graph) -> tuple[Blob, ...]:
        """The contents of the weights; UnsoundError where they do not fit the graph."""
        blobs = []
        for weight in self.weights:
            node = graph.nodes[weight.node] if weight.node < len(graph.nodes) else None
            if node is None or not isinstance(node.op, Constant):
                raise UnsoundError("a weight is no constant")
            buffer = Buffer(node.name, node.type.shape, node.type.dtype, _layout(weight, node))
            blob = Blob(node.name, weight.offset, Packed(node.op, buffer))
            if blob.offset != align(blob.offset) or blob.end > self.weights_bytes:
                raise UnsoundError("a weight lies outside the weights")
            blobs.append(blob)
        return tuple(blobs)


def program_key(graph: Graph, target: Target, choices: Choices) -> str:
    """The key of what lowering makes of an optimised graph."""
    return sha256("\n".join([_maker(), repr(target), *_parts(graph, choices)]).encode()).hexdigest()


def may_keep(graph: Graph) -> bool:
    """Whether the key says all that lowering reads: not where operators come from elsewhere.

    The sources of what is no part of cnnc are not in the key.
    """
    package = __name__.partition(".")[0]
    found = (type(each) for node in graph.nodes for each in components(node.op))
    return all(kind.__module__.partition(".")[0] == package for kind in found)


def find_kept(store: Store, key: str) -> Kept | None:
    """The entry under the key; None where there is none, or it is not sound."""
    data = store.get(key)
    try:
        return None if data is None else _read(data, key)
    except (UnsoundError, ValueError, RecursionError):
        return None


def write_kept(kept: Kept, key: str) -> bytes:
    """The entry; the key is in it, so that it is no other program's under another name."""
    weights: list[Json] = [[each.node, each.layout, each.offset] for each in kept.weights]
    found: dict[str, Json] = {
        "form": FORMAT,
        "key": key,
        "objects": [*kept.objects],
        "weights": weights,
        "weights_bytes": kept.weights_bytes,
        "arena_bytes": kept.arena_bytes,
        "scratch_bytes": kept.scratch_bytes,
        "is_shared": kept.is_shared,
        "is_short": kept.is_short,
    }
    return json.dumps(found).encode()


def _read(data: bytes, key: str) -> Kept:
    found = json.loads(data)
    match found:
        case {"form": form, "key": own, "objects": [*objects], "weights": [*weights]}:
            pass
        case _:
            raise UnsoundError("it is no program")
    if form != FORMAT or own != key or not all(isinstance(each, str) for each in objects):
        raise UnsoundError("it is another program's")
    fields = Fields(found)
    return Kept(
        tuple(objects),
        tuple(map(_weight, weights)),
        fields.count("weights_bytes"),
        fields.count("arena_bytes"),
        fields.count("scratch_bytes"),
        fields.flag("is_shared"),
        fields.flag("is_short"),
    )


def _weight(found: Json) -> Weight:
    match found:
        case [int(node), str(layout), int(offset)] if node >= 0 and offset >= 0:
            return Weight(int(node), layout, int(offset))
    raise UnsoundError("a weight is not described")


def _layout(weight: Weight, node: Node) -> Layout:
    layout = Layout.parse(weight.layout) if weight.layout else Layout.plain(0)
    if layout.rank != node.type.rank:
        raise UnsoundError("a weight has another rank")
    return layout


def _parts(graph: Graph, choices: Choices) -> list[str]:
    """The graph and the choices as text. The operator's text tells 0.0 from -0.0."""
    number = {node: place for place, node in enumerate(graph.nodes)}
    parts = [f"{graph.name} {graph.fewest} {graph.batch} {graph.is_apart}"]
    for node in graph.nodes:
        known = isinstance(node.op, Input | Constant)
        op = type(node.op).__name__ if known else repr(node.op)
        operands = ",".join(str(number[operand]) for operand in node.inputs)
        parts.append(f"{node.name}\t{op}\t{operands}\t{node.type}")
    parts.append(f"inputs {[number[node] for node in graph.inputs]}")
    parts.append(f"outputs {[(name, number[node]) for name, node in graph.outputs.items()]}")
    chosen = sorted((key, str(each.choice)) for key, each in choices.entries.items())
    return [*parts, f"choices {choices.facts!r} {chosen}"]


def _maker() -> str:
    """What lowers a graph and compiles the loops."""
    sources = digest_sources("base", "ir", "loop", "ops", "offers", "lowering")
    return f"{FORMAT} {keys.compiler()} {sources}"
