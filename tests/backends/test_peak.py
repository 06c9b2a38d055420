"""The measured loops are what they claim to be, and the numbers are possible."""

import ctypes
import math
import re
from dataclasses import replace

import pytest
from llvmlite import binding as llvm

from cnnc.backends.native.host import host_target
from cnnc.backends.native.peak import measure_peak, peak_module_text, peak_view
from cnnc.backends.native.runtime import LINE, jit_compile
from cnnc.backends.native.targets import named_target, target_machine
from cnnc.base.dtype import DType
from cnnc.base.errors import UserError
from cnnc.base.target import Target
from tests.backends.nets import Words

# Per target: the multiply-add, its registers, and the stack pointer, as its assembly writes them.
DIALECTS = {
    "x86-64": (r"\bmulps\b", "%xmm", "(%rsp)"),
    "x86-64-v3": (r"\bvfmadd\d+ps\b", "%ymm", "(%rsp)"),
    "x86-64-v4": (r"\bvfmadd\d+ps\b", "%zmm", "(%rsp)"),
    "aarch64": (r"\bfmla\b", "4s", "[sp"),
}


def loop_of(function: str, target: Target) -> str:
    """The instructions between a function's one backward jump and where it leads."""
    module = llvm.parse_assembly(peak_module_text(target), llvm.create_context())
    machine = target_machine(target, jit=False)
    module.triple, module.data_layout = target.triple, str(machine.target_data)
    assembly = str(machine.emit_assembly(module))
    body = assembly.split(f"\n{function}:", 1)[1].split(f".size\t{function}", 1)[0]
    labels = {match[1]: match.end() for match in re.finditer(r"^(\.L\w+):", body, re.M)}
    jumps = re.finditer(r"^\s+(?:j\w+|b\.?\w*)\s+(\.L\w+)", body, re.M)
    loops = [body[labels[j[1]] : j.end()] for j in jumps if labels[j[1]] < j.start()]
    assert len(loops) == 1
    return loops[0]


@pytest.mark.parametrize("name", DIALECTS)
def test_only_multiply_adds_in_the_loop(name: str) -> None:
    """One vector multiply-add for each chain, no memory touched, next to nothing else."""
    target = named_target(name)
    operation, register, stack = DIALECTS[name]
    loop = loop_of("cnnc_peak_compute", target)
    lines = [line for line in loop.splitlines() if line.strip()]
    multiplies = [line for line in lines if re.search(operation, line)]
    assert len(multiplies) == peak_view(target).chains
    assert all(register in line for line in multiplies)
    assert stack not in loop
    additions = 0 if target.has_fma else len(re.findall(r"\baddps\b", loop))
    assert additions == (0 if target.has_fma else len(multiplies))
    assert len(lines) <= len(multiplies) + additions + 4


@pytest.mark.parametrize("name", DIALECTS)
def test_reading_loop_reads_whole_vectors(name: str) -> None:
    target = named_target(name)
    _, register, stack = DIALECTS[name]
    loop = loop_of("cnnc_peak_read", target)
    adds = re.findall(rf"\bv?f?add(?:ps)?\b.*{re.escape(register)}", loop)
    assert len(adds) == peak_view(target).streams
    assert stack not in loop


def test_every_turn_is_computed() -> None:
    """What the loop leaves in memory is what so many multiply-adds give."""
    target = host_target()
    view = peak_view(target)
    engine = jit_compile(peak_module_text(target), target)
    head, chains = Words(3 * LINE // 8), Words(view.chains * LINE // 8)
    lanes = target.lanes(DType.F32)
    half = 0x3F0000003F000000  # 0.5 twice
    for word in range(LINE // 8, 3 * LINE // 8):
        head[word] = half
    head[0] = 1000
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 2, ctypes.c_void_p)
    address = engine.get_function_address("cnnc_peak_compute")
    call(address)(head.address, chains.address, None, None, 0, 1, None)
    expected = 1000 * 0.25 if target.has_fma else 1.0
    for chain in range(view.chains):
        start = chains.address + chain * LINE
        assert list((ctypes.c_float * lanes).from_address(start)) == [expected] * lanes


@pytest.mark.parametrize("threads", [1, 2])
def test_measured_numbers_are_possible(threads: int) -> None:
    target = replace(host_target(), l3_bytes=0)
    peak = measure_peak(target, threads, seconds=0.05)
    assert peak.threads == threads
    assert peak.vector_bits == target.vector_bits
    # No core does more than four vector multiply-adds a cycle at six gigahertz.
    most = threads * 6 * 4 * 2 * target.lanes(DType.F32)
    assert 0.1 < peak.gflops < most
    assert [level.level for level in peak.bandwidths] == ["L1", "L2", "memory"]
    for level in peak.bandwidths:
        assert math.isfinite(level.gb_per_s)
        assert 0.05 < level.gb_per_s < threads * 6 * 4 * target.vector_bits / 8
    sizes = [level.bytes for level in peak.bandwidths]
    assert sizes == sorted(sizes)
    assert sizes[0] <= threads * target.l1_bytes < sizes[1]


def test_shared_cache_is_a_level_of_its_own() -> None:
    """With a third level well above the second, it is measured too."""
    target = replace(host_target(), l1_bytes=8192, l2_bytes=65536, l3_bytes=4 << 20)
    levels = {each.level: each.bytes for each in measure_peak(target, 2, 0.02).bandwidths}
    assert list(levels) == ["L1", "L2", "L3", "memory"]
    assert 2 * 65536 < levels["L3"] <= 4 << 20 < levels["memory"]


def test_code_for_another_machine() -> None:
    foreign = "x86-64" if host_target().triple.startswith(("aarch64", "arm64")) else "aarch64"
    with pytest.raises(UserError, match="cannot run code"):
        measure_peak(named_target(foreign), 1)
