"""Projects build as they are, and their own tests pass."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cnnc
from cnnc.standalone.weights_source import LARGEST_ARRAY
from tests.standalone.outputs import STRICT, compile_c, made, run
from tests.tools import require_tool


def make(folder: Path, *args: str) -> str:
    """What `make` prints; it must end well."""
    require_tool("make", package="make")
    # flags of the build that runs the tests are none of the project's
    environment = {k: v for k, v in os.environ.items() if k not in ("CC", "CFLAGS", "MAKEFLAGS")}
    ended = subprocess.run(
        ["make", "-s", *args], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("weights", ["builtin", "external"])
def test_its_test_passes(compiler: str, weights: str, tmp_path: Path) -> None:
    """With weights from the assembler, and with weights from a file."""
    require_tool(compiler, package=compiler)
    made(tmp_path, "project", weights=weights)
    assert "PASSED" in make(tmp_path, "test", f"CC={compiler}")
    assert "logits:" in run_example(tmp_path, compiler)
    make(tmp_path, "clean")
    assert not list(tmp_path.glob("*.o"))


def run_example(folder: Path, compiler: str) -> str:
    """What the example prints of an input of zeros."""
    make(folder, "all", f"CC={compiler}")
    (folder / "zeros.bin").write_bytes(bytes(256))
    assert run(folder / "example", "zeros.bin") == run(folder / "example")
    return run(folder / "example")


def test_its_test_fails_where_the_code_is_wrong(tmp_path: Path) -> None:
    """A wrong golden value is found, and so is an input that was cut off."""
    require_tool("gcc", package="gcc")
    made(tmp_path, "project", name="sunspots")
    golden = tmp_path / "golden.bin"
    data = bytearray(golden.read_bytes())
    data[-65] ^= 0x40  # an exponent of what is expected, before sixteen tolerances
    golden.write_bytes(data)
    make(tmp_path, "test_sunspots")
    for content in (bytes(data), bytes(data[:-1])):
        golden.write_bytes(content)
        ended = subprocess.run(["./test_sunspots"], cwd=tmp_path, capture_output=True, text=True)
        assert ended.returncode == 1
        assert "FAILED" in ended.stdout


def test_cross_compilers_build_it(tmp_path: Path) -> None:
    """The README's command for another machine, which runs its programs."""
    require_tool("aarch64-linux-gnu-gcc", package="gcc-aarch64-linux-gnu")
    require_tool("qemu-aarch64", package="qemu-user")
    made(tmp_path, "project", target="aarch64")
    printed = make(
        tmp_path, "test", "CC=aarch64-linux-gnu-gcc", "LDFLAGS=-static", "RUN=qemu-aarch64"
    )
    assert "PASSED" in printed


def test_cmake_builds_it(tmp_path: Path) -> None:
    """And runs its test."""
    require_tool("cmake", package="cmake")
    made(tmp_path, "project", name="sunspots")
    for command in (
        ["cmake", "-B", "build"],
        ["cmake", "--build", "build"],
        ["ctest", "--test-dir", "build"],
    ):
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("batch", [1, (1, 3)])
def test_no_compiler_warns(compiler: str, batch: int | tuple[int, int], tmp_path: Path) -> None:
    """Every file in C, also where samples are an argument."""
    from cnnc.standalone.build import build
    from cnnc.standalone.request import Request
    from tests.standalone.outputs import model

    which = model("sunspots").with_batch(batch)
    build(which, tmp_path, Request(forms=("project", "pool"), target="x86-64-v3"))
    flags = (*STRICT, "-O1", "-march=x86-64-v3", "-c")
    for path in sorted(tmp_path.glob("*.c")):
        compile_c(tmp_path, "out.o", [path.name], *flags, compiler=compiler)


ODD = """cnn 1
net odd {
  input file: f32[N, 3, 9]
  input NULL: f32[N, 3, 9]
  input size_t: f32[N, 3, 9]
  input np: f32[N, 3, 9]
  input lambda: f32[N, 3, 9]
  out = file + NULL + size_t + np + lambda -> conv(4, 3) -> relu
  f32x8 = out -> conv(3, 3) -> sigmoid
  errno = out -> exp
  output out, f32x8, errno
  output scratch = out -> softmax
  weights he(seed = 1)
}
"""


def test_names_that_programs_use_themselves(tmp_path: Path) -> None:
    """Of C, of its headers, of the generated code, and of Python."""
    require_tool("gcc", package="gcc")
    built = cnnc.build(cnnc.load_text(ODD), tmp_path, ["project", "py"], target="x86-64-v3")
    assert "PASSED" in make(tmp_path, "test")
    run_tool = ["gcc", *STRICT, "-O1", "-march=x86-64-v3", "-c", "odd.c", "-o", "strict.o"]
    subprocess.run(run_tool, cwd=tmp_path, check=True)
    zeros = "np.zeros((1, 3, 9), np.float32)"
    code = f"import odd, numpy as np; print(odd.run({', '.join([zeros] * 5)})._fields)"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert said.stdout == "('out', 'f32x8', 'errno_', 'scratch')\n"
    assert built.sizes.ram


def test_small_weights_are_an_array_and_large_ones_a_file(tmp_path: Path) -> None:
    """A compiler reads some tens of kilobytes of numbers quickly, and not megabytes."""
    small, large = made(tmp_path / "small", "c", name="sunspots"), made(tmp_path / "large", "c")
    assert small.sizes.weights <= LARGEST_ARRAY < large.sizes.weights
    assert "incbin" not in (tmp_path / "small" / "sunspots_weights.c").read_text()
    source = tmp_path / "large" / "digits_weights.c"
    assert ".incbin" in source.read_text()
    assert source.stat().st_size < 4096


def test_the_header_is_for_cpp_too(tmp_path: Path) -> None:
    """Functions have C's names there, and enumerations and constants work."""
    require_tool("g++", package="g++")
    made(tmp_path, "obj", "pool")
    (tmp_path / "main.cpp").write_text(
        """#include <cstdio>
#include <vector>
#include "digits_pool.h"
alignas(DIGITS_ALIGNMENT) static unsigned char arena[DIGITS_ARENA_BYTES];
static const int shape[DIGITS_IMAGE_RANK] = DIGITS_IMAGE_SHAPE;
int main() {
  std::vector<float> image(DIGITS_IMAGE_SIZE), logits(10), prob(10);
  const digits_weights *weights = digits_weights_builtin();
  int status = digits_run(weights, arena, image.data(), logits.data(), prob.data());
  std::printf("%s %d %d", digits_strerror(status), shape[3], status == DIGITS_OK);
}
"""
    )
    flags = ("-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
    files = ["main.cpp", "digits.o", "digits_weights.o"]
    program = compile_c(tmp_path, "main", files, *flags, compiler="g++")
    assert run(program) == "all is well 8 1"
