"""Tensors that are channels of larger ones: where their elements lie."""

from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnc.backends.interp.evaluate import run_kernel
from cnnc.backends.interp.memory import axis_table
from cnnc.base.dtype import DType
from cnnc.base.layout import Layout, Shape
from cnnc.loop.expr import Buffer, Const, Load, Var
from cnnc.loop.interval import bounds
from cnnc.loop.kernel import For, Kernel, Stmt, Store
from cnnc.loop.parse import parse_kernel
from cnnc.loop.text import print_kernel
from cnnc.lowering.flatten import flatten, offset


@dataclass(frozen=True)
class Part:
    """Channels of a larger tensor from `first` on."""

    whole: Shape
    layout: Layout
    first: int
    channels: int

    @property
    def shape(self) -> Shape:
        """Its own shape."""
        return (self.whole[0], self.channels, *self.whole[2:])

    @property
    def within(self) -> Layout:
        """Its layout."""
        return Layout(self.layout.order, self.layout.blocks, self.layout.halo, self.whole[1])


@st.composite
def parts(draw: st.DrawFn) -> Part:
    """Whole blocks of channels; the last one may be filled up."""
    block = draw(st.sampled_from([1, 2, 4]))
    blocks, rest = draw(st.integers(1, 4)), draw(st.integers(0, block - 1))
    first = draw(st.integers(0, blocks - 1))
    last = draw(st.integers(first + 1, blocks))
    whole = blocks * block - rest
    channels = min(last * block, whole) - first * block
    positions = tuple(draw(st.lists(st.integers(1, 4), max_size=2)))
    ends = st.tuples(st.integers(0, 2), st.integers(0, 2))
    halo = ((0, 0), (0, 0), *(draw(ends) for _ in positions))
    layout = Layout.blocked(2 + len(positions), 1, block).with_halo(halo)
    return Part((draw(st.integers(1, 3)), whole, *positions), layout, first * block, channels)


@given(parts())
def test_a_part_is_found_in_the_whole(part: Part) -> None:
    array = np.arange(1, prod(part.whole) + 1).reshape(part.whole)
    memory = part.layout.pack(array).ravel()
    start = part.layout.start(part.whole, part.first)
    end = start + part.within.size(part.shape)
    assert end <= memory.size
    mine = array[:, part.first : part.first + part.channels]
    np.testing.assert_array_equal(part.within.unpack(memory[start:end], part.shape), mine)
    alone = part.within.pack(mine)
    assert alone.shape == (part.within.size(part.shape),)
    np.testing.assert_array_equal(part.within.unpack(alone, part.shape), mine)


@given(parts())
def test_offsets_interpreter_and_packing_agree(part: Part) -> None:
    buffer = Buffer("x", part.shape, DType.I64, part.within)
    array = np.arange(1, prod(part.shape) + 1).reshape(part.shape)
    memory = part.within.pack(array)
    tables = [axis_table(buffer, axis) for axis in range(len(part.shape))]
    for index in np.ndindex(part.shape):
        place, _ = bounds(offset(buffer, tuple(Const(at) for at in index)), {})
        starts = [part.within.halo_of(axis)[0] for axis in range(len(index))]
        assert sum(t[i + s] for t, i, s in zip(tables, index, starts, strict=True)) == place
        assert memory[place] == array[index]


@given(parts())
def test_writing_a_part_leaves_the_others_alone(part: Part) -> None:
    x = Buffer("x", part.shape, DType.F32, Layout.plain(len(part.shape)))
    y = Buffer("y", part.shape, DType.F32, part.within)
    names = [f"i{axis}" for axis in range(len(part.shape))]
    index = tuple(map(Var, names))
    nest: Stmt = Store(y, index, Load(x, index))
    for name, extent in zip(names, part.shape, strict=True):
        nest = For(name, extent, (nest,))
    kernel = Kernel("copy", (x, y), ("y",), (nest,))
    assert parse_kernel(print_kernel(kernel)) == kernel
    whole = part.layout.pack(np.full(part.whole, 7, np.float32)).ravel()
    start = part.layout.start(part.whole, part.first)
    values = np.arange(prod(part.shape), dtype=np.float32)
    run_kernel(flatten(kernel), [values, whole[start : start + y.size]])
    found = part.layout.unpack(whole, part.whole)
    mine = slice(part.first, part.first + part.channels)
    np.testing.assert_array_equal(found[:, mine], values.reshape(part.shape))
    assert (np.delete(found, mine, axis=1) == 7).all()


def test_a_layout_says_what_it_is_part_of() -> None:
    layout = Layout.parse("aBcd4b+c1:1/24")
    assert layout == Layout((0, 1, 2, 3), ((1, 4),), ((0, 0), (0, 0), (1, 1), (0, 0)), 24)
    assert str(layout) == "aBcd4b+c1:1/24"
    assert layout.alone == Layout.parse("aBcd4b+c1:1")
    with pytest.raises(ValueError, match="canonical form"):
        Layout.parse("ab/024")
