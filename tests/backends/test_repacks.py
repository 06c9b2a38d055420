"""Copies from one layout into another."""

from itertools import product

import numpy as np
import pytest

from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.base.layout import Layout
from cnnc.driver import find_target
from cnnc.ir.graph import Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.loop.kernel import For, Kernel, walk
from cnnc.lowering.lower import lower
from cnnc.lowering.lowered import Lowered
from cnnc.ops.repack import Repack
from tests.backends.compilers import NATIVE

LAYOUTS = ("abcd", "abcd+c1:1+d2:0", "aBcd4b", "aBcd8b+c0:1", "aBcd16b", "aBcd16b+c1:1+d1:1")
SHAPES = ((1, 16, 3, 20), (2, 24, 5, 7), (1, 44, 2, 1), (3, 5, 1, 16), (1, 1, 4, 4))


def there_and_back(shape: tuple[int, ...], *tags: str) -> Lowered:
    """An input copied into the layouts one after the other, and out of the last."""
    node = Node(Input("x"), (), TensorType.plain(shape), "x")
    inputs = (node,)
    for number, tag in enumerate((*tags, "abcd")):
        layout = Layout.parse(tag)
        node = Node(Repack(), (node,), node.type.with_layout(layout), f"r{number}")
    return lower(Graph("g", inputs, {"y": node}, batch=shape[0]), find_target("native"))


@pytest.mark.parametrize("backend", [INTERP, NATIVE], ids=["interp", "native"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_element_arrives(shape: tuple[int, ...], backend: Backend) -> None:
    """From each layout into each, alone and on two threads."""
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    for one, other in product(LAYOUTS, repeat=2):
        program = there_and_back(shape, one, other).program
        for threads in (1, 2):
            y = np.full(shape, 12345, np.float32)
            backend.compile(program, find_target("native"), threads).run([x], [y])
            np.testing.assert_array_equal(y, x, f"{one} into {other}")


def kernel_of(one: str, other: str) -> Kernel:
    """The loops of one copy."""
    _, layer, _ = there_and_back((1, 32, 8, 32), one, other).layers
    return layer.kernel


def order(kernel: Kernel) -> list[str]:
    """The loops' variables, outermost first."""
    return [stmt.var for stmt in walk(kernel.body) if isinstance(stmt, For)]


def test_blocks_are_read_once() -> None:
    """All channels of a block are written while its lines are in the nearest cache."""
    assert order(kernel_of("aBcd16b", "abcd"))[-2:] == ["oc.1", "ow.1"]
    extents = [
        stmt.extent for stmt in walk(kernel_of("aBcd16b", "abcd").body) if isinstance(stmt, For)
    ]
    assert extents[-2] == 16


@pytest.mark.parametrize(("one", "other"), [("aBcd8b", "aBcd16b"), ("aBcd16b", "aBcd8b")])
def test_between_blocks_vectors_are_those_of_the_narrower(one: str, other: str) -> None:
    loops = [stmt for stmt in walk(kernel_of(one, other).body) if isinstance(stmt, For)]
    assert (loops[-1].var, loops[-1].extent) == ("oc.2", 8)
