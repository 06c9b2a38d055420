"""Elementary functions behind a tile of sums stand in a loop, on every target."""

import pytest

import cnnc
from cnnc import driver
from cnnc.base.source import SourceFile
from cnnc.frontend.load import load_text
from cnnc.ir.graph import Graph
from cnnc.loop.expr import Call
from cnnc.loop.functions import ELEMENTARY
from cnnc.loop.kernel import For, Kernel, Kind, expressions, walk
from cnnc.loop.rewrite import parts
from cnnc.loop.verify import verify_kernel
from cnnc.ops.concat import Concat
from cnnc.ops.fused import Fused
from cnnc.passes.fuse import MOST_REPEATED, fuse


def net(body: str) -> Graph:
    """A net of an image of 16 channels."""
    text = (
        f"cnn 1\nnet n {{\n  input x: f32[1, 16, 12, 12]\n  output y = {body}\n  weights he\n}}\n"
    )
    return load_text(SourceFile("n.cnn", text), None).graph


def kernel_of(body: str, target: str) -> Kernel:
    """The only layer's loops that compute."""
    graph = net(f"x -> {body}")
    layers = driver.plan(graph, driver.find_target(target), exact=False)[0].layers
    (kernel,) = (layer.kernel for layer in layers if layer.kernel.origin.macs)
    return kernel


def kinds_around(kernel: Kernel) -> set[Kind]:
    """Of all loops that stand around an elementary function."""
    return {
        stmt.kind
        for stmt in walk(kernel.body)
        if isinstance(stmt, For)
        for root in expressions(stmt.body)
        for part in parts(root)
        if isinstance(part, Call) and part.function in ELEMENTARY
    }


@pytest.mark.parametrize("target", ["x86-64-v4", "x86-64-v3", "aarch64", "cortex-m4"])
def test_an_elementary_function_is_not_written_out_for_each_sum(target: str) -> None:
    assert Kind.UNROLLED not in kinds_around(kernel_of("conv(32, 3) -> tanh", target))


def test_vectors_stay_vectors_behind_a_tile() -> None:
    kinds = kinds_around(kernel_of("conv(32, 3) -> tanh", "x86-64-v4"))
    assert {Kind.VECTOR, Kind.SERIAL} <= kinds


def test_short_tails_are_written_out_where_memory_for_code_is_large() -> None:
    """A clamp is shorter than laying sums aside."""
    kernel = kernel_of("conv(32, 3) -> relu", "x86-64-v4")
    names = {stmt.buffer.name for stmt in walk(kernel.body) if hasattr(stmt, "buffer")}
    assert not any(name.endswith(".sums") for name in names)


@pytest.mark.parametrize("operands", [2, MOST_REPEATED, MOST_REPEATED + 1])
def test_a_concat_of_many_takes_no_tail(operands: int) -> None:
    branches = " | ".join("conv(4, 3)" for _ in range(operands))
    graph = fuse(net(f"x -> concat {{ {branches} }} -> tanh"))
    roots = [node.op.root for node in graph.nodes if isinstance(node.op, Fused)]
    assert any(isinstance(root, Concat) for root in roots) == (operands <= MOST_REPEATED)


@pytest.mark.parametrize("target", ["x86-64-v4", "x86-64-v3", "x86-64"])
@pytest.mark.parametrize("shape", ["1, 16, 16", "1, 17, 65", "1, 1000"])
@pytest.mark.parametrize("body", ["softmax", "log_softmax"])
def test_nests_side_by_side_lay_aside_sums_of_the_same_name(
    body: str, shape: str, target: str
) -> None:
    """Of a single channel, where the tail of a row is a nest beside that of whole vectors."""
    text = f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n  output y = x -> {body}\n}}\n"
    for layer in cnnc.load_text(text).compile(target, backend="interp").lowered.layers:
        verify_kernel(layer.kernel)
