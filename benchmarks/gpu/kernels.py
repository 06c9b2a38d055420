"""Every hand-written kernel against float64, on the GPU."""

import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from gpu.machine import Machine
from tests.cuda.kernels.cases import all_cases
from tests.cuda.kernels.harness import Case, assert_right, load, operands_of, run, write_sources

SUM_UNIT = 2.0**-21
"""Tensor cores add with fewer bits than float32 rounds to, and cut the rest off."""
FEW = 12
"""Of the kernels, every such one on the CPU."""
PARTS = 12
"""Files that are compiled side by side."""


def check_kernels(machine: Machine) -> tuple[int, list[str]]:
    """How many kernels there are, and what is wrong with those that are wrong."""
    cases, wrong = all_cases()[:: FEW if machine.is_dry else 1], list[str]()
    parts = [part for start in range(PARTS) if (part := cases[start::PARTS])]
    with TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        folders = [Path(folder, str(number)) for number in range(len(parts))]
        libraries = list(pool.map(partial(_library, machine), folders, parts))
        for part, library in zip(parts, libraries, strict=True):
            loaded = load(library)
            wrong += [found for case in part if (found := _fault(loaded, case))]
    return len(cases), wrong


def _library(machine: Machine, folder: Path, cases: Sequence[Case]) -> Path:
    folder.mkdir()
    path = write_sources(folder, [case.kernel for case in cases])
    return machine.compile(path, path.with_suffix(".so"), ["-shared"])


def _fault(library: ctypes.CDLL, case: Case) -> str:
    """What is wrong, nothing if it is right."""
    values = operands_of(case.layer)
    try:
        assert_right(case, run(library, case, values, "forward"), values, SUM_UNIT)
    except AssertionError as error:
        return f"{case}: {error}"
    return ""
