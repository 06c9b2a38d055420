"""Every kernel on the CPU: right within its bound, and the same bits in any order of threads."""

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest

from cnnc.backends.cuda.kernels import igemm_ffma, igemm_mma, stem_mma
from cnnc.backends.cuda.kernels.igemm_mma import MODES
from tests.cuda.kernels.cases import all_cases, layer, tile_text, tiles_of
from tests.cuda.kernels.harness import Case, case, check, compile_kernels, operands_of, run
from tests.cuda.shim import SANITIZE
from tests.tools import require_tool

ORDERS = ("forward", "reverse", "shuffled:1")
CASES = all_cases()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """All kernels, compiled with checks of undefined behaviour."""
    require_tool("g++", "g++")
    folder: Path = tmp_path_factory.mktemp("kernels")
    return compile_kernels(folder, [case.kernel for case in CASES], ("-O1", *SANITIZE))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_are_right_in_every_order(library: ctypes.CDLL, case: Case) -> None:
    check(library, case, ORDERS)


def test_fragments_are_loaded_without_bank_conflicts(library: ctypes.CDLL) -> None:
    """The swizzle of every tile of every type: of one layer each, whatever ran before."""
    library.bank_conflicts.restype = ctypes.c_ulonglong
    chosen = {re.sub("mma_[a-z]+_|_[0-9]$", "", e.kernel.name): e for e in CASES if is_mma(e)}
    assert len(chosen) > sum(len(mode.menu) for mode in MODES.values())
    before = library.bank_conflicts()
    for each in chosen.values():
        check(library, each, ORDERS[:1])
    assert library.bank_conflicts() == before


def is_mma(case: Case) -> bool:
    """Whether fragments are loaded for tensor cores."""
    return case.kernel.name.startswith("mma_")


def test_long_sums_are_as_exact_as_in_float32(tmp_path: Path) -> None:
    """Though tensor cores cut off what float32 rounds: of few products each, not of the sum."""
    require_tool("g++", "g++")
    text = layer("x: f32[N, 4608]", "dense(16, bias = false)")
    ours = case("ours", text, "f32", igemm_mma.offer, 9)
    exact = case("exact", text, "f32_exact", igemm_ffma.offer, 9)
    library = compile_kernels(tmp_path, [ours.kernel, exact.kernel])
    values = [np.abs(each) for each in operands_of(ours.layer)]
    wide = [each.astype(np.float64) for each in values]
    expected = wide[0] @ wide[1].T
    errors = []
    for each in (ours, exact):
        found = run(library, each, values, "forward").reshape(expected.shape)
        errors.append(np.max(np.abs(found / expected - 1)))
    assert errors[0] <= errors[1] < 1e-5


@pytest.mark.parametrize("precision", stem_mma.PRECISIONS)
def test_infinite_pixels_beside_a_window_do_not_count(tmp_path: Path, precision: str) -> None:
    """Fragments have pixels behind a window's row, and channels that there are not."""
    require_tool("g++", "g++")
    text = layer("x: f32[N, 3, 23, 40]", "conv(16, 7, stride = 2, pad = 3, bias = false)")
    subject = case("k", text, precision, stem_mma.offer, 1)
    library = compile_kernels(tmp_path, [subject.kernel])
    values = operands_of(subject.layer)
    values[0][0, 1, 11, 19] = np.inf
    with np.errstate(invalid="ignore"):
        expected = np.isfinite(subject.layer.node.op.reference(*values))
    assert not expected.all()
    found = run(library, subject, values, "forward").reshape(expected.shape)
    assert (np.isfinite(found) == expected).all()


def test_every_tile_of_every_type_is_here() -> None:
    names = " ".join(case.kernel.name for case in CASES)
    tiles = {(mode, tile_text(tile)) for mode in MODES for tile in tiles_of(mode)}
    missing = {each for each in tiles if f"_{each[0]}_{each[1]}_" not in names}
    assert missing == set()
