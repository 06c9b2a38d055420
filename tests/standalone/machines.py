"""Machines that the tests here run code on, and what links and starts a program for them."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.standalone.networks import Built
from tests.standalone.program import (
    FREESTANDING_RISCV,
    LINUX,
    SEMIHOSTING,
    SEMIHOSTING_LAYOUT,
    c_program,
    read_outputs,
)
from tests.tools import require_tool

WARNINGS = ("-O1", "-Wall", "-Wextra", "-Werror", "-Wno-array-bounds")
LEAST_SEEN = 256
"""Bytes of stack that the program does not look at."""


@dataclass(frozen=True)
class Machine:
    """A C compiler with its flags, an emulator, and Debian's packages of both.

    `support` is the C text that prints and ends there; `libraries` are what is linked behind.
    """

    compiler: str
    flags: tuple[str, ...]
    package: str
    emulator: tuple[str, ...]
    emulator_package: str
    support: str = LINUX
    libraries: tuple[str, ...] = ()

    def run(
        self, built: Built, folder: Path, *, stack: bool = True
    ) -> tuple[str, dict[str, object]]:
        """The statuses that the program prints, and the network's outputs.

        With `stack`, what it takes of that is held against what was stated.
        """
        compiler = require_tool(self.compiler, self.package)
        emulator = [require_tool(self.emulator[0], self.emulator_package), *self.emulator[1:]]
        program = self._link(compiler, built, folder)
        used, _, printed = _run([*emulator, str(program)], folder).partition("\n")
        if stack:
            self._check_stack(built, int(used))
        return read_outputs(built.abi, printed)

    def print(self, built: Built, program: str, folder: Path) -> str:
        """What a program in C prints that is linked with the network's objects."""
        compiler = require_tool(self.compiler, self.package)
        emulator = [require_tool(self.emulator[0], self.emulator_package), *self.emulator[1:]]
        linked = self._compile(compiler, built, program, folder)
        return _run([*emulator, str(linked)], folder)

    def _check_stack(self, built: Built, used: int) -> None:
        """What was stated is a bound, and not far from what was used."""
        stated = built.code.stack_bytes
        helpers = 256 if built.code.calls else 64
        assert used <= max(LEAST_SEEN, stated + helpers), (used, stated)
        if "+v" not in built.versions[0].target.features:  # whose registers may be longer
            assert used >= stated // 2 or len(built.versions) > 1, (used, stated)

    def _link(self, compiler: str, built: Built, folder: Path) -> Path:
        deep = 2 * built.code.stack_bytes + 1024
        text = c_program(built.abi, built.subject.inputs, self.support, deep)
        return self._compile(compiler, built, text, folder)

    def _compile(self, compiler: str, built: Built, program: str, folder: Path) -> Path:
        (folder / "main.c").write_text(program, encoding="utf-8")
        (folder / "layout.ld").write_text(SEMIHOSTING_LAYOUT, encoding="utf-8")
        (folder / "net.o").write_bytes(built.code.object)
        (folder / "weights.o").write_bytes(built.weights)
        files = ["main.c", "net.o", "weights.o", *self.libraries]
        _run([compiler, *WARNINGS, *self.flags, *files, "-o", "program"], folder)
        return folder / "program"


def _run(command: Sequence[str], folder: Path) -> str:
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}"
    return ran.stdout


def _linux(triple: str, emulator: str, *options: str, package: str = "") -> Machine:
    compiler = f"{triple}-gcc"
    package = package or f"gcc-{triple}"
    return Machine(compiler, ("-static",), package, (emulator, *options), "qemu-user")


def _cortex_m(board: str, *flags: str) -> Machine:
    options = ("-M", board, "-display", "none", "-monitor", "none", "-serial", "none")
    host = (
        "-chardev",
        "stdio,id=out",
        "-semihosting-config",
        "enable=on,target=native,chardev=out",
    )
    emulator = ("qemu-system-arm", *options, *host)
    return Machine(
        "arm-none-eabi-gcc",
        ("-mthumb", *flags, "-nostdlib", "-ffreestanding", "-T", "layout.ld"),
        "gcc-arm-none-eabi",
        (*emulator, "-kernel"),
        "qemu-system-arm",
        SEMIHOSTING,
        ("-lgcc",),
    )


MACHINES = {
    "aarch64": _linux("aarch64-linux-gnu", "qemu-aarch64"),
    "armv7": _linux("arm-linux-gnueabihf", "qemu-arm"),
    "riscv64": _linux("riscv64-linux-gnu", "qemu-riscv64"),
    "riscv64-v": _linux("riscv64-linux-gnu", "qemu-riscv64", "-cpu", "rv64,v=true,vlen=256"),
    "riscv32": Machine(
        "riscv64-unknown-elf-gcc",
        (
            "-march=rv32imac",
            "-mabi=ilp32",
            "-nostdlib",
            "-ffreestanding",
            "-static",
            "-Wl,--no-relax",
        ),
        "gcc-riscv64-unknown-elf",
        ("qemu-riscv32",),
        "qemu-user",
        FREESTANDING_RISCV,
        ("-lgcc",),
    ),
    "cortex-m4": _cortex_m("mps2-an386", "-mcpu=cortex-m4", "-mfloat-abi=hard"),
    "cortex-m7": _cortex_m("mps2-an500", "-mcpu=cortex-m7", "-mfloat-abi=hard"),
    "thumbv7em-none-eabi": _cortex_m("mps2-an386", "-mcpu=cortex-m4", "-mfloat-abi=soft"),
    "cortex-m3": _cortex_m("mps2-an385", "-mcpu=cortex-m3"),
    "cortex-m0": _cortex_m("mps2-an385", "-mcpu=cortex-m0"),
}
"""By the target that code is made for."""


def x86(cpu: str) -> Machine:
    """An x86-64 processor of QEMU's."""
    package = "gcc"
    return Machine("gcc", ("-static",), package, ("qemu-x86_64", "-cpu", cpu), "qemu-user")
