"""Nests side by side: taken apart, cut to equal extents, and joined."""

import pytest

from cnnc.base.dtype import DType
from cnnc.loop.expr import Const
from cnnc.loop.kernel import For, Kernel, Kind, Store, register
from cnnc.loop.parse import parse_kernel
from cnnc.loop.text import print_kernel
from cnnc.loop.verify import verify_kernel
from cnnc.lowering.loops import peel
from cnnc.lowering.nests import fission, join
from tests.lowering.test_loops import Change

MATRICES = "in x: f32[4, 6]\nout y: f32[4, 6]"
COPY = "for i in 4 { for j in 6 { y[i, j] = x[i, j] } }"
PARTS = """for j in 4 { for i in 4 { y[i, j] = 0.0 } }
for j in 2 { for i in 4 { y[i, j + 4] = 1.0 } }"""
PEELED = """for j in 2 { for i in 4 { y[i, j] = 0.0 } }
for j in 2 { for i in 4 { y[i, j + 2] = 0.0 } }
for j in 2 { for i in 4 { y[i, j + 4] = 1.0 } }"""
NESTS = """for i in 4 { for j in 2 { for k in 2 { y[i, j * 2 + k] = 0.0 } } }
for i in 4 { for j in 1 { y[i, j + 4] = 1.0 } }
for i in 4 { for j in 1 { for k in 1 { y[i, j + k + 5] = x[i, j] } } }"""
JOINED = """for i in 4 { for j in 2 { for k in 2 { y[i, j * 2 + k] = 0.0 } } }
for i in 4 { for j in 1 {
    y[i, j + 4] = 1.0
    for k in 1 { y[i, j + k + 5] = x[i, j] } } }"""
CASES: dict[str, tuple[str, Change, str]] = {
    "peel": (PARTS, lambda k: peel(k, "j"), PEELED),
    "peel leaves equal loops": (PEELED, lambda k: peel(k, "j"), PEELED),
    "join": (NESTS, lambda k: join(k, ["i", "j"]), JOINED),
    "join what was taken apart": (JOINED, lambda k: join(fission(k), ["i", "j"]), JOINED),
    "join nothing": (NESTS, lambda k: join(k, []), NESTS),
    "join leaves other loops": (COPY, lambda k: join(k, ["j"]), COPY),
}


def made(body: str) -> Kernel:
    """A kernel from its statements."""
    return parse_kernel(f"kernel k {{\n{MATRICES}\n{body}\n}}")


@pytest.mark.parametrize("name", CASES)
def test_before_and_after(name: str) -> None:
    before, change, after = CASES[name]
    changed = change(made(before))
    verify_kernel(changed)
    assert print_kernel(changed) == print_kernel(made(after))


def test_a_loop_around_the_same_statements_is_itself() -> None:
    store = Store(register("a", (1,), DType.F32), (Const(0),), Const(1.0, DType.F32))
    loop = For("i", 4, (store, store), Kind.PARALLEL, turned=True)
    assert loop.with_body((store, store)) is loop
    other = loop.with_body((store,))
    assert (other.body, other.kind, other.turned) == ((store,), Kind.PARALLEL, True)
