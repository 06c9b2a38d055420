"""Operators on the backend `c`, on targets with vectors and without, and its own square roots."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cnnc import driver
from cnnc.backends.c.helpers import Preamble
from cnnc.base.dtype import DType
from cnnc.base.target import Target
from tests.backends.compilers import C, Compiled
from tests.backends.support import assert_within, run, single
from tests.backends.test_operators import (
    test_special_values_come_out_as_in_the_reference as check_special_values,
)
from tests.ops.cases import CASES, Case
from tests.tools import require_tool


def library(folder: Path, body: str, preamble: Preamble, *flags: str) -> ctypes.CDLL:
    """Functions behind a preamble, without the instructions of x86."""
    gcc = require_tool("gcc", package="gcc")
    head = "#include <stddef.h>\n#include <stdint.h>\n"
    (folder / "x.c").write_text(f"{head}{preamble.text}\n{body}\n", encoding="utf-8")
    words = [gcc, "-std=c99", "-O1", "-U__SSE2__", "-fPIC", "-shared", *flags, "x.c", "-o", "x.so"]
    subprocess.run(words, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "x.so"))


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64], ids=str)
def test_square_roots_without_instructions_are_rounded_right(dtype: DType, tmp_path: Path) -> None:
    preamble = Preamble()
    name, kind = preamble.call("sqrt", dtype), "float" if dtype is DType.F32 else "double"
    body = (
        f"void all(const {kind} *x, {kind} *y, size_t n)\n"
        f"{{\n    for (size_t i = 0; i < n; i++) {{\n        y[i] = {name}(x[i]);\n    }}\n}}"
    )
    made = library(tmp_path, body, preamble)
    bits = np.uint32 if dtype is DType.F32 else np.uint64
    random = np.random.default_rng(0)
    x = random.integers(0, np.iinfo(bits).max, 200_000, dtype=bits).view(dtype.numpy)
    special = [0.0, -0.0, 1.0, 4.0, 2.0, np.inf, -np.inf, np.nan, -1.0, np.finfo(x.dtype).max]
    smallest = np.finfo(x.dtype).smallest_subnormal
    x = np.concatenate([x, np.array([*special, smallest, 3 * smallest], x.dtype)])
    y = np.empty_like(x)
    made.all(*(ctypes.c_void_p(each.ctypes.data) for each in (x, y)), ctypes.c_size_t(len(x)))
    with np.errstate(all="ignore"):
        exact = np.sqrt(x)
    np.testing.assert_array_equal(y, exact)
    np.testing.assert_array_equal(np.signbit(y[x == 0]), np.signbit(exact[x == 0]))


@pytest.mark.parametrize("case", CASES[1::3], ids=str)
def test_special_values_come_out_as_in_the_reference(case: Case) -> None:
    check_special_values(case, C, "native")


@pytest.mark.parametrize("case", CASES[::9], ids=str)
def test_operators_without_vectors_agree_with_the_reference(case: Case) -> None:
    """What is written for a machine without vectors is C99 that runs on every machine."""
    target = driver.find_target("riscv64")
    split = len(case.operands) - len(case.parameters)
    data, parameters = case.operands[:split], case.operands[split:]
    out = run(single(case.op, data, parameters), data, _Narrow(), target, threads=2)[0]
    assert_within(case.op, out, case.op.reference(*case.operands), case.operands)


@pytest.mark.parametrize("case", CASES[4::40], ids=str)
def test_operators_in_vectors_of_several_registers_agree_with_the_reference(case: Case) -> None:
    """What is written for vectors of 512 bits is right where a register has 128."""
    wide = driver.find_target("x86-64-v4")
    split = len(case.operands) - len(case.parameters)
    data, parameters = case.operands[:split], case.operands[split:]
    narrow = _Narrow()
    out = run(single(case.op, data, parameters), data, narrow, wide)[0]
    assert_within(case.op, out, case.op.reference(*case.operands), case.operands)


class _Narrow(Compiled):
    """The backend with the options of another target."""

    def flags(self, target: Target) -> tuple[str, ...]:
        """Those of the oldest processors."""
        return super().flags(driver.find_target("x86-64"))
