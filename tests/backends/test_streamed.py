"""Layers computed band by band: results are those of the layers one by one, bit for bit."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import cnnc
from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.interp.evaluate import run_kernel
from cnnc.backends.native.targets import named_target, runs_here
from cnnc.compare.blame import definition
from cnnc.ir.graph import Array, Constant, Graph, Node
from cnnc.loop.text import print_kernel
from cnnc.loop.verify import verify_kernel
from cnnc.lowering.elementary import expand_elementary
from cnnc.lowering.lower import lower
from cnnc.memory import packed, unpacked
from cnnc.offers.streamed import joined
from cnnc.ops.streamed import Streamed, works_by_element
from cnnc.passes import stream_rows
from cnnc.passes.share_memory import share_memory
from cnnc.passes.stream_rows import join, lines
from tests.backends.compilers import BACKENDS, NATIVE, runnable
from tests.backends.streams import TARGET, outputs, plan, special, stream_all

NETS = [
    pytest.param(
        "conv(32, 3, pad = 1, groups = 32) -> relu -> conv(24, 1)", "32, 8, 9", id="dw-pw"
    ),
    pytest.param(
        "conv(33, 1) -> relu6 -> conv(33, 3, pad = 1, groups = 33) -> sigmoid -> conv(17, 1)",
        "16, 8, 7",
        id="pw-dw-pw",
    ),
    pytest.param(
        "conv(20, 1) -> conv(20, 5, stride = 2, pad = 2, groups = 20)", "9, 12, 11", id="strided"
    ),
    pytest.param(
        "conv(17, 5, stride = 2, pad = 2) -> relu -> pool(max, 3, stride = 2, pad = 1)",
        "3, 16, 10",
        id="stem",
    ),
    pytest.param("conv(16, 3, pad = same) -> pool(max, 2) -> tanh", "3, 12, 13", id="pool"),
    pytest.param(
        "pool(max, 3, stride = 1, pad = 1) -> conv(18, 3) -> elu", "17, 10, 9", id="pool-first"
    ),
    pytest.param(
        "conv(16, 3, pad = same_lower, dilation = 2) -> conv(18, [2, 3], pad = [[2, 1], [0, 3]])",
        "6, 9, 10",
        id="dilated",
    ),
    pytest.param(
        "conv(9, 3, pad = 1) -> conv(16, 3, pad = 1) -> conv(7, 3, pad = 1)",
        "5, 6, 5",
        id="windows",
    ),
    pytest.param("conv(24, 1, stride = 3) -> conv(32, 1, stride = 2)", "8, 36, 12", id="gaps"),
    pytest.param("conv(32, 3, pad = 1, groups = 2) -> conv(24, 1)", "32, 4, 5", id="groups"),
    pytest.param("conv(17, 1) -> conv(16, 3, pad = [6, 1])", "5, 4, 5", id="far-outside"),
    pytest.param(
        "pool(max, 3, stride = 2, pad = 1, ceil = true)"
        " -> pool(max, [5, 2], stride = 1, pad = [2, 0])",
        "16, 15, 15",
        id="pools",
    ),
]

SMALL = [
    pytest.param("conv(3, 3, pad = 1, groups = 3) -> relu -> conv(2, 1)", "3, 4, 5", id="dw-pw"),
    pytest.param(
        "conv(2, 1) -> conv(2, 3, pad = 1) -> pool(max, 3, stride = 2, pad = 1)",
        "2, 8, 6",
        id="pool",
    ),
    pytest.param("conv(2, 3, pad = [4, 1]) -> conv(1, 3, pad = 1)", "2, 6, 5", id="windows"),
    pytest.param("conv(2, 2, dilation = 2) -> conv(2, 1, stride = 2)", "1, 8, 5", id="dilated"),
]


def divisors(graph: Graph) -> list[int]:
    """Numbers of rows for which every line has whole bands: the smallest, a middle one, all."""
    heights = {line[-1].type.shape[2] for line in lines(graph, TARGET)}
    (height,) = heights
    found = [rows for rows in range(1, height + 1) if height % rows == 0]
    return sorted({found[0], found[len(found) // 2], found[-1]})


@pytest.mark.parametrize(("backend", "name"), BACKENDS)
@pytest.mark.parametrize(("body", "shape"), NETS)
def test_results_are_those_of_the_layers(
    body: str, shape: str, backend: Backend, name: str
) -> None:
    target = runnable(backend, name)
    batch = 1 if backend is INTERP else 2
    graph = plan(body, shape, target, batch)
    x = special(graph, batch)
    expected = outputs(share_memory(graph), x, backend, target)
    for rows in divisors(graph)[:batch]:
        made = stream_all(graph, rows)
        for threads in range(1, batch + 1):
            found = outputs(made, x, backend, target, threads)
            np.testing.assert_array_equal(found, expected, f"{rows} rows, {threads} threads")


@pytest.mark.parametrize(("body", "shape"), SMALL)
def test_loops_as_defined_give_the_reference(body: str, shape: str) -> None:
    """Those that `diff` holds against the compiled ones: row-major, columns tested."""
    graph = plan(body, shape, named_target("x86-64"))
    made = stream_all(graph, divisors(graph)[0])
    for node in (each for each in made.nodes if isinstance(each.op, Streamed)):
        kernel = definition(node)
        verify_kernel(kernel)
        operands = [_value(operand) for operand in node.inputs]
        exact = node.op.reference(*(each.astype(np.float64) for each in operands))
        buffers = [packed(*each) for each in zip(kernel.params, operands, strict=False)]
        out = kernel.params[-1]
        buffers.append(np.full(out.size, np.nan, np.float32))
        run_kernel(expand_elementary(kernel), buffers)
        errors = [np.zeros(each.shape) for each in operands]
        bound = node.op.error(
            2.0**-24, exact, [each.astype(np.float64) for each in operands], errors
        )
        assert np.all(np.abs(unpacked(out, buffers[-1]) - exact) <= bound)


def _value(node: Node) -> Array:
    if isinstance(node.op, Constant):
        return node.op.value
    return np.random.default_rng(7).standard_normal(node.type.shape).astype(np.float32)


def test_a_residual_is_read_where_it_is_added() -> None:
    """By the last stage and by one in between, for batches, and inside a concat."""
    target = named_target("x86-64-v3")
    body = """r = x -> conv(16, 1) -> relu
  a = r -> conv(32, 1) -> relu6 -> conv(32, 3, pad = 1, groups = 32)
  b = r + (a -> relu -> conv(16, 1))
  c = (b -> relu -> conv(16, 3, pad = 1)) * b
  output y = concat { c -> conv(16, 1) | b } -> conv(8, 1)"""
    graph = plan(body, "5, 4, 3", target, 2)
    x = special(graph, 1)
    expected = outputs(share_memory(graph), x, INTERP, target)
    for rows in (1, 2, 4):
        made = stream_all(graph, rows)
        assert any(len(n.op.stages) > 2 for n in made.nodes if isinstance(n.op, Streamed))
        np.testing.assert_array_equal(outputs(made, x, INTERP, target), expected)
        if runs_here(target):
            np.testing.assert_array_equal(outputs(made, x, NATIVE, target, 2), expected)


BY_ELEMENT = [
    pytest.param(
        """p = x -> conv(16, 1)
  output y = concat { p | p -> batchnorm -> relu -> conv(24, 1) -> relu -> conv(16, 3, pad = 1) }
    -> batchnorm -> relu -> conv(20, 1)""",
        "concat",
        id="dense-layer",
    ),
    pytest.param(
        """p = x -> conv(18, 1)
  g = p -> pool(avg, global) -> sigmoid
  output y = (p * g -> conv(16, 3, pad = 1)) + (x -> conv(16, 1))""",
        "mul",
        id="gate",
    ),
    pytest.param(
        """p = x -> conv(16, 1)
  r = x -> conv(32, 1) -> exp
  output y = (concat { p | r } + 1 -> conv(16, 3, stride = 2, pad = 1))
    + (p * (x -> conv(16, 1) -> exp) -> conv(16, 5, stride = 2, pad = 2))""",
        "concat",
        id="joined",
    ),
    pytest.param(
        """p = x -> conv(16, 1)
  m = x -> pool(max, 3, stride = 1, pad = 1) -> conv(1, 1)
  output y = concat {
    (m + p) * p -> conv(16, 3, pad = [[2, 0], 1])
  | p -> conv(3, 3, pad = [[2, 0], 1])
  }""",
        "fused[2: add; mul",
        id="broadcast",
    ),
]


@pytest.mark.parametrize(("backend", "name"), BACKENDS)
@pytest.mark.parametrize(("body", "kind"), BY_ELEMENT)
def test_element_wise_layers_are_stages(body: str, kind: str, backend: Backend, name: str) -> None:
    """With operands that have rows, channels only, or other channels of what is joined."""
    target = runnable(backend, name)
    has_gate = "global" in body  # of one sample only, and all of it would be a NaN
    graph = plan(body, "5, 6, 7", target, 1 if has_gate or backend is INTERP else 2)
    x = special(graph, 5)
    if has_gate:
        x = np.nan_to_num(x, posinf=2.0, neginf=-2.0)
    expected = outputs(share_memory(graph), x, backend, target)
    for rows in (1, 3):
        made = stream_all(graph, rows)
        streamed = [node.op for node in made.nodes if isinstance(node.op, Streamed)]
        labels = [stage.op.label for op in streamed for stage in op.stages]
        assert any(kind in label for label in labels)
        for threads in (1, 2):
            found = outputs(made, x, backend, target, threads)
            np.testing.assert_array_equal(found, expected, f"{rows} rows, {threads} threads")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("g * p -> conv(8, 1)", id="the-first-has-no-rows"),
        pytest.param("concat(axis = 2) { p | p } -> relu -> conv(8, 1)", id="rows-are-joined"),
        pytest.param("concat(axis = 3) { p | p } -> relu -> conv(8, 1)", id="columns-are-joined"),
    ],
)
def test_these_are_no_stages(body: str) -> None:
    text = f"p = x -> conv(16, 1)\n  g = p -> pool(avg, global)\n  output y = {body}"
    found = lines(plan(text, "5, 6, 7", TARGET), TARGET)
    assert not any(works_by_element(node.op) for line in found for node in line)


@pytest.mark.parametrize("first", ["pool(max, 3, stride = 1, pad = 1)", "conv(16, 1)"])
def test_zeros_around_what_others_read_are_no_elements(first: str) -> None:
    """A maximum of negative numbers, where a padded window has zeros put around them."""
    target = named_target("x86-64")
    body = f"""r = x -> conv(17, 1) -> relu
  a = -r - 1
  b = a -> conv(16, 3, pad = 1)
  output y = b + (a -> {first} -> conv(16, 1, pad = 0))"""
    graph = plan(body, "3, 6, 5", target)
    x = special(graph, 2)
    expected = outputs(share_memory(graph), x, INTERP, target)
    for rows in (1, 3):
        made = stream_all(graph, rows)
        np.testing.assert_array_equal(outputs(made, x, INTERP, target), expected)


def test_a_maximum_with_gaps_is_no_stage() -> None:
    """The nearest element is not under the window."""
    target = named_target("x86-64")
    body = "pool(max, 3, stride = 1, pad = 2, dilation = 2) -> conv(18, 1)"
    assert not lines(plan(body, "17, 8, 9", target), target)


def test_rows_that_are_not_there_are_not_computed_as_if_they_were() -> None:
    """The bias would stand in the padding of the second window."""
    target = named_target("x86-64")
    graph = plan("conv(16, 1) -> conv(16, 3, pad = 1, groups = 16)", "16, 6, 5", target)
    made = stream_all(graph, 2)
    (node,) = (each for each in made.nodes if isinstance(each.op, Streamed))
    (layer,) = (each for each in lower(made, target).layers if each.node.name == node.name)
    assert "select(0 <= band" in print_kernel(layer.kernel)


def test_bands_that_do_not_divide_the_rows_are_refused() -> None:
    graph = plan("conv(16, 1) -> conv(16, 1)", "16, 6, 5", named_target("x86-64"))
    (line,) = lines(graph, TARGET)
    types = [operand.type for operand in join(line, joined(line, 4)).inputs]
    with pytest.raises(ValueError, match="bands of 4 rows"):
        joined(line, 4).parts(*types)


@pytest.mark.parametrize(("strips", "runs"), [({}, 0), ({0: 1}, 0), ({}, 1), ({}, 3)])
def test_any_number_of_samples_of_a_range(
    strips: dict[int, int], runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One program: the loop over samples is the outermost one."""
    made = partial(joined, rows=2, strips=strips, runs=runs)
    monkeypatch.setattr(stream_rows, "stream", lambda nodes, target: (1.0, made(nodes)))
    text = """cnn 1
net n {
  input x: f32[N, 16, 6, 5]
  output y = x -> conv(16, 1) -> conv(16, 3, pad = 1, groups = 16) -> relu -> conv(8, 1)
  weights he(seed = 3)
}
"""
    model = cnnc.load_text(text, batch="1..4")
    net, *others = (model.compile(threads=threads) for threads in (1, 2, 3))
    ops = [layer.node.op for layer in net.lowered.layers if isinstance(layer.node.op, Streamed)]
    assert (ops[0].stages[0].strip, ops[0].runs) == (strips.get(0, 0), runs)
    reference = model.compile(backend="reference")
    assert cnnc.diff(net).ok
    for samples in (1, 3, 4):
        x = np.random.default_rng(samples).standard_normal((samples, 16, 6, 5), np.float32)
        found = net(x)["y"]
        np.testing.assert_allclose(found, reference(x)["y"], rtol=1e-4, atol=1e-5)
        for other in others:
            np.testing.assert_array_equal(other(x)["y"], found)


def test_scratch_memory_holds_one_band() -> None:
    target = replace(named_target("x86-64-v3"), l2_bytes=1 << 16)
    graph = plan("conv(16, 1) -> conv(16, 1)", "16, 64, 8", target)
    program = lower(stream_all(graph, 4), target).program
    whole = lower(share_memory(graph), target).program
    assert program.scratch_bytes < whole.arena_bytes / 4
    assert program.arena_bytes <= whole.arena_bytes
