"""Libraries, objects and the Python module: they run, share programs, and show what they should."""

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cnnc import UserError
from tests.standalone.networks import subject
from tests.standalone.outputs import STRICT, compile_c, made, model, run
from tests.tools import require_tool

CODE = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import {name} as network
given = np.load(sys.argv[2])
outputs = network.run(*(given[name] for name in given))
np.savez(sys.argv[3], **outputs._asdict())
"""


def symbols(path: Path, *flags: str) -> set[tuple[str, str]]:
    """Kind and name of each symbol, as `nm` says."""
    require_tool("nm", package="binutils")
    said = subprocess.run(["nm", *flags, path], capture_output=True, text=True, check=True).stdout
    return {(line.split()[-2], line.split()[-1]) for line in said.splitlines() if line.strip()}


@pytest.mark.parametrize("weights", ["builtin", "external"])
@pytest.mark.parametrize("name", ["digits", "sunspots"])
def test_the_module_computes_what_the_reference_does(
    name: str, weights: str, tmp_path: Path
) -> None:
    """In a process of its own that never loads cnnc."""
    require_tool("gcc", package="gcc")
    made(tmp_path, "py", name=name, weights=weights)
    which = subject(name)
    np.savez(tmp_path / "in.npz", **which.inputs)
    code = CODE.format(name=name) + "assert not any(m.startswith('cnnc') for m in sys.modules)\n"
    paths = [str(tmp_path / each) for each in ("", "in.npz", "out.npz")]
    subprocess.run([sys.executable, "-I", "-c", code, *paths], check=True)
    with np.load(tmp_path / "out.npz") as outputs:
        for output, value in outputs.items():
            found = which.expected.measure(output, value)
            assert found.ok, found


def test_the_module_refuses_what_does_not_fit(tmp_path: Path) -> None:
    """Shapes, element types, weights of another network."""
    require_tool("gcc", package="gcc")
    made(tmp_path, "py", "weights", name="sunspots")
    data = bytearray((tmp_path / "sunspots.weights").read_bytes())
    data[9] ^= 1
    (tmp_path / "other.weights").write_bytes(data)
    (tmp_path / "short.weights").write_bytes(data[:-1])
    code = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import sunspots as network
zeros = np.zeros(network.SERIES_SHAPE, np.float32)
outputs = network.run(zeros)
again = network.run(zeros, weights=network.Weights(sys.argv[1] + "/sunspots.weights"))
assert all((a == b).all() for a, b in zip(outputs, again))
for wrong in (zeros.astype(np.float64), zeros[..., 1:], zeros[0]):
    try:
        network.run(wrong)
    except ValueError as error:
        assert "series is float32" in str(error), error
    else:
        raise AssertionError
for file in ("other", "short"):
    try:
        network.Weights(f"{sys.argv[1]}/{file}.weights")
    except network.SunspotsError as error:
        print(error)
"""
    said = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    first, second = said.stdout.splitlines()
    assert "are not of one build" in first
    assert "SUNSPOTS_WEIGHTS_BYTES" in second


def test_a_module_for_a_range_of_samples(tmp_path: Path) -> None:
    """Any number of them up to the batch."""
    require_tool("gcc", package="gcc")
    from cnnc.standalone.build import build
    from cnnc.standalone.request import Request

    build(model("digits").with_batch((1, 5)), tmp_path, Request(forms=("py",)))
    sys.path.insert(0, str(tmp_path))
    try:
        import digits  # type: ignore[import-not-found]

        random = np.random.default_rng(0)
        images = random.normal(size=(5, 1, 8, 8)).astype(np.float32)
        whole = digits.run(images)
        assert whole.prob.shape == (5, 10)
        for samples in (1, 2, 4):
            assert (digits.run(images[:samples]).prob == whole.prob[:samples]).all()
        with pytest.raises(ValueError, match="image is float32"):
            digits.run(np.zeros((6, 1, 8, 8), np.float32))
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("digits", None)


def test_only_the_interface_is_seen(tmp_path: Path) -> None:
    """A library shows its functions; an object asks for nothing but memory being cleared."""
    require_tool("gcc", package="gcc")
    made(tmp_path, "so", "obj", "a", "pool")
    shown = {name for kind, name in symbols(tmp_path / "libdigits.so", "-D") if kind in "TRDB"}
    verbs = ["run", "run_part", "strerror", "weights_open", "weights_builtin"]
    verbs += ["pool_create", "pool_destroy", "pool_threads", "pool_run"]
    assert shown == {f"digits_{verb}" for verb in verbs}
    asked = {name for kind, name in symbols(tmp_path / "digits.o") if kind == "U"}
    assert asked <= {"memset", "memcpy", "memmove", "digits_weights_data"}
    assert not [name for kind, name in symbols(tmp_path / "digits.o") if kind in "dDbBC"]


POOL = """
#include <stdio.h>
#include <string.h>
#include "digits_pool.h"
static unsigned char arena[DIGITS_ARENA_BYTES_FOR(4)] __attribute__((aligned(DIGITS_ALIGNMENT)));
int main(void) {
  float image[DIGITS_IMAGE_SIZE], logits[2][DIGITS_LOGITS_SIZE], prob[DIGITS_PROB_SIZE];
  const digits_weights *weights = digits_weights_builtin();
  for (size_t i = 0; i < DIGITS_IMAGE_SIZE; i++) image[i] = (float)(i % 5);
  if (digits_run(weights, arena, image, logits[0], prob)) return 1;
  for (int threads = 1; threads <= 4; threads++) {
    digits_pool *pool = digits_pool_create(threads);
    if (pool == NULL || digits_pool_threads(pool) != threads) return 2;
    for (int i = 0; i < 300; i++) {
      memset(logits[1], 255, sizeof logits[1]);
      if (digits_pool_run(pool, weights, arena, image, logits[1], prob)) return 3;
      if (memcmp(logits[0], logits[1], sizeof logits[0])) return 4;
    }
    if (digits_pool_run(pool, NULL, arena, image, logits[1], prob) != DIGITS_NULL_POINTER) return 5;
    if (digits_pool_run(pool, weights, arena, image, logits[1], prob)) return 6;
    digits_pool_destroy(pool);
  }
  if (digits_pool_create(0) != NULL) return 7;
  puts("well");
  return 0;
}
"""


@pytest.mark.parametrize("form", ["c", "obj"])
def test_threads_change_no_bit(form: str, tmp_path: Path) -> None:
    """A pool of one to four threads, for code that splits layers among them."""
    made(tmp_path, form, "pool", threads=4, target="x86-64-v3" if form == "c" else "native")
    (tmp_path / "main.c").write_text(POOL)
    ending = ".c" if form == "c" else ".o"
    files = ["main.c", "digits_pool.c", f"digits{ending}", f"digits_weights{ending}"]
    flags = (*STRICT, "-D_GNU_SOURCE", "-O1", "-pthread", *(["-march=x86-64-v3"] * (form == "c")))
    assert run(compile_c(tmp_path, "main", files, *flags)) == "well\n"


def test_networks_share_a_program(tmp_path: Path) -> None:
    """Two networks, and one of them under another name: no symbol clashes."""
    made(tmp_path, "a")
    made(tmp_path, "a", name="sunspots")
    from cnnc.standalone.build import build
    from cnnc.standalone.request import Request

    build(model("digits"), tmp_path, Request(forms=("a",), name="other"))
    (tmp_path / "main.c").write_text(
        """#include <stdio.h>
#include "digits.h"
#include "other.h"
#include "sunspots.h"
int main(void) {
  printf("%d ", digits_weights_builtin() != NULL && other_weights_builtin() != NULL);
  printf("%d ", DIGITS_HASH == OTHER_HASH);
  puts(sunspots_strerror(sunspots_run(sunspots_weights_builtin(), NULL, NULL, NULL)));
}
"""
    )
    libraries = ["libdigits.a", "libother.a", "libsunspots.a"]
    program = compile_c(tmp_path, "main", ["main.c", *libraries], "-Wall", "-Werror")
    assert run(program) == "1 1 a pointer is NULL\n"


def test_one_library_for_all_levels(tmp_path: Path) -> None:
    """x86-64 to AVX-512 in one file; this machine takes what it has."""
    require_tool("gcc", package="gcc")
    name = "x86-64:x86-64-v2,x86-64-v3,x86-64-v4"
    made(tmp_path, "so", name="sunspots", target=name)
    library = ctypes.CDLL(str(tmp_path / "libsunspots.so"))
    library.sunspots_strerror.restype = ctypes.c_char_p
    assert library.sunspots_strerror(0) == b"all is well"
    for form, words in (("c", "one processor"), ("asm", "one processor")):
        with pytest.raises(UserError, match=words):
            made(tmp_path, form, name="sunspots", target=name)
    which = subject("sunspots")
    series = which.inputs["series"]
    for weights in ("builtin", "external"):
        folder = tmp_path / weights
        made(folder, "py", name="sunspots", target=name, weights=weights)
        np.savez(folder / "in.npz", series=series)
        paths = [str(folder / each) for each in ("", "in.npz", "out.npz")]
        code = CODE.format(name="sunspots")
        subprocess.run([sys.executable, "-I", "-c", code, *paths], check=True)
        with np.load(folder / "out.npz") as outputs:
            assert which.expected.measure("forecast", outputs["forecast"]).ok


def test_a_library_of_webassembly(tmp_path: Path) -> None:
    """It runs in Node; C source says that its weights cannot be included there."""
    node, _ = require_tool("node", "nodejs"), require_tool("wasm-ld", "lld")
    clang = require_tool("clang", package="clang")
    built = made(tmp_path, "so", "c", target="wasm32-simd")
    assert "digits.wasm" in built.files
    script = """
const module = new WebAssembly.Module(require("fs").readFileSync("digits.wasm"));
const call = new WebAssembly.Instance(module, {}).exports;
const at = call.digits_strerror(call.digits_run(0, 0, 0, 0, 0));
const bytes = new Uint8Array(call.memory.buffer, at);
console.log(Buffer.from(bytes.subarray(0, bytes.indexOf(0))).toString());
"""
    said = subprocess.run(
        [node, "-e", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said.stdout == "a pointer is NULL\n"
    command = [clang, "--target=wasm32", "-c", "digits_weights.c", "-ffreestanding"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "includes no files" in refused.stderr


def test_code_that_is_freestanding(tmp_path: Path) -> None:
    """No library at all behind C source and object: the program ends by a call of the system."""
    made(tmp_path, "c", "obj", name="sunspots", target="x86-64-v3")
    (tmp_path / "main.c").write_text(
        """#include "sunspots.h"
void *memset(void *to, int byte, size_t n) {
  for (size_t i = 0; i < n; i++) { ((volatile char *)to)[i] = (char)byte; }
  return to;
}
void *memcpy(void *to, const void *from, size_t n) {
  for (size_t i = 0; i < n; i++) { ((volatile char *)to)[i] = ((const char *)from)[i]; }
  return to;
}
static unsigned char arena[SUNSPOTS_ARENA_BYTES] __attribute__((aligned(64)));
static float series[SUNSPOTS_SERIES_SIZE], out[SUNSPOTS_FORECAST_SIZE];
void _start(void) {
  __asm__ volatile("and $-64, %rsp");
  long status = sunspots_run(sunspots_weights_builtin(), arena, series, out);
  __asm__ volatile("syscall" : : "a"(60L), "D"(status) : "memory");
  __builtin_unreachable();
}
"""
    )
    flags = ("-O2", "-ffreestanding", "-nostdlib", "-static", "-march=x86-64-v3", "-fno-builtin")
    for ending in ("c", "o"):
        files = ["main.c", f"sunspots.{ending}", f"sunspots_weights.{ending}"]
        run(compile_c(tmp_path, f"main_{ending}", files, *flags))
