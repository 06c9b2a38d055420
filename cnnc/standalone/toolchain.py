"""The compiler or linker that makes a shared library for a target, found before it is needed."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from cnnc.backends.native.host import host_target
from cnnc.base.compiler import find_tool, run_tool
from cnnc.base.errors import fail
from cnnc.base.record import record
from cnnc.base.target import Target

_CROSS = {
    ("x86_64", "linux"): ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
    ("aarch64", "linux"): ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("armv7", "linux"): ("arm-linux-gnueabi-gcc", "gcc-arm-linux-gnueabi"),
    ("armv7hf", "linux"): ("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf"),
    ("riscv64", "linux"): ("riscv64-linux-gnu-gcc", "gcc-riscv64-linux-gnu"),
    ("x86_64", "windows"): ("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64"),
}
"""The command for an architecture and a system, and Debian's package that has it."""


@record
class Linker:
    """The first words of the command that links."""

    command: tuple[str, ...]
    is_wasm: bool = False

    def link(self, output: Path, inputs: Sequence[Path], symbols: Sequence[str]) -> None:
        """Make a shared library of the objects and C files; UserError with what the tool says.

        `symbols` are what it shows to others.
        """
        files = [path.name for path in inputs]
        if self.is_wasm:
            shown = [f"--export={symbol}" for symbol in symbols]
            command = [*self.command, "--no-entry", "--export=__heap_base"]
            command += [*shown, "-o", output.name, *files]
        else:
            flags = ["-shared", "-O2", "-fPIC", "-o", output.name]
            if output.suffix == ".so":
                flags.append(f"-Wl,-soname,{output.name}")
            threads = ["-pthread"] if any(path.suffix == ".c" for path in inputs) else []
            command = [*self.command, *flags, *threads, *files]
        run_tool(command, output.parent)
        if not output.exists():
            raise fail("E0802", f"`{shlex.join(command)}` made no file")

    @property
    def version(self) -> str:
        """The first line that it says of itself; empty where it says nothing."""
        done = run_tool([*self.command, "--version"], Path.cwd(), check=False)
        return done.stdout.partition("\n")[0].strip()


def find_linker(target: Target, given: str | None = None) -> Linker:
    """What links for the target: the given command, $CC, or what the machine has.

    UserError where there is none, or where the target has no shared libraries.
    """
    architecture, system = target.architecture, _system(target.triple)
    if system == "none":
        raise fail(
            "E0801",
            f"`{target.triple}` has no shared libraries",
            help="emit `a` or `obj`, and link it into your firmware",
        )
    is_wasm = architecture.startswith("wasm")
    named = given or (os.environ.get("CC") if is_host(target) else None)
    by = "--cc" if given else "CC"
    names, package = _linkers(target)
    if not (names or named):
        raise fail(
            "E0802",
            f"no compiler for `{target.triple}` is known",
            help="name one: --cc 'clang --target=… --sysroot=…'",
        )
    help = f"install Debian's package `{package}`, name another one with --cc, or emit `a`"
    needs = f"a shared library for `{target.triple}`"
    return Linker(find_tool(names, named, needs=needs, help=help, by=by), is_wasm)


def _linkers(target: Target) -> tuple[tuple[str, ...], str]:
    """What links for a target, and Debian's package that has it."""
    if target.architecture.startswith("wasm"):
        return ("wasm-ld",), "lld"
    if is_host(target):
        return ("cc", "gcc", "clang"), "gcc"
    name, package = _cross(target)
    return (name,) if name else (), package


def is_host(target: Target) -> bool:
    """Whether the target is this machine's architecture and system."""
    here = host_target()
    same = target.architecture == here.architecture
    return same and _system(target.triple) == _system(here.triple)


def tool_prefix(target: Target) -> str:
    """What the names of a cross compiler's tools begin with; empty for this machine's own."""
    if is_host(target):
        return ""
    if is_bare(target):
        is_arm = target.architecture.startswith(("arm", "thumb"))
        return "arm-none-eabi-" if is_arm else "riscv64-unknown-elf-"
    name, _ = _cross(target)
    return name.removesuffix("gcc")


def emulator(target: Target) -> str:
    """What runs Linux programs for another machine on this one; empty where none is needed."""
    architecture = {"armv7": "arm"}.get(target.architecture, target.architecture)
    foreign = not is_host(target) and _system(target.triple) == "linux"
    return f"qemu-{architecture}" if foreign else ""


def is_bare(target: Target) -> bool:
    """Whether nothing runs beneath the code: no files, no threads, no shared libraries."""
    return _system(target.triple) == "none"


def _cross(target: Target) -> tuple[str, str]:
    """The cross compiler for a target and its package; empty where none is known."""
    architecture = target.architecture
    is_hard = architecture == "armv7" and target.triple.endswith("hf")
    return _CROSS.get((architecture + "hf" * is_hard, _system(target.triple)), ("", ""))


def library_name(name: str, target: Target) -> str:
    """What a shared library of the name is called on the target."""
    system = _system(target.triple)
    if target.architecture.startswith("wasm"):
        return f"{name}.wasm"
    if system == "windows":
        return f"{name}.dll"
    return f"lib{name}.dylib" if system == "darwin" else f"lib{name}.so"


def object_suffix(target: Target) -> str:
    """How the names of objects end on the target."""
    return ".obj" if target.triple.endswith("msvc") else ".o"


def _system(triple: str) -> str:
    for system in ("linux", "windows", "none", "freebsd"):
        if system in triple.split("-")[1:]:
            return system
    return "darwin" if any(word in triple for word in ("darwin", "macosx", "ios")) else "other"
