"""Compilers and linkers of the system: found by name, run with a limit of time."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from shutil import which

from cnnc.base.errors import fail

SECONDS = 600
"""How long a tool may take."""
_LINES = 20


def find_tool(
    names: Sequence[str], named: str | None, *, needs: str, help: str, by: str = "CC"
) -> tuple[str, ...]:
    """The words that call a tool: those `named`, or else the first of `names` that is there.

    The first word is an absolute path, so the tool is the same one in every folder. UserError where
    there is none: it says what `needs` the tool, and `by` is what names it.
    """
    if named is None or not named.strip():
        for name in names:
            if path := which(name):
                return (os.path.abspath(path),)
        looked = " or ".join(f"`{name}`" for name in names)
        raise fail("E0802", f"{needs} needs {looked}, which is not installed", help=help)
    try:
        first, *rest = shlex.split(named) or [""]
    except ValueError as error:
        notes = (f"{by} is `{named}`",)
        raise fail("E0802", f"{by} is malformed: {error}", notes=notes, help=help) from None
    path = which(first)
    if path is None:
        message = f"{needs} needs `{first}`, which {by} names and which is not there"
        raise fail("E0802", message, help=help)
    return (os.path.abspath(path), *rest)


def run_tool(
    command: Sequence[str],
    folder: Path,
    *,
    check: bool = True,
    seconds: float = SECONDS,
    help: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a compiler or linker in a folder; what it says is text, whatever it is encoded in.

    UserError where it cannot be started or takes too long, and with `check` where it fails.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"`{command[0]}` takes longer than {seconds:g} seconds"
        raise fail("E0802", message, notes=_call(command), help=help) from None
    except OSError as error:
        said = (error.strerror or str(error),)
        raise fail("E0802", f"`{command[0]}` cannot be run", notes=said, help=help) from None
    if check and done.returncode:
        message = f"`{command[0]}` ended with status {done.returncode}"
        notes = (*_call(command), *last_lines(done))
        raise fail("E0802", message, notes=notes, help=help)
    return done


def last_lines(done: subprocess.CompletedProcess[str]) -> tuple[str, ...]:
    """The end of what a tool says."""
    return tuple((done.stderr or done.stdout).strip().splitlines()[-_LINES:])


def _call(command: Sequence[str]) -> tuple[str, ...]:
    return (f"called as `{shlex.join(command)}`",)
