"""Text of kernels and of host code: wide indices, and names that mean something else."""

from math import gcd
from pathlib import Path

import numpy as np
import pytest

from cnnc import driver
from cnnc.api import load_text
from cnnc.backends.cuda.emit import emit_kernel, wrapped
from cnnc.backends.cuda.kernel import Wish
from cnnc.backends.cuda.plan import plan_cuda
from cnnc.backends.cuda.targets import cuda_target
from cnnc.base.errors import UserError
from cnnc.base.resources import list_resources
from cnnc.ir.graph import Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.lowering.lower import lower
from cnnc.ops.activations.relu import Relu
from cnnc.options import Options
from tests.cuda.nets import planned
from tests.cuda.shim import Library, Net, compile_nets

ROOT = Path(__file__).resolve().parents[2]
AWKWARD = """cnn 1
net launch {
  input stream: f32[N, 2, 5, 5]
  input class: f32[N, 2, 5, 5]
  exp = stream -> conv(3, 3, pad = same) -> exp
  run = class -> conv(3, 3, pad = same) -> tanh
  at = exp * run
  output status = at -> softmax
  output made = at -> pool(avg, global) -> flatten
  output thread = at -> pool(max, 2)
  weights he(seed = 1)
}
"""


def _emitted(extent: int, alignment: int = 4) -> str:
    kind = TensorType.plain((1, 1, extent, extent))
    x = Node(Input("x"), (), kind, "x")
    graph = Graph("n", (x,), {"y": Node(Relu(), (x,), kind, "y")})
    (kernel,) = lower(graph, cuda_target("cuda")).program.kernels
    return emit_kernel(kernel, "relu", Wish("relu", alignment=alignment))


def test_large_tensors_are_indexed_with_64_bits() -> None:
    assert "const int thread = (int)(blockIdx.x" in _emitted(1000)
    wide = _emitted(50_000)
    assert "const int64_t thread = (int64_t)blockIdx.x" in wide
    assert "thread >= 2500000000" in wide
    assert "int " not in wide.replace("(int64_t)", "").replace("int64_t", "")
    at_once = _emitted(50_000, 16)
    assert "thread >= 625000000" in at_once
    assert "const int64_t ow = thread % 12500 * 4" in at_once


def test_names_of_the_text_are_no_names_of_the_code(tmp_path: Path) -> None:
    model = load_text(AWKWARD)
    plan = planned(model)
    net = Net(Library(compile_nets(tmp_path, [plan], ("-O0",))), plan)
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=s).astype(np.float32) for name, s in model.inputs.items()}
    expected = model.reference(inputs)
    for found, (name, value) in zip(net.run(list(inputs.values())), expected.items(), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_network_may_not_be_called_as_a_type_of_the_code() -> None:
    model = load_text(AWKWARD.replace("net launch", "net At"))
    with pytest.raises(UserError, match="calls something else `At`"):
        planned(model)


def test_long_lines_are_broken_between_words() -> None:
    line = "const float x = " + ", ".join(f"argument_{i}" for i in range(20)) + ";"
    lines = wrapped(line, "    ")
    assert max(map(len, lines)) <= 100
    assert " ".join(each.strip() for each in lines) == line
    assert wrapped("short;", "  ") == ["  short;"]


@pytest.mark.parametrize("precision", ["f32", "bf16"])
@pytest.mark.parametrize("channels", [8, 6, 7])
def test_neighbours_are_moved_at_once(precision: str, channels: int) -> None:
    """As many as the extent and memory allow, with reads of the results' own places."""
    text = f"""cnn 1
net wide {{
input x: f32[N, 8, 5, 5]
input s: f32[N, {channels}]
a = x -> conv({channels}, 3)
output y = mul(a, s -> reshape([N, {channels}, 1, 1])) -> conv(4, 1)
output z = a -> conv(4, 1)
weights he(seed = 1)
}}
"""
    machine = driver.find_target(f"cuda:{precision}")
    plan = plan_cuda(driver.plan(load_text(text).graph, machine)[0].program, machine)
    (found,) = (e for e in plan.launches if e.loops.task and e.loops.task.op == "mul")
    width = gcd(channels, 8 if precision == "bf16" else 4)
    assert (
        found.kernel.comment == f"a thread for each {f'{width} results' if width > 1 else 'result'}"
    )
    assert (f"made[{width}]" in found.kernel.source) == (width > 1)
    assert found.is_generic


def test_weights_are_those_of_the_plan() -> None:
    model = load_text(AWKWARD)
    machine = driver.find_target("cuda")
    program = driver.plan(model.graph, machine)[0].program
    generic, tuned = plan_cuda(program, machine, offers=()), plan_cuda(program, machine)
    assert all(each.is_generic for each in generic.launches)
    assert not all(each.is_generic for each in tuned.launches)
    assert generic.abi.hash != tuned.abi.hash
    for plan in (generic, tuned):
        assert plan.weights_file().nbytes == plan.abi.weights_bytes
    assert plan_cuda(program, machine).abi == tuned.abi


def test_gpus_that_are_too_old_are_refused() -> None:
    with pytest.raises(UserError, match="`sm_75` in the target `cuda:sm_75` is too old") as caught:
        cuda_target("cuda:sm_75")
    assert "sm_80" in str(caught.value)


@pytest.mark.parametrize("word", ["sm_91", "fp8", ""])
def test_unknown_words_of_a_target_are_refused(word: str) -> None:
    with pytest.raises(UserError, match="is unknown"):
        cuda_target(f"cuda:{word}")
    found = cuda_target("cuda:bf16,sm_90")
    assert (found.cpu, found.features, found.is_gpu) == ("sm_90", "bf16", True)


def test_exact_means_float32_multiply_adds() -> None:
    found = driver.target_for(Options(target="cuda:sm_90", exact=True))
    assert (found.cpu, found.features) == ("sm_90", "f32_exact")
    assert driver.target_for(Options(target="cuda")) == driver.find_target("cuda")
    with pytest.raises(UserError, match="`bf16` is not exact"):
        driver.target_for(Options(target="cuda:bf16", exact=True))


def test_every_template_is_used() -> None:
    files = [*(ROOT / "cnnc").rglob("*.py"), *(ROOT / "templates" / "cuda").glob("*.j2")]
    sources = [path.read_text(encoding="utf-8") for path in files]
    templates = [path.removesuffix(".j2") for path in list_resources("templates")]
    for name in templates:
        if name.startswith("cuda/") and not name.startswith("cuda/shim/"):
            quoted = f'"{name.removeprefix("cuda/")}"'
            assert any(quoted in source for source in sources), name
