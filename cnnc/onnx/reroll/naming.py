"""What a block is called: after what it does."""

from collections.abc import Container, Iterator

from cnnc.onnx.reroll.names import free_name
from cnnc.onnx.reroll.tree import Call, Chain, Join, Repeat, Use
from cnnc.ops.spec import find

SHORT = 3
"""Operators that a name may list."""
SPOKEN = {"batchnorm": "bn"}


def block_name(body: Chain, taken: Container[str]) -> str:
    """A name that no other block and no operator has."""
    return free_name(_name(body), _Taken(taken))


class _Taken(Container[str]):
    """Names of blocks, and of operators, which a block would hide."""

    def __init__(self, blocks: Container[str]) -> None:
        self.blocks = blocks

    def __contains__(self, name: object) -> bool:
        return name in self.blocks or find(str(name)) is not None


def _name(body: Chain) -> str:
    joins = [item for item in body if isinstance(item, Join)]
    if any(isinstance(item, Repeat) for item in body):
        return "stage"
    if joins and (joins[0].op != "mul" or len(body) <= SHORT):
        return _join_name(joins[0])
    words = [*_words(body)]
    if len(words) <= SHORT:
        return "_".join(words)
    return "unit"


def _join_name(join: Join) -> str:
    match join.op:
        case "add":
            return "residual"
        case "concat":
            return "mixed" if all(branch.chain for branch in join.branches) else "dense_layer"
        case "mul":
            return "gated"
    return "branches"


def _words(body: Chain) -> Iterator[str]:
    for item in body:
        match item:
            case Call(op=op):
                yield SPOKEN.get(op, op)
            case Use(block=block):
                yield block
