"""Networks in plain loops: what the benchmark holds cnnc's own output against."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from peers.agreement import compare, read_arrays
from peers.machine import available_cores
from peers.main import zoo
from peers.prepare import draw_inputs
from peers.results import Row
from peers.rounds import Contest, Rules
from peers.task import Task
from peers.unsupported import UnsupportedError
from standalone.forms import plain_loops as plain_form
from standalone.forms import write_plain
from standalone.microcontroller import tensors_bound
from standalone.plain.source import plain_source
from standalone.prepare import as_exported, prepare
from standalone.process import FormProcess
from standalone.report import times
from standalone.stack import deepest

import cnnc
from cnnc.ir.graph import Graph
from cnnc.ops.batchnorm import BatchNorm

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="install gcc")
NETS = {
    "windows": """
        a = x -> conv(6, [3, 2], stride = 2, pad = same, groups = 2) -> batchnorm -> relu
        b = a -> pool(max, 3, stride = 2, pad = 1) -> conv(6, 3, pad = same, bias = false)
        output y = b -> pool(avg, 3, stride = 1, pad = 1) -> flatten -> dense(5) -> softmax
    """,
    "moves": """
        a, b = x -> split([1, 3])
        c = concat { a -> tanh | b -> relu6 } -> transpose([0, 2, 3, 1])
        output y = c -> reshape([12, 33])
        output z = add { x -> conv(4, 1) | x } -> pool(avg, global)
    """,
    "elements": """
        a = x * 0.5 -> hardswish
        output y = a + (x -> silu) -> leaky_relu
        output z = (x -> sigmoid) - (x -> clip(-0.5, 0.5)) -> hard_sigmoid
        output same = y
    """,
}


def graph_of(body: str) -> Graph:
    """A network that reads `x`."""
    text = f"cnn 1\nnet n {{\n input x: f32[1, 4, 11, 9]\n {body}\n weights he(seed = 1)\n}}"
    return cnnc.load_text(text).graph


@needs_gcc
@pytest.mark.parametrize("name", NETS)
def test_plain_loops_compute_what_the_reference_does(name: str, tmp_path: Path) -> None:
    model = cnnc.load_text(
        f"cnn 1\nnet n {{\n input x: f32[1, 4, 11, 9]\n {NETS[name]}\n weights he(seed = 1)\n}}"
    )
    write_plain(as_exported(model.graph), tmp_path)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    sources = ["plain.c", "weights.s", "-lm"]
    subprocess.run(["gcc", *flags, "-o", "net.so", *sources], cwd=tmp_path, check=True)
    inputs = draw_inputs(model.graph)
    found = {name: np.full(shape, np.nan, np.float32) for name, shape in model.outputs.items()}
    arrays = [*inputs.values(), *found.values()]
    ctypes.CDLL(str(tmp_path / "net.so")).plain_run(
        *(ctypes.c_void_p(array.ctypes.data) for array in arrays)
    )
    for output, wanted in model.reference(inputs).items():
        np.testing.assert_allclose(found[output], wanted, rtol=1e-4, atol=1e-5)


@needs_gcc
def test_a_form_is_loaded_compared_and_timed(tmp_path: Path) -> None:
    """The driver answers as the contenders of other benchmarks do."""
    net = tmp_path / "n.cnn"
    body = "output y = x -> conv(4, 3) -> relu\n weights he"
    net.write_text(f"cnn 1\nnet n {{ input x: f32[N, 2, 6, 6]\n {body} }}")
    task = Task(str(net), 1, 1, "native", str(tmp_path))
    form = plain_form(prepare(task, []), tmp_path)
    row, quiet = Row("n", 1, 1), lambda text: None
    contest = Contest(
        *(Rules(2, 0.01, 3, 60), ["cnnc", "plain"], available_cores(), quiet),
        lambda name, task, cores: FormProcess(name, task, cores, form.command),
    )
    contest.run(task, row)
    wanted = cnnc.load(net, batch=1).reference(task.inputs())
    assert compare(wanted, read_arrays(task.outputs("plain")))[1] is None
    for figure in row.figures.values():
        assert figure.failed is None
        assert len(figure.turns) == 2
        assert min(figure.turns) > 0
    assert "| n   |    0 |" in times([row], ["cnnc", "plain"])


def test_batchnorms_are_folded_as_exporters_do() -> None:
    graph = as_exported(graph_of(NETS["windows"]))
    assert not any(isinstance(node.op, BatchNorm) for node in graph.nodes)


def test_what_cannot_be_written_is_named() -> None:
    graph = graph_of("output y = x -> pool(l2, 2)")
    with pytest.raises(UnsupportedError, match=r"plain loops knows no `pool\(kind=l2"):
        plain_source(graph)


def test_tensors_share_memory_when_nobody_reads_them_any_more() -> None:
    chain = "output y = x" + " -> conv(4, 3, pad = same)" * 4
    tensor = 4 * 4 * 11 * 9
    graph = graph_of(chain)
    assert plain_source(graph).buffers == tensors_bound(graph) == 2 * tensor


def test_the_bound_takes_elementwise_operators_in_place() -> None:
    graph = as_exported(cnnc.load(zoo()["ds_cnn"], batch=1).graph)
    assert tensors_bound(graph) == 2 * 4 * 64 * 25 * 5


def test_the_deepest_chain_of_calls_is_found(tmp_path: Path) -> None:
    text = """graph: { title: "net.c"
node: { title: "run" label: "run\\nnet.c:9:5\\n16 bytes (static)" }
node: { title: "net.c:a" label: "a\\nnet.c:1:5\\n40 bytes (static)" }
node: { title: "net.c:b" label: "b\\nnet.c:2:5\\n24 bytes (static)" }
edge: { sourcename: "run" targetname: "net.c:a" label: "net.c:10:3" }
edge: { sourcename: "run" targetname: "net.c:b" label: "net.c:11:3" }
edge: { sourcename: "net.c:b" targetname: "expf" label: "net.c:3:3" }
}"""
    (tmp_path / "net.ci").write_text(text)
    assert deepest([tmp_path / "net.ci"], "run") == 56
