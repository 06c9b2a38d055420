"""Memory that LLVM's own code takes: given back when the code that it made is there."""

import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_DONTNEED = 4
_SMAPS = Path("/proc/self/smaps")
_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (r-[-x]p) \S+ \S+ \d+ +(.*)")


def release_llvm() -> None:
    """Drop the pages of LLVM's library, tens of megabytes, that are as its file has them.

    Whoever calls LLVM again reads them again from the system's copy of the file, at a few
    milliseconds. What this process has freed and glibc still holds for later allocations, ten
    more, goes back to the system as well. Does nothing on other systems than Linux.
    """
    if sys.platform != "linux" or not _SMAPS.exists():
        return
    release_freed()
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, end in _untouched("libllvmlite.so"):
        madvise(start, end - start, _DONTNEED)


def release_freed() -> None:
    """Give back what this process has freed and glibc still holds; nothing with other libraries."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim.argtypes = (ctypes.c_size_t,)
        trim(0)


def _untouched(library: str) -> Iterator[tuple[int, int]]:
    """Read-only parts of a library in memory, none of whose pages differ from the file's."""
    found: tuple[int, int] | None = None
    for line in _SMAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        if head := _HEAD.fullmatch(line):
            found = int(head[1], 16), int(head[2], 16)
            if Path(head[4]).name != library:
                found = None
        elif "-" in line.partition(" ")[0]:  # a part of another kind
            found = None
        elif found and line.split() == ["Anonymous:", "0", "kB"]:
            yield found
