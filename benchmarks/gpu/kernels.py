"""Every hand-written kernel against float64, on the GPU."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from cnnc.backends.cuda.toolchain import Nvcc
from tests.cuda.kernels.cases import all_cases
from tests.cuda.kernels.harness import assert_right, load, operands_of, run, write_sources

SUM_UNIT = 2.0**-21
"""Tensor cores add with fewer bits than float32 rounds to, and cut the rest off."""


def check_kernels(nvcc: Nvcc, arch: int) -> tuple[int, list[str]]:
    """How many kernels there are, and what is wrong with those that are wrong."""
    cases, wrong = all_cases(), []
    with TemporaryDirectory() as folder:
        path = write_sources(Path(folder), [case.kernel for case in cases])
        library = path.with_suffix(".so")
        flags = [
            "-shared",
            "-std=c++17",
            "-O3",
            "--fmad=false",
            f"-arch=sm_{arch}",
            "-Xcompiler",
            "-fPIC",
        ]
        command = [str(nvcc.path), *flags, *nvcc.flags, str(path), "-o", str(library)]
        subprocess.run(command, check=True)
        loaded = load(library)
        for case in cases:
            values = operands_of(case.layer)
            try:
                assert_right(case, run(loaded, case, values, "forward"), values, SUM_UNIT)
            except AssertionError as error:
                wrong.append(f"{case}: {error}")
    return len(cases), wrong
