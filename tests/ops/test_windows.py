"""Windows against counting by hand: positions, padding rules, taps inside."""

from itertools import product

import numpy as np
import pytest

from cnnc.base.dtype import DType
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum, Norm, Weighted
from cnnc.ops.window import Window, resolve_window
from tests.ops.evaluate_loops import run_loops

SMALL = [
    (length, k, stride, dilation, ends)
    for length, k, stride, dilation in product((1, 2, 5, 6), (1, 2, 3), (1, 2, 4), (1, 2))
    for ends in product(range(3), range(3))
]


def series(length: int) -> TensorType:
    """A series with one channel."""
    return TensorType.plain((1, 1, length))


def resolve(length: int, k: int, stride: int, pad: Padding, dilation: int, ceil: bool) -> Window:
    """The window on a series."""
    return resolve_window(series(length), (k,), (stride,), pad, (dilation,), ceil=ceil)


def starts_by_hand(
    length: int, k: int, stride: int, dilation: int, ends: tuple[int, int], ceil: bool
) -> list[int]:
    """Where windows start: those that end inside the padding; with `ceil`, one that reaches beyond
    it by less than a step, but none that starts behind the input.
    """
    before, after = ends
    limit = length + after + (stride - 1 if ceil else 0)
    starts, start = [], -before
    while start + (k - 1) * dilation < limit and (start < length or not ceil):
        starts.append(start)
        start += stride
    return starts


@pytest.mark.parametrize("ceil", [False, True], ids=["floor", "ceil"])
def test_positions_and_taps(ceil: bool) -> None:
    for length, k, stride, dilation, ends in SMALL:
        starts, pad = (
            starts_by_hand(length, k, stride, dilation, ends, ceil),
            Padding(explicit=(ends,)),
        )
        if not starts:
            with pytest.raises(OpError, match="does not fit"):
                resolve(length, k, stride, pad, dilation, ceil)
            continue
        window = resolve(length, k, stride, pad, dilation, ceil)
        assert window.out == (len(starts),), (length, k, stride, dilation, ends)
        for padded in (False, True):
            low, high = (-ends[0], length + ends[1]) if padded else (0, length)
            first, last = window.taps_inside(0, length, padded=padded)
            for position, start in enumerate(starts):
                inside = [t for t in range(k) if low <= start + t * dilation < high]
                assert inside == list(range(first[position], last[position]))


@pytest.mark.parametrize("rule", ["same", "same_lower"])
def test_same_keeps_the_number_of_steps(rule: str) -> None:
    for length, k, stride, dilation in product((1, 2, 5, 6, 7), (1, 2, 3, 4), (1, 2, 3), (1, 2)):
        window = resolve(length, k, stride, Padding(rule), dilation, False)
        before, after = window.pads[0]
        assert window.out == (-(-length // stride),)
        assert (after - before if rule == "same" else before - after) in (0, 1)
        needed = (window.out[0] - 1) * stride + (k - 1) * dilation + 1
        assert before + after == max(0, needed - length)


def test_causal_sees_no_later_element() -> None:
    window = resolve(9, 3, 1, Padding("causal"), 2, False)
    assert (window.pads, window.out) == (((4, 0),), (9,))


@pytest.mark.parametrize("ceil", [False, True], ids=["floor", "ceil"])
@pytest.mark.parametrize("count_pad", [False, True], ids=["", "count_pad"])
def test_loops_divide_as_the_reference(ceil: bool, count_pad: bool) -> None:
    rng = np.random.default_rng(1)
    weights = (1.0, 2.0, 4.0)
    compared = 0
    for length, k, stride, dilation, ends in SMALL[::5]:
        pad = Padding(explicit=(ends,))
        window = ((k,), (stride,), pad, (dilation,), ceil, count_pad)
        x = rng.normal(size=(1, 1, length))
        for op in (Pool(Average(), *window), Pool(Weighted(), *window, weights=weights[:k])):
            try:
                tables = [spec.value.astype(float) for spec in op.parameters(series(length))]
            except OpError:
                continue
            expected = op.reference(x, *tables)
            np.testing.assert_allclose(run_loops(op, [x, *tables]), expected, rtol=1e-12)
            compared += 1
    assert compared > 100


def test_windows_that_stay_inside_are_not_tested() -> None:
    """Loops over a halo, or without padding, hold no guard."""
    for op in (Conv(2, (3,), pad=Padding("same"), bias=False), Pool(Norm(2.0), (3,), (1,))):
        x = TensorType.plain((1, 2, 9))
        specs = op.parameters(x)
        operands = [x, *(spec.type for spec in specs)]
        out = op.infer(*operands)
        build = KernelBuilder(Buffer("out", out.shape, DType.F32, out.layout))
        halo = x.layout.with_halo(op.halo(x))
        op.define(
            build,
            *(
                Buffer(f"x{n}", each.shape, each.dtype, halo if n == 0 else each.layout)
                for n, each in enumerate(operands)
            ),
        )
        assert "Select" not in repr(build.body)
        assert "Binary(op='min'" not in repr(build.body)


def test_a_window_of_padding_only_is_refused() -> None:
    op = Pool(Maximum(), (2,), (1,), Padding(explicit=((2, 0),)))
    with pytest.raises(OpError) as caught:
        op.infer(series(4))
    assert caught.value.at == "pad"
    assert caught.value.note == (
        "spatial axis 0: 4 between 2 and 0 of padding; the window at -2 to -1 has no tap "
        "from 0 to 3"
    )


def test_a_window_that_does_not_fit_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(OpError) as caught:
        Pool(Maximum(), (5,), pad=Padding(explicit=((1, 0),))).infer(series(3))
    assert caught.value.at == "size"
    assert caught.value.note == "spatial axis 0: 3 + 1 + 0 of padding = 4, the window covers 5"
    with pytest.raises(OpError) as caught:
        Conv(1, (5,)).infer(series(3))
    assert caught.value.at == "kernel"


def test_windows_need_spatial_axes() -> None:
    with pytest.raises(OpError) as caught:
        Pool(Maximum(), ()).infer(TensorType.plain((2, 3)))
    assert caught.value.at == 0
