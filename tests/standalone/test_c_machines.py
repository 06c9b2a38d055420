"""C source compiled for other machines, without a warning, and run there."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cnnc.backends.c.flags import machine_flags, optimisation_flag
from cnnc.standalone.build import build as build_files
from cnnc.standalone.request import Request
from tests.standalone.machines import MACHINES, Machine
from tests.standalone.networks import Built, build, check
from tests.standalone.outputs import STRICT, model
from tests.standalone.program import STATUSES
from tests.tools import require_tool

CASES = [
    ("aarch64", "aarch64:cortex-a53", "digits"),
    ("aarch64", "aarch64", "sunspots"),
    ("armv7", "armv7", "sunspots"),
    ("armv7", "arm-linux-gnueabihf:cortex-a7", "ds_cnn"),
    ("riscv64", "riscv64", "sunspots"),
    ("riscv32", "riscv32", "sunspots"),
    ("cortex-m4", "cortex-m4", "lenet5"),
    ("cortex-m4", "cortex-m4", "ds_cnn"),
    ("cortex-m7", "cortex-m7", "sunspots"),
    ("thumbv7em-none-eabi", "thumbv7em-none-eabi", "sunspots"),
    ("cortex-m3", "cortex-m3", "sunspots"),
    ("cortex-m0", "cortex-m0", "sunspots"),
    ("aarch64", "aarch64", "doubles"),
    ("riscv32", "riscv32", "doubles"),
    ("cortex-m4", "cortex-m4", "doubles"),
    ("cortex-m0", "cortex-m0", "doubles"),
]


def with_c(machine: Machine, target: str, name: str, folder: Path) -> Built:
    """A network whose object a C compiler makes, with the flags that its source names."""
    compiler = require_tool(machine.compiler, machine.package)
    built = build(name, target)
    version = built.versions[0].target
    build_files(model(name), folder, Request(forms=("c",), target=target))
    flags = [*STRICT, *machine_flags(version), optimisation_flag(version), "-ffreestanding"]
    command = [compiler, *flags, "-c", f"{name}.c", "-o", "c.o"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return replace(built, code=replace(built.code, object=(folder / "c.o").read_bytes()))


@pytest.mark.parametrize(("machine", "target", "name"), CASES)
def test_outputs_equal_the_reference(machine: str, target: str, name: str, tmp_path: Path) -> None:
    """The same program as around objects of LLVM's, with the same statuses."""
    built = with_c(MACHINES[machine], target, name, tmp_path)
    statuses, outputs = MACHINES[machine].run(built, tmp_path, stack=False)
    assert statuses == f"{STATUSES} 0"
    check(built, outputs)


@pytest.mark.parametrize(
    ("name", "tensors"),
    [("lenet5", 4 * 6 * (28 * 28 + 14 * 14)), ("ds_cnn", 4 * 64 * 2 * 25 * 5)],
)
def test_microcontrollers_get_small_code(name: str, tensors: int, tmp_path: Path) -> None:
    """At most 8 KiB beside the weights, by gcc, in as little memory as its tensors take.

    Those are the two largest ones, one behind the other, without zeros around them.
    """
    require_tool("arm-none-eabi-size", package="binutils-arm-none-eabi")
    built = with_c(MACHINES["cortex-m4"], "cortex-m4", name, tmp_path)
    said = subprocess.run(
        ["arm-none-eabi-size", "c.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    text, data, bss = map(int, said.stdout.splitlines()[1].split()[:3])
    assert text <= 8 << 10
    assert data == bss == 0
    assert built.abi.arena_bytes <= 1.1 * tensors
    missing = subprocess.run(
        ["arm-none-eabi-nm", "-u", "c.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "mem" not in missing.stdout
