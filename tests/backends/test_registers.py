"""Register arrays in machine code: what slots hold is known inside a block, and kept beyond it."""

import re

import numpy as np
import pytest

from cnnc.backends.interp.evaluate import run_kernel
from cnnc.backends.native.compile import Form, compile_module, is_vectorised, kernel_source
from cnnc.backends.native.host import host_target
from cnnc.backends.native.targets import named_target
from cnnc.loop.kernel import Kernel, Place, Port, Program, Region, Step
from cnnc.loop.parse import parse_kernel
from cnnc.lowering.lower import flatten_kernel
from tests.backends.compilers import NATIVE

F32 = np.float32
BODIES = {
    "slots known and unknown": """
    register acc: f32[4]
    acc[0] = 1.0
    acc[1] = 2.0
    acc[2] = 3.0
    acc[3] = 4.0
    for j in 4 { acc[j] = acc[j] + x[i] }
    acc[1] = acc[1] + acc[2]
    for j in 4 { y[i, j] = acc[j] }
""",
    "a loop that does not touch a slot": """
    register acc: f32[2]
    acc[0] = x[i]
    acc[1] = x[i] + 1.0
    for j in 3 reduce { acc[0] = acc[0] * 2.0 }
    for j in 4 unrolled { y[i, j] = acc[j % 2] + acc[j // 2] }
""",
    "slots of every turn of an unrolled loop": """
    for j in 4 unrolled {
      register acc: f32[1]
      acc[0] = x[i] + f32(j)
      for r in 2 reduce { acc[0] = acc[0] + acc[0] }
      y[i, j] = acc[0]
    }
""",
    "loops in loops": """
    register acc: f32[2]
    acc[0] = 0.0
    acc[1] = x[i]
    for r in 2 reduce {
      acc[0] = acc[0] + acc[1]
      for s in 3 reduce { acc[1] = acc[1] + 1.0 }
      acc[0] = acc[0] * acc[1]
    }
    for j in 4 unrolled { y[i, j] = acc[0] - acc[1] * f32(j) }
""",
}


def kernel_of(body: str) -> Kernel:
    """For each of three numbers four results."""
    text = f"kernel k {{\n  in x: f32[3]\n  out y: f32[3, 4]\n  for i in 3 {{{body}  }}\n}}\n"
    return flatten_kernel(parse_kernel(text))


@pytest.mark.parametrize("name", BODIES)
def test_slots_keep_what_was_stored(name: str) -> None:
    kernel = kernel_of(BODIES[name])
    x, y, expected = np.array([0.5, -3, 8], F32), np.empty((3, 4), F32), np.empty(12, F32)
    run_kernel(kernel, [x, expected])
    place, kind = Place(Region.INPUT), kernel.params[0].dtype
    step = Step(0, (place, Place(Region.OUTPUT)), barrier=False, layer="k")
    ports = (Port("x", (3,), kind),), (Port("y", (3, 4), kind),)
    program = Program("p", (kernel,), (step,), *ports, (), 0, 0)
    NATIVE.compile(program, host_target(), 1).run([x], [y])
    np.testing.assert_array_equal(y.ravel(), expected)


def test_a_block_reads_and_writes_each_slot_once() -> None:
    body = "register acc: f32[1]\nacc[0] = x[i]\nfor r in 5 reduce { for u in 4 unrolled {"
    kernel = kernel_of(
        f"{body} acc[0] = acc[0] + x[u % 3] }} }}\nfor j in 4 {{ y[i, j] = acc[0] }}"
    )
    source = kernel_source(kernel, host_target())
    (inner,) = [block for block in source.split(":\n") if block.count("fadd") == 4]
    slot = next(line.split(" ")[0] for line in source.splitlines() if "alloca" in line)
    assert len(re.findall(rf"ptr {slot}\b", inner)) == 2


@pytest.mark.parametrize("place", ["j * 2", "j + 4"])
def test_a_vector_in_two_slots_is_an_error(place: str) -> None:
    """A mistake of a schedule, that gives no wrong numbers."""
    text = "kernel k {\n  out y: f32[8]\n  for i in 1 {\n    register acc: f32[16]\n"
    stored = f"for j in 8 vector {{ acc[{place}] = 1.0 }}\n"
    read = f"for j in 8 vector {{ y[j] = acc[{place}] }}\n"
    kernel = parse_kernel(f"{text}{stored}{read}}}\n}}\n")
    with pytest.raises(ValueError, match="acc lies in two of its slots"):
        kernel_source(flatten_kernel(kernel), host_target())


def test_llvm_looks_for_vectors_where_numbers_are_stored() -> None:
    text = "kernel k {{\n  out y: f32[32]\n  for i in 4 {{ {} }}\n}}\n"
    vectors, numbers = (
        flatten_kernel(parse_kernel(text.format(inner)))
        for inner in ("for j in 8 vector { y[i * 8 + j] = 1.0 }", "y[i * 8] = 1.0")
    )
    x86, arm = named_target("x86-64-v3"), named_target("aarch64")
    assert is_vectorised(vectors, x86)
    assert not is_vectorised(numbers, x86)
    assert not is_vectorised(vectors, arm)


def test_all_passes_run_unless_there_are_vectors_already() -> None:
    """LLVM makes vectors of a loop over numbers only where it is asked to."""
    text = "kernel k {\n  in x: f32[64]\n  out y: f32[64]\n  for i in 64 { y[i] = x[i] * 2.0 }\n}\n"
    target = named_target("x86-64-v3")
    source = kernel_source(flatten_kernel(parse_kernel(text)), target)
    found = [
        compile_module(source, target, Form.ASSEMBLY, vectorised=done) for done in (False, True)
    ]
    assert [b"vmulps" in each or b"vaddps" in each for each in found] == [True, False]
