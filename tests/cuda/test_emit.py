"""Text of kernels and of host code: wide indices, and names that mean something else."""

import subprocess
from dataclasses import replace
from math import gcd
from pathlib import Path

import numpy as np
import pytest

from cnnc import driver
from cnnc.api import Model, load_text
from cnnc.backends.cuda.emit import emit_kernel, wrapped
from cnnc.backends.cuda.folder import emit_cuda
from cnnc.backends.cuda.kernel import CudaKernel, Wish
from cnnc.backends.cuda.kernels import igemm_ffma
from cnnc.backends.cuda.plan import plan_cuda
from cnnc.backends.cuda.prims import prims_header
from cnnc.backends.cuda.targets import cuda_target
from cnnc.base.errors import UserError
from cnnc.base.resources import list_resources
from cnnc.ir.graph import Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.loop.task import Task
from cnnc.lowering.lower import lower
from cnnc.ops.activations.relu import Relu
from cnnc.options import Options
from tests.cuda.nets import planned
from tests.cuda.shim import SHIM, Library, Net, compile_nets
from tests.cuda.tools import require_nvcc

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


@pytest.mark.parametrize("name", ["main", "test", "cuda_runtime", "cnnc_prims"])
def test_a_network_may_not_be_called_as_a_file_of_the_code(name: str) -> None:
    with pytest.raises(UserError, match=f"another file called `{name}`"):
        planned(load_text(AWKWARD), name=name)


CHECK = ("g++", "-std=c++17", "-fsyntax-only", "-w", f"-isystem{SHIM}", "-xc++")
NAMES = (
    *("cnnc", "exponent", "minimum", "scaled", "dim3", "float4", "memcpy", "Unsigned", "cudaFree"),
    *("At", "Same", "HEAD", "TRY", "On", "net", "cuda", "std", "size_t"),
)


@pytest.fixture(scope="module")
def model() -> Model:
    """A network whose inputs and outputs are called as other things are."""
    return load_text(AWKWARD)


def test_a_network_may_be_called_anything_else(model: Model, tmp_path: Path) -> None:
    for name in NAMES:
        _write(model, name, tmp_path / name)
        subprocess.run([*CHECK, f"{name}.cu"], check=True, cwd=tmp_path / name)
        subprocess.run([*CHECK, "test.cu"], check=True, cwd=tmp_path / name)
    subprocess.run([*CHECK, "main.cu"], check=True, cwd=tmp_path / NAMES[0])


def test_nvcc_takes_the_names_as_well(model: Model, tmp_path: Path) -> None:
    nvcc = require_nvcc()
    _write(model, "exponent", tmp_path)
    flags = [*nvcc.flags, "-std=c++17", "-arch=sm_80", "-w", "-c", "-o", "net.o"]
    subprocess.run([str(nvcc.path), *flags, "exponent.cu"], check=True, cwd=tmp_path)


def _write(model: Model, name: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for file, data in emit_cuda(planned(model, name=name), "0").items():
        (folder / file).write_bytes(data)


def test_ends_may_be_called_as_variables_of_the_code(tmp_path: Path) -> None:
    names = ["x", "host_x", "x_bytes", "cudaMalloc", "memcmp", "At", "dim3", "free", "lot_y"]
    inputs = "".join(f"  input {name}: f32[N, 2, 5, 5]\n" for name in names)
    text = f"cnn 1\nnet lot {{\n{inputs}  y = {' + '.join(names)} -> conv(3, 3)\n"
    _write(load_text(f"{text}  output on = y\n  weights he(seed = 1)\n}}\n"), "lot", tmp_path)
    subprocess.run([*CHECK, "lot.cu"], check=True, cwd=tmp_path)
    subprocess.run([*CHECK, "main.cu"], check=True, cwd=tmp_path)
    subprocess.run([*CHECK, "test.cu"], check=True, cwd=tmp_path)


def test_networks_of_two_versions_share_no_names(model: Model) -> None:
    assert (
        prims_header("one").split("inline namespace ")[1][:9]
        != (prims_header("two").split("inline namespace ")[1][:9])
    )
    files = emit_cuda(planned(model), "0")
    math = files["cnnc_math.h"].decode()
    assert math.index("namespace {") < math.index("floor_mod")


def test_grids_that_no_gpu_takes_are_not_launched(model: Model) -> None:
    def offer(task: Task, wish: Wish) -> CudaKernel | None:
        found = igemm_ffma.offer(task, wish)
        return found and replace(found, grid=(1, 1, 2**16))

    machine = driver.find_target("cuda")
    program = driver.plan(model.graph, machine)[0].program
    assert all(each.is_generic for each in plan_cuda(program, machine, offers=[offer]).launches)


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


def test_two_precisions_of_a_target_are_refused() -> None:
    with pytest.raises(UserError, match="two precisions: `bf16` and `f16`"):
        cuda_target("cuda:bf16,f16")
    assert cuda_target("cuda:bf16,sm_90,bf16") == cuda_target("cuda:sm_90,bf16")
