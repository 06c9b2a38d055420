"""Loops for machines without vectors, and for those with little memory for code."""

from pathlib import Path

import pytest

import cnnc
from cnnc import driver
from cnnc.backends.native.compile import Form, compile_module, kernel_source
from cnnc.base.source import SourceFile
from cnnc.base.target import Target
from cnnc.base.tiles import SMALL_TILE, Work, tiles
from cnnc.frontend.load import load_text
from cnnc.ir.graph import Graph
from cnnc.loop.expr import Ramp
from cnnc.loop.kernel import For, Kernel, Kind, expressions, walk
from cnnc.loop.rewrite import parts
from cnnc.lowering.lowered import Lowered
from cnnc.ops.concat import Concat
from cnnc.ops.fused import Fused
from cnnc.passes.fuse import fuse
from tests.backends.support import lowered, single
from tests.ops.cases import CASES

ROOT = Path(__file__).resolve().parents[2]
M4, RISCV = driver.find_target("cortex-m4"), driver.find_target("riscv64")


def loops(kernel: Kernel) -> list[For]:
    """All loops of a kernel."""
    return [stmt for stmt in walk(kernel.body) if isinstance(stmt, For)]


def net(body: str) -> Graph:
    """A net of an image of 8 channels."""
    text = f"cnn 1\nnet n {{\n  input x: f32[N, 8, 12, 12]\n  output y = {body}\n  weights he\n}}\n"
    return load_text(SourceFile("n.cnn", text), None).graph


def planned(graph: Graph, target: Target) -> Lowered:
    """The net as a program."""
    return driver.plan(graph, target, exact=False)[0]


@pytest.mark.parametrize("target", [M4, RISCV], ids=["cortex-m4", "riscv64"])
def test_no_kernel_has_vectors(target: Target) -> None:
    """Of any operator."""
    for case in CASES:
        split = len(case.operands) - len(case.parameters)
        graph = single(case.op, case.operands[:split], case.operands[split:])
        for kernel in lowered(graph, target).program.kernels:
            assert all(loop.kind is not Kind.VECTOR for loop in loops(kernel)), str(case)
            found = (part for root in expressions(kernel.body) for part in parts(root))
            assert not any(isinstance(part, Ramp) for part in found), str(case)


def test_convolutions_compute_tiles_of_channels_and_positions() -> None:
    (layer,) = planned(net("x -> conv(16, 3)"), RISCV).layers
    assert layer.kernel.origin.algorithm.startswith("row-major, tile")
    written = [loop.extent for loop in loops(layer.kernel) if loop.kind is Kind.UNROLLED]
    assert max(written) > 1
    weight = layer.kernel.params[1].layout
    assert weight.block(0) > 1


def test_a_single_thread_shares_nothing() -> None:
    """Code for microcontrollers."""
    lowered = planned(net("x -> conv(16, 3, pad = same) -> relu -> pool(max, 2)"), M4)
    for kernel in lowered.program.kernels:
        assert all(loop.kind is not Kind.PARALLEL for loop in loops(kernel))
    assert not lowered.program.is_shared
    other = planned(net("x -> conv(16, 3, pad = same)"), RISCV).program
    assert any(loop.kind is Kind.PARALLEL for kernel in other.kernels for loop in loops(kernel))


def test_tiles_cut_evenly_where_memory_for_code_is_small() -> None:
    work = Work(16, (13, 14), 72, per_channel=False)
    small = list(tiles(work, M4))
    assert all(14 % tile.columns == 0 and tile.vectors <= SMALL_TILE for tile in small)
    assert any(14 % tile.columns for tile in tiles(work, RISCV))


@pytest.mark.parametrize(("target", "fused"), [(M4, False), (RISCV, True)])
def test_a_concat_takes_no_tail_where_each_operand_would_repeat_it(
    target: Target, fused: bool
) -> None:
    graph = fuse(net("x -> concat { conv(4, 3) | conv(4, 3) } -> tanh"), target)
    roots = [node.op.root for node in graph.nodes if isinstance(node.op, Fused)]
    assert any(isinstance(root, Concat) for root in roots) == fused


@pytest.mark.parametrize("name", ["lenet5", "ds_cnn"])
@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m3", "cortex-m0", "riscv32"])
def test_code_for_microcontrollers_is_small(name: str, target: str) -> None:
    """Less than 8 KiB, and no more memory than is alive at once."""
    import llvmlite.binding as llvm

    machine = driver.find_target(target)
    graph = cnnc.load(ROOT / f"examples/zoo/{name}.cnn").graph
    program = planned(graph, machine).program
    total = 0
    for kernel in program.kernels:
        code = compile_module(kernel_source(kernel, machine), machine, Form.OBJECT)
        sections = llvm.ObjectFileRef.from_data(code).sections()
        total += sum(
            each.size()
            for each in sections
            if (each.name() or b"").startswith((b".text", b".rodata"))
        )
    assert 1000 < total < 7 * 1024
    assert program.arena_bytes <= 1.1 * program.arena_bound
