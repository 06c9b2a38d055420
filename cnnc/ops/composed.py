"""What an operator that the compiler makes is made of."""

from collections.abc import Iterator

from cnnc.ir.graph import Op
from cnnc.ops.fused import Fused
from cnnc.ops.streamed import Streamed
from cnnc.ops.view import View


def components(op: Op) -> Iterator[Op]:
    """The operators inside one, those they are made of first, and itself."""
    match op:
        case Fused():
            yield from (op.root, *(step.op for step in op.tail))
        case Streamed():
            for stage in op.stages:
                yield from components(stage.op)
        case View():
            yield from components(op.root)
    yield op
