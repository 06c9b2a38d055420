"""Operators whose operands lie in blocks of channels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.loop.expr import Load, Ramp
from cnnc.loop.kernel import Kernel, Store, expressions, walk
from cnnc.loop.rewrite import parts
from cnnc.lowering.lower import flatten_kernel
from cnnc.ops.conv import Conv
from cnnc.ops.spec import Operator


def numbered(shapes: Sequence[tuple[int, ...]]) -> list[NDArray[np.float32]]:
    """An operand of each shape, all elements different but for some that are no numbers."""
    made = []
    for number, shape in enumerate(shapes):
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 10000 * number
        x.reshape(-1)[:: 5 + number] = [np.nan, -0.0, np.inf, -np.inf][number % 4]
        made.append(x)
    return made


def behind_blocks(op: Operator, xs: Sequence[NDArray[np.float32]]) -> Graph:
    """The operator behind depthwise convolutions that change nothing, which lie in blocks."""
    inputs, starts = [], []
    for number, x in enumerate(xs):
        kind = TensorType.plain(x.shape)
        inputs.append(Node(Input(f"x{number}"), (), kind, f"x{number}"))
        ones = np.ones((kind.channels, 1, *[1] * (kind.rank - 2)), np.float32)
        weight = Node(Constant(ones), (), TensorType.plain(ones.shape), f"first{number}.weight")
        first = Conv(kind.channels, (1,), groups=kind.channels, bias=False)
        out = first.infer(kind, weight.type)
        starts.append(Node(first, (inputs[-1], weight), out, f"first{number}"))
    made = op.infer(*(start.type for start in starts))
    return Graph("behind", tuple(inputs), {"y": Node(op, tuple(starts), made, "layer")})


def assert_whole_vectors(kernel: Kernel, lanes: int) -> None:
    """All that is stored, and loaded but for single elements for all lanes, are such neighbours."""
    flat = flatten_kernel(kernel)
    loads = [e for root in expressions(flat.body) for e in parts(root) if isinstance(e, Load)]
    stores = [stmt for stmt in walk(flat.body) if isinstance(stmt, Store)]
    assert all(isinstance(store.index[0], Ramp) for store in stores)
    found = [index for each in (*loads, *stores) for index in each.index]
    ramps = [(index.lanes, index.stride) for index in found if isinstance(index, Ramp)]
    assert set(ramps) == {(lanes, 1)}
