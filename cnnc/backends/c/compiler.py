"""The system's C compiler."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from shutil import which

from cnnc.base.errors import InternalError, fail
from cnnc.base.record import record
from cnnc.base.resources import digest_sources
from cnnc.base.store import Store

COMPILERS = ("cc", "gcc", "clang")
"""Where no CC says which one, the first of these that is there."""


@record
class Compiler:
    """A compiler: the words that call it, and what it says of its version."""

    command: tuple[str, ...]
    version: str


def find_compiler() -> Compiler:
    """The one that CC names, or else the first of COMPILERS; a user's error where there is none."""
    return _find(os.environ.get("CC", ""))


@cache
def _find(named: str) -> Compiler:
    commands = [tuple(shlex.split(named))] if named.strip() else [(name,) for name in COMPILERS]
    for command in commands:
        if which(command[0]):
            return Compiler(command, _version(command))
    looked = f"`{named}`, which CC names" if named.strip() else ", ".join(COMPILERS)
    raise fail(
        "E0802",
        f"the backend `c` needs a C compiler; there is no {looked}",
        help="install one (on Debian: `apt install gcc`), or say where it is: `CC=/path/to/cc`",
    )


def _version(command: tuple[str, ...]) -> str:
    made = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    return made.stdout.partition("\n")[0]


def compile_library(
    files: dict[str, str], main: str, flags: Sequence[str], store: Store | None
) -> bytes:
    """A shared library of one of these files, which includes the others; kept by its contents."""
    compiler = find_compiler()
    words = [*compiler.command, *flags, "-fPIC", "-shared", "-pthread", "-fvisibility=hidden"]
    facts = [compiler.version, digest_sources("backends/c"), *words, *files.values()]
    key = sha256("\0".join(facts).encode()).hexdigest()
    code = store.get(key) if store else None
    if code is None:
        code = _compile(files, main, words)
        if store:
            store.put(key, code)
    return code


def _compile(files: dict[str, str], main: str, words: Sequence[str]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="cnnc-") as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        made = subprocess.run(
            [*words, "-o", "net.so", main],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if made.returncode:
            message = f"`{shlex.join(words)}` refuses what the backend wrote:\n{made.stderr[:2000]}"
            raise InternalError(message, stage="c")
        return (folder / "net.so").read_bytes()
