"""The system's C compiler."""

import os
import shlex
import tempfile
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from subprocess import CompletedProcess

from cnnc.base.compiler import find_tool, last_lines, run_tool
from cnnc.base.errors import InternalError, UserError, fail
from cnnc.base.resources import digest_sources
from cnnc.base.store import Store

COMPILERS = ("cc", "gcc", "clang")
"""Where no CC says which one, the first of these that is there."""
HELP = "install one (on Debian: `apt install gcc`), or say where it is: `CC=/path/to/cc`"
_PROBE = """#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
int cnnc_probe(void);
int cnnc_probe(void) { return 0; }
"""
"""What every compiler makes a library of that the backend can use."""


def find_compiler() -> tuple[str, ...]:
    """The words that call it: what CC names, or else the first of COMPILERS.

    UserError where there is none.
    """
    named = os.environ.get("CC")
    return find_tool(COMPILERS, named, needs="the backend `c`", help=HELP)


def compile_library(
    files: dict[str, str], main: str, flags: Sequence[str], store: Store | None
) -> bytes:
    """A shared library of one of these files, which includes the others; kept by its contents.

    UserError where the compiler cannot make even a trivial library with these flags.
    """
    command = find_compiler()
    words = [*command, *flags, "-fPIC", "-shared", "-pthread", "-fvisibility=hidden"]
    facts = [_version(command), digest_sources("backends/c"), *words, *files.values()]
    key = sha256("\0".join(facts).encode(errors="replace")).hexdigest()
    code = store.get(key) if store else None
    if code is None:
        code = _compile(files, main, words)
        if store:
            store.put(key, code)
    return code


def unusable(command: str, why: str, notes: tuple[str, ...]) -> UserError:
    """That the compiler is not one for this machine and these flags."""
    return fail("E0802", f"the C compiler `{command}` {why}", notes=notes, help=_help())


def _help() -> str:
    named = os.environ.get("CC", "")
    if not named.strip():
        return HELP
    return f"CC names it (`{named}`): name one for this machine, or leave CC empty"


@cache
def _version(command: tuple[str, ...]) -> str:
    """The first line that it says of itself, if any: one that knows no `--version` may do."""
    done = run_tool([*command, "--version"], Path.cwd(), check=False, seconds=60, help=_help())
    return done.stdout.partition("\n")[0]


def _compile(files: dict[str, str], main: str, words: Sequence[str]) -> bytes:
    done, code = _make(files, main, words)
    if code is not None:
        return code
    probed, made = _make({"probe.c": _PROBE}, "probe.c", words)
    if made is None:
        why = "cannot make a library with the options that the backend `c` needs"
        raise unusable(words[0], why, (shlex.join(words), *last_lines(probed)))
    said = done.stderr[:2000] or f"it ends with status {done.returncode} and makes no file"
    message = f"`{shlex.join(words)}` refuses what the backend wrote:\n{said}"
    raise InternalError(message, stage="c")


def _make(
    files: dict[str, str], main: str, words: Sequence[str]
) -> tuple[CompletedProcess[str], bytes | None]:
    """What the compiler says, and the library if it makes one."""
    with tempfile.TemporaryDirectory(prefix="cnnc-") as name:
        folder, library = Path(name), Path(name) / "net.so"
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        done = run_tool([*words, "-o", library.name, main], folder, check=False, help=_help())
        is_made = done.returncode == 0 and library.is_file()
        return done, library.read_bytes() if is_made else None
