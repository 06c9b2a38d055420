"""What each thread touches, held against machine code, and what crosses between threads."""

import ctypes
from collections.abc import Sequence

import crossing
import numpy as np
import pytest
from numpy.typing import NDArray

import cnnc
from cnnc.backends.native.backend import aligned_bytes
from cnnc.compiled import Compiled
from cnnc.loop.kernel import Kernel, Program
from cnnc.loop.parse import parse_kernel

NET = """\
cnn 1
net n {
  input x: f32[1, 16, 27, 27]
  output y = x -> conv(96, 1) -> relu -> conv(96, 3, pad = 1, groups = 96)
    -> conv(40, 1) -> pool(max, 2) -> conv(48, 3, pad = 1)
  weights he
}
"""
BY_ROWS = """input x: f32[1, 64, 14, 14]
  output y = x -> conv(384, 1) -> relu -> conv(384, 3, pad = 1, groups = 384) -> conv(64, 1)"""
UNUSED = 12345.0
KERNEL = """\
kernel rows {
  in x: f32[40]
  in w: f32[4]
  out y: f32[32]
  for a in 4 parallel {
    for b in 2 parallel {
      y[a * 8 + b * 4 :+ 4] = x[a * 8 + b * 4 + 4 :+ 4] * w[a]
    }
  }
  for z in 1 turned parallel {
    let v = x[0]
  }
}
"""

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def net() -> Compiled:
    """Blocked layers with halos, one by channels and one by rows."""
    return cnnc.load_text(NET).compile(threads=2)


def run_share(
    net: Compiled, number: int, buffers: Sequence[Floats], thread: int, threads: int
) -> None:
    """Machine code of a kernel, as one of several threads runs it."""
    kernel = net.lowered.program.kernels[number]
    scratch = aligned_bytes(kernel.scratch_bytes)
    kept = [*buffers, *[scratch] * bool(kernel.scratch_bytes)]
    numbers = (ctypes.c_int64(thread), ctypes.c_int64(threads))
    net.executable._kernels[number](*(ctypes.c_void_p(b.ctypes.data) for b in kept), *numbers)


def operands(kernel: Kernel) -> list[Floats]:
    """Numbers for what is read, and others that no result will be for what is written."""
    random = np.random.default_rng(1)
    buffers: list[Floats] = []
    for param in kernel.params:
        memory = aligned_bytes(param.size * 4).view(np.float32)
        memory[:] = UNUSED if param.name in kernel.outputs else random.standard_normal(param.size)
        buffers.append(memory)
    return buffers


def test_elements_of_parallel_loops_are_those_of_contiguous_iterations() -> None:
    kernel = parse_kernel(KERNEL)
    first, second = (crossing.share(kernel, thread, 2) for thread in range(2))
    assert np.flatnonzero(first.writes["y"]).tolist() == [*range(16)]
    assert np.flatnonzero(second.writes["y"]).tolist() == [*range(16, 32)]
    assert np.flatnonzero(second.reads["x"]).tolist() == [*range(20, 36)]
    assert np.flatnonzero(second.reads["w"]).tolist() == [2, 3]
    # the second nest is shared from the other end: its only iteration is the first thread's
    assert np.flatnonzero(first.reads["x"]).tolist() == [0, *range(4, 20)]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_machine_code_writes_what_it_is_said_to(net: Compiled, threads: int) -> None:
    for number, kernel in enumerate(net.lowered.program.kernels):
        for thread in range(threads):
            buffers = operands(kernel)
            run_share(net, number, buffers, thread, threads)
            touched = crossing.share(kernel, thread, threads)
            for param, memory in zip(kernel.params, buffers, strict=True):
                if param.name in kernel.outputs:
                    assert np.array_equal(memory != UNUSED, touched.writes[param.name])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_machine_code_reads_no_more_than_it_is_said_to(net: Compiled, threads: int) -> None:
    for number, kernel in enumerate(net.lowered.program.kernels):
        for thread in range(threads):
            whole, poor = operands(kernel), operands(kernel)
            touched = crossing.share(kernel, thread, threads)
            for param, memory in zip(kernel.params, poor, strict=True):
                if param.name not in kernel.outputs:
                    memory[~touched.reads[param.name]] = np.nan
            run_share(net, number, whole, thread, threads)
            run_share(net, number, poor, thread, threads)
            for one, other, param in zip(whole, poor, kernel.params, strict=True):
                if param.name in kernel.outputs:
                    assert np.array_equal(one, other)


def test_a_line_crosses_once_and_comes_back_when_it_is_written() -> None:
    lines, both = crossing.Lines(256), np.arange(2)
    assert lines.write(both, 0) == 0
    assert lines.read(both, 0) == 0
    assert lines.read(both, 1) == 2
    assert lines.read(both, 1) == 0
    assert lines.write(both[:1], 1) == 1
    assert lines.write(both, 0) == 2
    assert lines.read(np.arange(2, 4), 1) == 0


def test_nothing_crosses_on_one_thread(net: Compiled) -> None:
    traffic = crossing.crossing(net.lowered.program, 1)
    assert all(each.read == each.written == (0,) for each in traffic)


def program_of(net: str) -> Program:
    """The steps of a net on two threads, in blocks of 16 channels."""
    text = f"cnn 1\nnet n {{\n  {net}\n  weights he\n}}\n"
    return cnnc.load_text(text).compile("x86-64-v4", backend="interp", threads=2).lowered.program


def test_a_layer_shared_by_channels_reads_half_its_operand_from_the_other() -> None:
    program = program_of(
        "input x: f32[1, 64, 15, 15]\n  output y = x -> conv(256, 1) -> conv(256, 1)"
    )
    traffic = crossing.crossing(program, 2)
    step = max(range(len(traffic)), key=lambda number: max(traffic[number].read))
    map_bytes = 256 * 15 * 15 * 4
    assert min(traffic[step].read) >= 0.45 * map_bytes
    assert traffic[step].weights[0] > 128 * 256 * 4


def test_of_layers_shared_by_rows_only_those_at_the_edge_cross() -> None:
    *layers, _copy = crossing.crossing(program_of(BY_ROWS), 2)
    copied, row = 64 * 14 * 14 * 4, 384 * 16 * 4  # bytes; one thread alone copies the input
    assert [max(each.read) for each in layers] == [0, copied // 2, row, 0]


def test_zeros_beside_rows_are_written_by_the_thread_that_writes_those() -> None:
    program = program_of(BY_ROWS)
    (kernel,) = [each for each in program.kernels if each.params[-1].size == 384 * 16 * 16]
    for thread, rows in enumerate([[*range(8)], [*range(8, 16)]]):
        written = crossing.share(kernel, thread, 2).writes["y"].reshape(24, 16, 16, 16)
        assert written[:, rows].all()
        assert written.sum() == written.size // 2
