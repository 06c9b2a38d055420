"""Objects themselves: formats, names, weights, what is refused. No tools are needed."""

import re
import struct
from dataclasses import replace

import numpy as np
import pytest

from cnnc import driver
from cnnc.backends.abi import HEAD_BYTES, Abi, fill_weights
from cnnc.backends.native.frames import called_functions, stack_bytes
from cnnc.backends.native.standalone import (
    Version,
    compile_standalone,
    standalone_source,
    weights_object,
)
from cnnc.base.errors import UserError
from tests.standalone.networks import build, subject

FORMATS = {
    "x86_64-linux-gnu": b"\x7fELF",
    "x86_64-windows-msvc": b"\x64\x86",
    "aarch64-windows-msvc": b"\x64\xaa",
    "x86_64-apple-macos": b"\xcf\xfa\xed\xfe",
    "arm64-apple-macos": b"\xcf\xfa\xed\xfe",
    "wasm32": b"\0asm",
    "thumbv8.1m.main-none-eabihf": b"\x7fELF",
    "riscv32-v": b"\x7fELF",
}
ENTRIES = ("run", "run_part", "strerror", "weights_open", "weights_builtin")


@pytest.mark.parametrize("target", FORMATS)
def test_formats(target: str) -> None:
    """Code and weights in the format of each system, the same in every run."""
    built = build("ds_cnn", target)
    for data in (built.code.object, built.weights):
        assert data.startswith(FORMATS[target])
    assert compile_standalone(built.versions, built.abi, has_weights=True) == built.code
    assert weights_object(built.versions, built.abi) == built.weights
    for name in ENTRIES:
        assert f"ds_cnn_{name}".encode() in built.code.object
        assert re.search(rf"^_?ds_cnn_{name}:", built.code.assembly, re.MULTILINE)
        assert f"@ds_cnn_{name}(" in built.code.llvm


def test_all_else_is_hidden() -> None:
    """Symbols that a linker sees, in the table of an ELF object."""
    built = build("digits", "aarch64")
    seen = {name for name, binding, _ in _symbols(built.code.object) if binding == 1}
    entries = {f"digits_{name}" for name in ENTRIES}
    assert seen == {*entries, "digits_weights_data"}
    seen = {(name, visibility) for name, binding, visibility in _symbols(built.weights) if binding}
    hidden = 2
    assert seen == {("digits_weights_data", hidden)}


def _symbols(data: bytes) -> list[tuple[str, int, int]]:
    """Name, binding and visibility of the symbols of a 64-bit ELF object."""
    table = struct.unpack_from("<Q", data, 0x28)[0]
    size, count = struct.unpack_from("<HH", data, 0x3A)
    heads = [struct.unpack_from("<IIQQQQIIQQ", data, table + size * n) for n in range(count)]
    found = []
    for _, kind, _, _, offset, length, link, _, _, _ in heads:
        if kind == 2:
            names = heads[link][4]
            for at in range(offset, offset + length, 24):
                name, info, other = struct.unpack_from("<IBB", data, at)
                text = data[names + name : data.index(b"\0", names + name)].decode()
                found.append((text, info >> 4, other & 3))
    return found


def test_weights_lie_in_their_object_as_in_a_file() -> None:
    """Of both versions, at a multiple of 64 bytes."""
    built = build("ds_cnn", "x86-64:x86-64-v3,x86-64-v2")
    memory = np.zeros(built.abi.weights_bytes, np.uint8)
    fill_weights([each.program for each in built.versions], built.abi, memory)
    start = built.weights.index(built.abi.head)
    assert built.weights[start:][: len(memory)] == memory.tobytes()
    assert start % 64 == 0
    for version, place in zip(built.versions, built.abi.payloads, strict=True):
        first = version.program.weights[0]
        assert memory[place:][: first.contents.bytes].tobytes() == first.data
    assert built.abi.payloads[0] == HEAD_BYTES


def test_without_weights_nothing_refers_to_them() -> None:
    built = build("ds_cnn", "aarch64")
    code = compile_standalone(built.versions, built.abi, has_weights=False)
    assert b"ds_cnn_weights_data" not in code.object
    assert b"ds_cnn_weights_builtin" not in code.object
    assert b"ds_cnn_weights_open" in code.object


def test_functions_that_a_machine_lacks_are_named() -> None:
    assert build("sunspots", "cortex-m4").code.calls == ()
    soft = build("sunspots", "cortex-m3").code.calls
    assert {"__aeabi_fadd", "__aeabi_fmul"} <= set(soft)
    assert all(name.startswith(("__aeabi_", "mem")) for name in soft)
    assert "sqrtf" in build("digits", "riscv32").code.calls
    assert "__addsf3" in build("digits", "riscv32").code.calls


def test_code_on_a_microcontroller_is_small() -> None:
    """With the whole interface."""
    for name in ("lenet5", "ds_cnn"):
        assert len(build(name, "cortex-m4").code.object) < 12 * 1024


def test_a_machine_of_32_bits_has_limits() -> None:
    built = build("sunspots", "cortex-m4")
    large = replace(built.abi, arena_bytes=1 << 31)
    with pytest.raises(UserError, match="addresses of 32 bits, too few"):
        compile_standalone(built.versions, large, has_weights=True)
    wide = build("sunspots", "aarch64")
    assert standalone_source(wide.versions, replace(wide.abi, arena_bytes=1 << 33), False)


def test_only_levels_can_be_chosen_among() -> None:
    """Where a program is given for targets that nobody checked."""
    graph = subject("sunspots").model.graph
    versions = []
    for name in ("aarch64:generic", "aarch64:cortex-a53"):
        target = driver.find_target(name)
        versions.append(Version(driver.plan(graph, target, exact=False)[0].program, target))
    abi = Abi.of_versions([version.program for version in versions])
    with pytest.raises(UserError, match="cannot choose at run time"):
        compile_standalone(versions, abi, has_weights=True)


def test_every_version_uses_its_own_registers() -> None:
    assembly = build("ds_cnn", "x86-64:x86-64-v2,x86-64-v3,x86-64-v4").code.assembly
    kernels = re.split(r"^(ds_cnn_v\d)_k\d+\w*:", assembly, flags=re.MULTILINE)
    for version, widest in (("ds_cnn_v0", "xmm"), ("ds_cnn_v1", "ymm"), ("ds_cnn_v2", "zmm")):
        mine = "".join(
            text for name, text in zip(kernels[1::2], kernels[2::2], strict=True) if name == version
        )
        assert f"%{widest}" in mine
    assert "%ymm" not in "".join(
        text for name, text in zip(kernels[1::2], kernels[2::2], strict=True) if name == "ds_cnn_v0"
    )


@pytest.mark.parametrize(
    ("target", "lines", "expected"),
    [
        ("x86-64", "pushq %rbx\nsubq $32, %rsp\nandq $-64, %rsp\ncallq n_b\n", 8 + 8 + 32 + 56 + 8),
        ("x86_64-windows", "movl $5000, %eax\ncallq __chkstk\nsubq %rax, %rsp\n", 8 + 5000),
        ("aarch64", "stp x29, x30, [sp, #-32]!\nsub sp, sp, #1, lsl #12\nsub sp, sp, #16", 4144),
        ("cortex-m4", ".save {r4, r5, lr}\n.vsave {d8, d9}\n.pad #24", 12 + 16 + 24),
        ("riscv64", "addi sp, sp, -2032\nlui a0, 1\naddi a0, a0, 16\nsub sp, sp, a0", 2032 + 4112),
        ("riscv64-v", "addi sp, sp, -16\ncsrr a0, vlenb\nslli a0, a0, 1\nsub sp, sp, a0", 16 + 256),
        ("wasm32", "global.get __stack_pointer\ni32.const 48\ni32.sub\n", 48),
    ],
)
def test_frames(target: str, lines: str, expected: int) -> None:
    """Of the instructions that LLVM writes."""
    body = "".join(f"\t{line}\n" for line in lines.splitlines())
    assembly = f"n_a:\n{body}n_b:\n\tret\n"
    machine = driver.find_target(target)
    assert stack_bytes(assembly, machine, "n") == expected


def test_stack_is_that_of_the_deepest_call() -> None:
    text = "n_run:\n\tbl n_a\n\tb n_b\nn_a:\n\t.pad #8\nn_b:\n\t.pad #16\n\tbl memset\n"
    machine = driver.find_target("cortex-m4")
    assert stack_bytes(text, machine, "n") == 16
    assert called_functions(text, machine, "n") == ("memset",)
