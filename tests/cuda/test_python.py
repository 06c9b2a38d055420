"""The backend `cuda` from Python, with a library that g++ compiled for the shim."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnnc import driver
from cnnc.api import Model
from cnnc.backends.cuda import toolchain
from cnnc.backends.cuda.backend import own_target
from cnnc.backends.cuda.executable import CudaExecutable
from cnnc.backends.cuda.folder import emit_module
from cnnc.backends.cuda.toolchain import Gpu, Nvcc, build, find_gpu, find_nvcc, load_library
from cnnc.base.errors import InternalError, UserError
from cnnc.bench import bench
from cnnc.cli import run_command
from cnnc.compare.compare import diff
from cnnc.compiled import Compiled
from cnnc.device import DeviceArray
from cnnc.dlpack import read_capsule
from cnnc.options import Options
from tests.cuda.nets import ZOO, inputs_of, planned, small
from tests.cuda.shim import compile_model
from tests.cuda.tools import require_nvcc


@pytest.fixture(scope="module")
def model() -> Model:
    """A small network."""
    return small("tcn")


@pytest.fixture(scope="module")
def network(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """It compiled for a GPU that is none."""
    return compile_model(model, "cuda", tmp_path_factory.mktemp("module"))


class Foreign:
    """An array of another library; `protocol` is how it shows itself."""

    def __init__(self, network: Compiled, values: np.ndarray, protocol: str = "interface") -> None:
        gpu = network._device._gpu  # type: ignore[union-attr]
        self.array = DeviceArray(gpu, values.shape, values.dtype, 0)
        gpu.read(values.ctypes.data, _view(self.array), 0)
        if protocol == "interface":
            self.__cuda_array_interface__ = self.array.__cuda_array_interface__
        else:
            self.__dlpack__ = self.array.__dlpack__
            self.__dlpack_device__ = self.array.__dlpack_device__


def _view(array: DeviceArray) -> np.ndarray:
    """Memory of the shim's GPU, which the host may write."""
    shown = {**array.__cuda_array_interface__, "stream": None}
    return np.asarray(type("Shown", (), {"__array_interface__": shown})())


def test_arrays_of_the_host_are_copied(model: Model, network: Compiled) -> None:
    inputs = inputs_of(model)
    found, expected = network(inputs), model.compile()(inputs)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)
    assert network.options.backend == "cuda"
    doubled = {name: np.concatenate([value, value]) for name, value in inputs.items()}
    for name, value in network(doubled).items():
        np.testing.assert_array_equal(value[1:], found[name])


@pytest.mark.parametrize("protocol", ["interface", "dlpack"])
def test_arrays_of_the_gpu_are_taken_where_they_lie(
    model: Model, network: Compiled, protocol: str
) -> None:
    inputs = inputs_of(model)
    there = {name: Foreign(network, value, protocol) for name, value in inputs.items()}
    expected = network(inputs)
    for results in (network(there), network.launch(there, stream=0)):
        for name, value in results.items():
            assert isinstance(value, DeviceArray)
            np.testing.assert_array_equal(value.numpy(), expected[name])
            np.testing.assert_array_equal(np.asarray(value), expected[name])
    reused = network.launch(there, out=results)
    assert all(reused[name] is results[name] for name in expected)


def test_results_show_themselves_by_both_protocols(model: Model, network: Compiled) -> None:
    inputs = {name: Foreign(network, value) for name, value in inputs_of(model).items()}
    (result,) = network(inputs).values()
    assert isinstance(result, DeviceArray)
    shown = result.__cuda_array_interface__
    capsule = result.__dlpack__(stream=1)
    seen = read_capsule(capsule)
    assert (seen.pointer, False) == shown["data"]
    assert (seen.shape, seen.dtype.str) == (shown["shape"], shown["typestr"])
    assert (seen.strides, seen.writable) == (None, True)
    assert result.__dlpack_device__() == (2, 0)


def test_what_does_not_fit_is_refused(model: Model, network: Compiled) -> None:
    inputs = inputs_of(model)
    (name,) = inputs
    doubled = Foreign(network, np.concatenate([inputs[name]] * 2))
    with pytest.raises(UserError, match="batches are not split"):
        network.launch({name: doubled})
    with pytest.raises(UserError, match="expected"):
        network.launch({name: Foreign(network, inputs[name][..., :3].copy())})
    with pytest.raises(UserError, match="float64"):
        network.launch({name: Foreign(network, inputs[name].astype(np.float64))})
    with pytest.raises(UserError, match="does not lie on the GPU"):
        network.launch(inputs)
    with pytest.raises(UserError, match="not compiled for a GPU"):
        model.compile().launch(inputs)


def test_layers_are_compared_and_timed(network: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnc.bench.SLICE", 1e-6)
    monkeypatch.setattr("cnnc.bench.MIN_ROUNDS", 1)
    report = diff(network)
    assert report.ok, str(report)
    timed = bench(network, seconds=0.05)
    assert len(timed.layers) == len(network.lowered.layers)
    assert "cuda" in str(timed)


def test_without_gpu_and_compiler_both_are_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    monkeypatch.setattr(toolchain, "look_for_gpu", lambda: "there is no NVIDIA driver here")
    monkeypatch.setattr(toolchain, "find_nvcc", lambda: None)
    with pytest.raises(UserError) as caught:
        model.compile(target="cuda")
    assert [each.code for each in caught.value.diagnostics] == ["E0802", "E0802"]
    assert "no NVIDIA driver" in str(caught.value)
    assert "no nvcc" in str(caught.value)


def test_what_is_compiled_here_is_for_the_gpu_that_is_here() -> None:
    asked = driver.find_target("cuda:sm_80,tf32")
    found = own_target(asked, Gpu("small", 86, 28))
    assert (found.cpu, found.cores, found.features) == ("sm_86", 28, "tf32")
    # how many multiprocessors there are need not be known, nor need its kind
    assert own_target(asked, Gpu("other", 90)).cores == 132
    assert own_target(asked, Gpu("new", 130)).cores == asked.cores


def test_nvcc_is_found_by_its_variable(tmp_path: Path) -> None:
    assert find_nvcc({"CUDA_HOME": str(tmp_path), "PATH": ""}) == find_nvcc({"PATH": ""})
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").touch()
    found = find_nvcc({"CUDA_HOME": str(tmp_path), "PATH": ""})
    assert found == Nvcc(tmp_path / "bin" / "nvcc", ())


def test_nvcc_builds_once_and_no_gpu_is_no_crash(model: Model) -> None:
    nvcc = require_nvcc()
    plan = planned(model, name="net")
    store = Memory()
    library = build(nvcc, 80, emit_module(plan), "net_module.cu", store)
    assert list(store.kept.values()) == [library]
    broken = replace(nvcc, flags=("--no-such-flag",))
    assert build(broken, 80, emit_module(plan), "net_module.cu", store) == library
    with pytest.raises(InternalError, match="no-such-flag"):
        build(broken, 80, emit_module(plan), "net_module.cu", None)
    if find_gpu() is None:
        program = driver.plan(model.graph, driver.find_target("cuda"))[0].program
        with pytest.raises(UserError, match="the GPU cannot run"):
            CudaExecutable(program, plan, load_library(library))


class Memory:
    """A store that forgets with the process."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        """See Store."""
        return self.kept.get(key)

    def put(self, key: str, data: bytes) -> None:
        """See Store."""
        self.kept[key] = data


def test_sources_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    file = str(ZOO / "ds_cnn.cnn")
    assert run_command(["show", file, "--target", "cuda:sm_90", "--stage", "cuda"]) == 0
    whole = capsys.readouterr().out
    assert "// 1. " in whole
    assert "cuda:sm_90,f32 (as exact as float32" in whole
    assert run_command(["show", file, "--target", "cuda", "--stage", "cuda", "--layer", LAYER]) == 0
    assert "words_pool_dense_softmax(" in capsys.readouterr().out
    assert run_command(["show", file, "--stage", "cuda"]) == 1
    assert run_command(["show", file, "--target", "cuda", "--stage", "asm"]) == 1
    assert "does not go with" in capsys.readouterr().err
    assert run_command(["show", file, "--target", "cuda:sm_75", "--stage", "cuda"]) == 1
    assert "`sm_75`" in capsys.readouterr().err


LAYER = "words.softmax"


def test_target_and_backend_follow_each_other() -> None:
    assert Options(target="cuda:sm_90").completed.backend == "cuda"
    assert Options(backend="cuda").completed.target == "cuda"
    plain = Options()
    assert plain.completed == plain
    interpreted = replace(plain, target="cuda", backend="interp")
    assert interpreted.completed == interpreted
    with pytest.raises(UserError, match="no target"):
        _ = Options(target="x86-64", backend="cuda").completed
