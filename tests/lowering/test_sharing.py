"""Which steps threads share, and where they wait for each other."""

from dataclasses import replace

import pytest

from cnnc import driver
from cnnc.base.dtype import DType
from cnnc.base.layout import Layout
from cnnc.base.source import SourceFile
from cnnc.driver import find_target
from cnnc.frontend.load import load_text
from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import Kernel, Origin, Place, Program, Region
from cnnc.lowering.sharing import (
    LONG_NET,
    SHORTEST_NET,
    SHORTEST_STEP,
    SHORTEST_STEP_OF_SHORT,
    is_short,
    place_barriers,
    share_steps,
)

TARGET = find_target("x86-64-v4")


def kernel(macs: int = 0, elements: int = 16) -> Kernel:
    """x and w to y."""
    params = (*(Buffer(name, (elements,), DType.F32, Layout.plain(1)) for name in ("x", "y")),)
    return Kernel("k", params, ("y",), (), Origin("k", "k", macs=macs))


def at(*offsets: int) -> tuple[Place, ...]:
    """Places in the arena."""
    return tuple(Place(Region.ARENA, offset) for offset in offsets)


def program(body: str, shape: str) -> Program:
    """A net as a program."""
    text = f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n  output y = {body}\n  weights he\n}}\n"
    graph = load_text(SourceFile("n.cnn", text), None).graph
    return driver.lower_graph(driver.optimise(graph, driver.pipeline(TARGET)), TARGET).program


def test_a_small_net_runs_on_one_thread() -> None:
    small = kernel(macs=16 * (SHORTEST_NET - 1))
    assert share_steps([small], TARGET) == [False]
    assert share_steps([small] * 2, TARGET) == [True] * 2


def test_a_short_net_wakes_nobody() -> None:
    half = kernel(macs=16 * LONG_NET - 100)
    assert is_short([half], TARGET)
    assert not is_short([half, half], TARGET)
    assert program("x -> conv(32, 3)", "32, 16, 16").is_short
    assert not program("x -> conv(64, 3)", "64, 64, 64").is_short


def test_short_steps_of_a_large_net_run_alone() -> None:
    long, short = kernel(macs=64 * LONG_NET), kernel(macs=16 * SHORTEST_STEP)
    assert share_steps([long, short, long, kernel()], TARGET) == [True, False, True, False]


def test_short_steps_of_a_short_net_are_shared() -> None:
    """Where that is slower, the net runs alone as a whole."""
    long, short = kernel(macs=32 * SHORTEST_NET), kernel(macs=64 * SHORTEST_STEP_OF_SHORT)
    assert share_steps([long, short, kernel()], TARGET) == [True, True, False]


def test_what_moves_much_is_long_without_arithmetic() -> None:
    assert share_steps([kernel(elements=SHORTEST_NET * 4)], TARGET) == [True]


@pytest.mark.parametrize(
    ("second", "waits"),
    [
        ((64, 128), True),  # reads what is written
        ((192, 0), True),  # writes what is read
        ((192, 64), True),  # writes what is written
        ((96, 192), True),  # reads a part of it
        ((0, 192), False),  # reads the same
        ((192, 256), False),
        ((128, 192), False),  # behind it
    ],
)
def test_threads_wait_where_memory_meets(second: tuple[int, int], waits: bool) -> None:
    kernels, places = [kernel()] * 2, [at(0, 64), at(*second)]
    assert place_barriers(kernels, places, [True, True]) == [False, waits]
    assert place_barriers(kernels, places, [True, False]) == [False, waits]
    assert place_barriers(kernels, places, [False, True]) == [False, waits]
    assert place_barriers(kernels, places, [False, False]) == [False, False]


def test_a_barrier_settles_all_that_was_before() -> None:
    places = [at(0, 64), at(64, 128), at(0, 192), at(128, 256)]
    assert place_barriers([kernel()] * 4, places, [True] * 4) == [False, True, False, True]


def test_steps_alone_are_still_waited_for_later() -> None:
    places = [at(0, 64), at(64, 128), at(0, 192), at(64, 256)]
    shared = [False, False, True, True]
    assert place_barriers([kernel()] * 4, places, shared) == [False, False, False, True]


def test_inputs_and_outputs_are_told_apart() -> None:
    first = (Place(Region.INPUT, index=0), Place(Region.OUTPUT, index=0))
    other = (Place(Region.INPUT, index=1), Place(Region.OUTPUT, index=1))
    same = (Place(Region.OUTPUT, index=0), Place(Region.OUTPUT, index=1))
    assert place_barriers([kernel()] * 2, [first, other], [True] * 2) == [False, False]
    assert place_barriers([kernel()] * 2, [first, same], [True] * 2) == [False, True]


def test_a_chain_waits_between_its_layers() -> None:
    made = program("x -> conv(64, 3) -> conv(64, 3) -> conv(64, 3)", "64, 64, 64")
    long = [step for step in made.steps if step.shared]
    assert made.is_shared
    assert not made.steps[0].barrier
    assert all(step.barrier for step in long[1:])


def test_branches_do_not_wait_for_each_other() -> None:
    made = program("x -> concat { conv(64, 3) | conv(64, 2, dilation = 2) }", "64, 64, 64")
    branches = [step for step in made.steps if "conv" in step.layer and step.shared][-2:]
    assert len(branches) == 2
    assert not branches[1].barrier


def test_a_net_without_shared_steps_is_not_shared() -> None:
    made = program("x -> conv(8, 3)", "4, 8, 8")
    assert not made.is_shared
    assert replace(made, steps=(replace(made.steps[0], shared=True),)).is_shared
