"""The C interface of generated CUDA: what it refuses, and what it says then."""

import ctypes
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnnc.api import load, load_text
from cnnc.backends.cuda.folder import emit_cuda
from cnnc.backends.cuda.plan import Plan
from tests.cuda.nets import ZOO, inputs_of, planned, small
from tests.cuda.shim import SHIM, Library, Net, compile_nets
from tests.cuda.tools import require_nvcc
from tests.tools import require_tool


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A network that compiles in no time."""
    return planned(small("ds_cnn"))


@pytest.fixture(scope="module")
def net(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Net:
    """It compiled for the shim."""
    return Net(Library(compile_nets(tmp_path_factory.mktemp("cuda"), [plan], ("-O0",))), plan)


def test_wrong_weights_are_refused(net: Net, plan: Plan) -> None:
    weights = plan.weights_file()
    start, size = weights.ctypes.data, weights.nbytes
    found = {
        "a pointer is NULL": net.call("create", 0, size, handle=False),
        "the weights have another size": net.call("create", start, size - 1, handle=False),
        "the weights have another": net.call("create", start, 63, handle=False),
    }
    for text, status in found.items():
        assert status
        assert text in net.text(status)
    weights[9] ^= 1
    status = net.call("create", start, size, handle=False)
    assert "not those of this network" in net.text(status)


def test_wrong_pointers_are_refused(net: Net) -> None:
    assert "NULL" in net.text(net.call("run", 0, 16, 0))
    assert "not aligned" in net.text(net.call("run", 4, 16, 0))
    assert "memory of the network's GPU" in net.text(net.call("run", 16, 16, 0))
    assert net.call("run_host", 0, 0) == net.call("run", 0, 0, 0)
    assert net.text(12345) == "unrecognized error code"
    assert net.text(-1) == "an unknown status"
    net.library.function(f"{net.name}_destroy")(None)


def test_another_network_shares_the_weights(net: Net, plan: Plan) -> None:
    (given,) = inputs_of(small("ds_cnn")).values()
    result = [np.empty(end.shape, np.float32) for end in plan.abi.outputs]
    other = ctypes.c_void_p()
    assert net.call("share", ctypes.addressof(other)) == 0
    run = net.library.function(f"{net.name}_run_host")
    places = [ctypes.c_void_p(each.ctypes.data) for each in (given, *result)]
    for handle in (other, net.handle):
        result[0][:] = np.nan
        assert run(handle, *places) == 0
        np.testing.assert_array_equal(result, net.run([given]))
        net.library.function(f"{net.name}_destroy")(other if handle is other else None)
    assert "NULL" in net.text(net.call("share", 0))


def test_an_old_cuda_is_named(plan: Plan, tmp_path: Path) -> None:
    _write(plan, tmp_path)
    command = ["g++", "-std=c++17", "-fsyntax-only", f"-isystem{SHIM}", "-DCUDART_VERSION=11080"]
    done = subprocess.run(
        [*command, "-xc++", f"{plan.abi.name}.cu"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode
    assert "this code needs CUDA 12.0 or later" in done.stderr


def test_launches_overlap_if_asked_to(plan: Plan, tmp_path: Path) -> None:
    _write(plan, tmp_path)
    for asked in ("0", "1"):
        command = ["make", "-n", f"OVERLAP={asked}", f"{plan.abi.name}.o"]
        done = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
        assert f"-DCNNC_OVERLAP={asked}" in done.stdout


def test_other_flags_compile_anew(plan: Plan, tmp_path: Path) -> None:
    """And the same ones do not; a shell script stands for nvcc."""
    _write(plan, tmp_path)
    nvcc = tmp_path / "nvcc"
    nvcc.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ntouch "$2"\necho made "$2"\n')
    nvcc.chmod(0o755)

    def made(*flags: str) -> int:
        command = ["make", f"NVCC={nvcc}", *flags, "example"]
        done = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
        return done.stdout.count("\nmade ")

    assert [made(*flags) for flags in ((), (), ("OVERLAP=0",), ("OVERLAP=0",), ())] == [
        2,
        0,
        2,
        0,
        2,
    ]


@pytest.mark.parametrize("name", ["kernel", "tile", "out", "patch", "stride"])
def test_names_of_networks_are_none_of_constants(tmp_path: Path, name: str) -> None:
    """Kernels have constants like KERNEL_H."""
    text = f"cnn 1\nnet {name} {{\n  input x: f32[1, 3, 9, 9]\n"
    text += "  output y = x -> conv(16, 3) -> conv(16, 3, groups = 16)\n  weights he(seed = 0)\n}\n"
    for precision in ("f32", "bf16"):
        plan = planned(load_text(text), f"cuda:{precision}")
        _write(plan, tmp_path)
        command = ["g++", "-std=c++17", "-fsyntax-only", "-w", f"-isystem{SHIM}", "-xc++"]
        subprocess.run([*command, f"{plan.abi.name}.cu"], check=True, cwd=tmp_path)


def test_launches_that_are_to_wait_do(plan: Plan) -> None:
    """Each for itself: the first one here, and no other."""
    first, *others = plan.launches
    waiting = replace(first, kernel=replace(first.kernel, starts_early=False))
    text = emit_cuda(replace(plan, launches=(waiting, *others)), "0")[
        f"{plan.abi.name}.cu"
    ].decode()
    launched = re.findall(r"_launch\((false|net->overlaps), ", text)
    assert launched == ["false", *["net->overlaps"] * len(others)]


def test_the_header_is_c(plan: Plan, tmp_path: Path) -> None:
    _write(plan, tmp_path)
    (tmp_path / "use.c").write_text(
        f'#include "{plan.abi.name}.h"\nint main(void) {{ return {plan.abi.macro}_OK; }}\n'
    )
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]
    subprocess.run([*command, str(tmp_path / "use.c")], check=True)


def test_the_sources_have_no_warnings(plan: Plan, tmp_path: Path) -> None:
    _write(plan, tmp_path)
    silent = ["-Wno-unknown-pragmas", "-Wno-attributes", "-Wno-unused-variable"]
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *silent]
    for name in (f"{plan.abi.name}.cu", "main.cu", "test.cu"):
        path = str(tmp_path / name)
        subprocess.run([*command, f"-isystem{SHIM}", "-x", "c++", path], check=True)


def test_the_example_runs(plan: Plan, tmp_path: Path) -> None:
    _write(plan, tmp_path)
    (given,) = inputs_of(small("ds_cnn")).values()
    (tmp_path / "in.bin").write_bytes(given.tobytes())
    names = [f"{plan.abi.name}.cu", "main.cu"]
    flags = ["-std=c++17", "-w", "-ffp-contract=off", "-fno-strict-aliasing", f"-I{SHIM}"]
    command = ["g++", *flags, "-x", "c++", *names, "-o", "example"]
    subprocess.run(command, check=True, cwd=tmp_path)
    done = subprocess.run(
        [str(tmp_path / "example"), "in.bin"], check=True, cwd=tmp_path, capture_output=True
    )
    name, values = done.stdout.decode().splitlines()[0].split(":")
    expected = small("ds_cnn").compile()(given)[name].reshape(-1)
    found = np.array([float(each) for each in values.split() if each != "..."])
    np.testing.assert_allclose(found, expected[: len(found)], rtol=1e-4, atol=1e-6)


def test_a_library_without_a_driver_fails_politely(plan: Plan, tmp_path: Path) -> None:
    nvcc = require_nvcc()
    _write(plan, tmp_path)
    command = ["make", f"NVCC={shlex.join([str(nvcc.path), *nvcc.flags])}"]
    subprocess.run([*command, f"lib{plan.abi.name}.so"], check=True, cwd=tmp_path)
    library = ctypes.CDLL(str(tmp_path / f"lib{plan.abi.name}.so"))
    weights, made = plan.weights_file(), ctypes.c_void_p()
    create = getattr(library, f"{plan.abi.name}_create")
    size = ctypes.c_size_t(weights.nbytes)
    status = create(ctypes.c_void_p(weights.ctypes.data), size, ctypes.byref(made))
    if status == 0:
        pytest.skip("there is a GPU")
    strerror = getattr(library, f"{plan.abi.name}_strerror")
    strerror.restype = ctypes.c_char_p
    assert any(word in strerror(status).decode() for word in ("driver", "device"))
    assert made.value is None


def _write(plan: Plan, folder: Path) -> None:
    for name, data in emit_cuda(plan, "0", ["network ds_cnn"]).items():
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("target", ["cuda", "cuda:bf16"])
def test_large_layers_keep_their_numbers_in_registers(tmp_path: Path, target: str) -> None:
    plan = planned(load(ZOO / "unet.cnn"), target)
    _write(plan, tmp_path)
    nvcc = require_nvcc()
    command = [
        *(
            str(nvcc.path),
            *nvcc.flags,
            "-O3",
            "-std=c++17",
            "--fmad=false",
            "-arch=sm_80",
            "-Xptxas",
            "-v",
            "-w",
        )
    ]
    command += ["-cubin", "-o", "net.cubin", f"{plan.abi.name}.cu"]
    done = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
    found = re.findall(r"(\d+) bytes spill stores", done.stderr)
    assert len(found) == len(plan.kernels)
    assert set(found) == {"0"}


SMALL_NET = """cnn 1
net fat {
  input x: f32[N, 8, 6, 6]
  output y = x -> conv(16, 3) -> relu -> pool(max, 2)
  weights he
}
"""


@pytest.mark.parametrize("arch", [80, 90, 120])
def test_nvcc_has_no_warnings(plan: Plan, tmp_path: Path, arch: int) -> None:
    _write(plan, tmp_path)
    flags = ["-std=c++17", "--fmad=false", f"-arch=sm_{arch}", "-Werror", "all-warnings"]
    for name in (f"{plan.abi.name}.cu", "main.cu", "test.cu"):
        command = [*_nvcc(), *flags, "-Xcompiler", "-Wall", "-c", name, "-o", "made.o"]
        subprocess.run(command, check=True, cwd=tmp_path)


def test_a_fat_library_has_code_for_every_gpu(tmp_path: Path) -> None:
    make = ["make", f"NVCC={shlex.join(_nvcc())}"]
    _write(planned(load_text(SMALL_NET)), tmp_path)
    made = subprocess.run([*make, "fat"], check=True, cwd=tmp_path, capture_output=True, text=True)
    for arch in (80, 86, 89, 90, 100, 120):
        assert f"-gencode arch=compute_{arch},code=sm_{arch} " in made.stdout
    assert "code=compute_80" in made.stdout
    fat = (tmp_path / "libfat.so").stat().st_size
    subprocess.run([*make, "-B", "libfat.so"], check=True, cwd=tmp_path, capture_output=True)
    assert (tmp_path / "libfat.so").stat().st_size < fat


def test_cmake_builds_the_same(tmp_path: Path) -> None:
    require_tool("cmake", "cmake")
    _write(planned(load_text(SMALL_NET)), tmp_path)
    nvcc, *flags = _nvcc()
    found = [f"-DCMAKE_CUDA_COMPILER={nvcc}", f"-DCMAKE_CUDA_FLAGS={shlex.join(flags)}"]
    subprocess.run(["cmake", "-B", "build", *found], check=True, cwd=tmp_path, capture_output=True)
    subprocess.run(["cmake", "--build", "build"], check=True, cwd=tmp_path, capture_output=True)
    assert (tmp_path / "build" / "fat_example").is_file()


def _nvcc() -> list[str]:
    found = require_nvcc()
    return [str(found.path), *found.flags]
