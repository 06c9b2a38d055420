"""Every kernel on the CPU: right within its bound, and the same bits in any order of threads."""

import ctypes
from pathlib import Path

import pytest

from cnnc.backends.cuda.kernels.igemm_mma import MODES
from tests.cuda.kernels.cases import all_cases
from tests.cuda.kernels.harness import Case, check, compile_kernels
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
    """The swizzle of every tile, of x and of weights, in 32 and in 16 bits."""
    fitting = [case for case in CASES if case.kernel.name.startswith("mma_")]
    check(library, fitting[0], ORDERS[:1])
    library.bank_conflicts.restype = ctypes.c_ulonglong
    assert library.bank_conflicts() == 0


def test_every_tile_of_every_type_is_here() -> None:
    names = " ".join(case.kernel.name for case in CASES)
    tiles = {(mode, str(tile)) for mode in MODES for tile, _ in MODES[mode].menu}
    missing = {each for each in tiles if f"_{each[0]}_{each[1]}_" not in names}
    assert missing == set()
