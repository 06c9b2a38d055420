"""Programs that some tests need and not every machine has."""

import os
import shutil
import sysconfig
from pathlib import Path

import pytest

REQUIRE = "CNNC_REQUIRE_TOOLS"
"""Where this variable is 1, a missing program fails tests that otherwise are skipped."""


def find_tool(name: str) -> Path | None:
    """A program of PATH, of the CUDA toolkit, or of NVIDIA's Python packages."""
    if found := shutil.which(name):
        return Path(found)
    homes = [Path(os.environ[each]) for each in ("CUDA_HOME", "CUDA_PATH") if each in os.environ]
    folders = [home / "bin" for home in homes]
    folders += sorted(Path(sysconfig.get_path("purelib"), "nvidia").glob("*/bin"))
    return next((path for folder in folders if (path := folder / name).is_file()), None)


def require_tool(name: str, package: str) -> Path:
    """The program, or the test is skipped with the package that has it."""
    if found := find_tool(name):
        return found
    missing = f"`{name}` is not here: install {package}"
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(missing)
    pytest.skip(missing)
