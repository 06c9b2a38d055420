"""Objects for other machines, linked with C and run there: outputs equal the reference."""

from pathlib import Path

import pytest

from cnnc.backends.abi import Status
from tests.standalone import web
from tests.standalone.machines import MACHINES, x86
from tests.standalone.networks import build, check
from tests.standalone.program import STATUSES, probe

CASES = [
    ("aarch64", "digits"),
    ("aarch64", "sunspots"),
    ("aarch64-linux-gnu:cortex-a53", "ds_cnn"),
    ("armv7", "digits"),
    ("armv7", "sunspots"),
    ("arm-linux-gnueabihf:cortex-a7", "ds_cnn"),
    ("riscv64", "digits"),
    ("riscv64", "sunspots"),
    ("riscv64-v", "ds_cnn"),
    ("riscv64-v", "digits"),
    ("riscv32", "sunspots"),
    ("cortex-m4", "lenet5"),
    ("cortex-m4", "ds_cnn"),
    ("cortex-m7", "digits"),
    ("thumbv7em-none-eabi", "sunspots"),
    ("cortex-m3", "sunspots"),
    ("cortex-m0", "sunspots"),
    ("aarch64", "doubles"),
    ("armv7", "doubles"),
    ("riscv32", "doubles"),
    ("cortex-m4", "doubles"),
    ("cortex-m0", "doubles"),
]
ALIASES = {
    "aarch64-linux-gnu:cortex-a53": "aarch64",
    "arm-linux-gnueabihf:cortex-a7": "armv7",
}


@pytest.mark.parametrize(("target", "name"), CASES)
def test_outputs_equal_the_reference(target: str, name: str, tmp_path: Path) -> None:
    built = build(name, target)
    statuses, outputs = MACHINES[ALIASES.get(target, target)].run(built, tmp_path)
    assert statuses == f"{STATUSES} 0"
    check(built, outputs)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("wasm32", "digits"),
        ("wasm32-simd", "ds_cnn"),
        ("wasm32-simd", "sunspots"),
        ("wasm32-simd", "doubles"),
    ],
)
def test_webassembly_in_node(target: str, name: str, tmp_path: Path) -> None:
    built = build(name, target)
    statuses, outputs = web.run(built, tmp_path)
    assert statuses == f"{STATUSES} 0"
    check(built, outputs)


@pytest.mark.parametrize(("cpu", "version"), [("qemu64", 0), ("Nehalem", 1), ("max", 2)])
def test_code_chooses_its_version_where_it_runs(cpu: str, version: int, tmp_path: Path) -> None:
    """QEMU has no AVX-512."""
    built = build("digits", "x86-64:x86-64-v4,x86-64,x86-64-v3,x86-64-v2")
    statuses, outputs = x86(cpu).run(built, tmp_path)
    assert statuses == f"{STATUSES} {version}"
    check(built, outputs)


@pytest.mark.parametrize(
    ("cpu", "lowest", "status"),
    [
        ("qemu64", "x86-64-v2,x86-64-v3", Status.WRONG_PROCESSOR),
        ("Nehalem", "x86-64-v3,x86-64-v4", Status.WRONG_PROCESSOR),
        ("Nehalem", "x86-64-v2,x86-64-v3", Status.OK),
        ("qemu64", "x86-64,x86-64-v3", Status.OK),
    ],
)
def test_processors_below_every_version_are_refused(
    cpu: str, lowest: str, status: Status, tmp_path: Path
) -> None:
    """Without a handle of weights nothing runs; what refuses them runs on every x86-64."""
    built = build("sunspots", f"x86-64:{lowest}")
    assert x86(cpu).print(built, probe(built.abi), tmp_path) == (
        f"{int(status)} {int(status == Status.OK)} {int(status != Status.OK)} "
        f"{built.abi.strerror(status)}\n"
    )
