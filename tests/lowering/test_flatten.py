"""Offsets agree with how layouts pack arrays."""

from itertools import product
from math import prod

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cnnc.backends.interp.evaluate import run_kernel
from cnnc.backends.interp.memory import axis_table
from cnnc.base.dtype import DType
from cnnc.base.layout import Layout, Shape
from cnnc.loop.expr import Buffer, Const, Load, Var
from cnnc.loop.interval import bounds
from cnnc.loop.kernel import For, Kernel, Stmt, Store, register
from cnnc.lowering.flatten import flat_buffer, flatten, offset


@st.composite
def shapes_and_layouts(draw: st.DrawFn) -> tuple[Shape, Layout]:
    """Up to four axes in any order, some blocked once or twice, some with a halo."""
    rank = draw(st.integers(1, 4))
    shape = tuple(draw(st.integers(1, 6)) for _ in range(rank))
    order = tuple(draw(st.permutations(range(rank))))
    blocks = st.tuples(st.integers(0, rank - 1), st.sampled_from([2, 3, 4]))
    halo = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(rank))
    layout = Layout(order, tuple(draw(st.lists(blocks, max_size=3))))
    return shape, layout.with_halo(halo if draw(st.booleans()) else ((0, 0),) * rank)


@given(shapes_and_layouts())
def test_offset_finds_what_pack_put_there(drawn: tuple[Shape, Layout]) -> None:
    shape, layout = drawn
    array = np.arange(1, prod(shape) + 1).reshape(shape)
    memory = layout.pack(array).ravel()
    buffer = Buffer("x", shape, DType.I64, layout)
    assert memory.size == buffer.size == flat_buffer(buffer).size
    for index in product(*map(range, shape)):
        place, _ = bounds(offset(buffer, tuple(Const(part) for part in index)), {})
        assert memory[place] == array[index]


@given(shapes_and_layouts())
def test_halo_and_padding_have_offsets_of_their_own(drawn: tuple[Shape, Layout]) -> None:
    shape, layout = drawn
    buffer = Buffer("x", shape, DType.I64, layout)
    reach = []
    for axis in range(len(shape)):
        low, _ = layout.halo_of(axis)
        reach.append(range(-low, layout.extent(shape, axis) - low))
    places = [
        bounds(offset(buffer, tuple(Const(part) for part in index)), {})[0]
        for index in product(*reach)
    ]
    assert sorted(places) == list(range(buffer.size))


@given(shapes_and_layouts())
def test_the_interpreter_finds_the_same_places(drawn: tuple[Shape, Layout]) -> None:
    shape, layout = drawn
    buffer = Buffer("x", shape, DType.I64, layout)
    tables = [axis_table(buffer, axis) for axis in range(len(shape))]
    for index in product(*map(range, shape)):
        place, _ = bounds(offset(buffer, tuple(Const(part) for part in index)), {})
        starts = [layout.halo_of(axis)[0] for axis in range(len(shape))]
        found = sum(t[i + s] for t, i, s in zip(tables, index, starts, strict=True))
        assert found == place


@given(shapes_and_layouts(), st.data())
def test_flat_copy_between_layouts(drawn: tuple[Shape, Layout], data: st.DataObject) -> None:
    shape, read = drawn
    blocks = st.tuples(st.integers(0, len(shape) - 1), st.sampled_from([2, 4]))
    write = Layout(
        tuple(data.draw(st.permutations(range(len(shape))))),
        tuple(data.draw(st.lists(blocks, max_size=2))),
    )
    x, y = Buffer("x", shape, DType.F32, read), Buffer("y", shape, DType.F32, write)
    names = [f"i{axis}" for axis in range(len(shape))]
    index = tuple(map(Var, names))
    nest: Stmt = Store(y, index, Load(x, index))
    for name, extent in zip(names, shape, strict=True):
        nest = For(name, extent, (nest,))
    array = np.arange(prod(shape), dtype=np.float32).reshape(shape)
    memory = [read.pack(array).ravel(), np.zeros(y.size, np.float32)]
    run_kernel(flatten(Kernel("copy", (x, y), ("y",), (nest,))), memory)
    np.testing.assert_array_equal(write.unpack(memory[1], shape), array)


def test_registers_become_flat_too() -> None:
    acc = register("acc", (2, 3), DType.F32)
    y = Buffer("y", (6,), DType.F32, Layout.plain(1))
    body = For("i", 2, (For("j", 3, (Store(acc, (Var("i"), Var("j")), Const(0.0, DType.F32)),)),))
    kernel = flatten(Kernel("k", (y,), ("y",), (body,)))
    inner = kernel.body[0]
    assert isinstance(inner, For)
    store = inner.body[0].body[0]  # type: ignore[union-attr]
    assert isinstance(store, Store)
    assert store.buffer.shape == (6,)
    assert store.index == (Var("i") * 3 + Var("j"),)


def test_a_number_lies_at_the_start() -> None:
    buffer = Buffer("x", (), DType.F32, Layout.plain(0))
    assert offset(buffer, ()) == Const(0)
