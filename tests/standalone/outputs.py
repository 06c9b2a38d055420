"""Builds that several tests share, and the compilers that take them."""

import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cnnc
from cnnc.api import Model
from cnnc.standalone.build import Built, build
from cnnc.standalone.request import Request
from tests.standalone.networks import FILES
from tests.tools import require_tool

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")


@cache
def model(name: str = "digits") -> Model:
    """One of FILES."""
    return cnnc.load(FILES[name])


def made(folder: Path, *forms: str, name: str = "digits", **wishes: object) -> Built:
    """The forms of a network in a folder, for this machine."""
    return build(model(name), folder, Request(forms=forms, **wishes))  # type: ignore[arg-type]


def compile_c(
    folder: Path, output: str, files: Sequence[str], *flags: str, compiler: str = "gcc"
) -> Path:
    """A program or object; the compiler must be content."""
    require_tool(compiler, package=compiler)
    command = [compiler, *flags, "-o", output, *files]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder / output


def run(program: Path, *args: str) -> str:
    """What a program prints; it must end well."""
    ended = subprocess.run(
        [str(program.resolve()), *args], cwd=program.parent, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
