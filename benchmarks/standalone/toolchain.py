"""Compilers and other programs, run in a folder."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from peers.unsupported import UnsupportedError

FLAGS = ("-O3", "-march=native")
"""For the sources of other generators: as free as the machine allows, rounding as written."""


def run_tool(command: Sequence[str], folder: Path, timeout: float = 300) -> str:
    """What it prints; UnsupportedError if it is not there, fails, or takes too long."""
    name = Path(command[0]).name
    if shutil.which(command[0]) is None:
        raise UnsupportedError(f"{name} is not installed")
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise UnsupportedError(f"{name} takes longer than {timeout:g} s") from None
    if ran.returncode:
        lines = (ran.stdout + ran.stderr).strip().splitlines()
        said = [line for line in lines if "error" in line.lower()] or lines[-1:]
        raise UnsupportedError(f"{name} fails: {said[0][:200] if said else ran.returncode}")
    return ran.stdout


def version_of(tool: str, folder: Path) -> str:
    """The first line of what it says of itself."""
    return run_tool([tool, "--version"], folder).splitlines()[0]
