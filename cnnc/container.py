"""Files of blobs: a fixed head, a header in JSON, then bytes. Nothing in them is ever unpickled.

The head is 64 bytes: the magic text, the format (u32), zeros, the header's bytes (u64), the file's
bytes (u64), the header's SHA-256; numbers are little-endian. The header's `blobs` lists length and
SHA-256 of each blob; they follow in order, each at the next multiple of ALIGNMENT. Every sum is
checked before what it stands for is used.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnnc.base.errors import UserError, fail
from cnnc.base.record import record
from cnnc.base.report import Json
from cnnc.files import replace_file
from cnnc.loop.kernel import align
from cnnc.memory import aligned

MAGIC = b"\x89CNNC\r\n\x1a"
MAX_HEADER = 64 << 20
_HEAD = struct.Struct("<8sIIQQ32s")
Bytes = NDArray[np.uint8]


class UnsoundError(Exception):
    """What is read is not what it says it is; the text says why, for a note."""


@record
class Container:
    """A file's header and its blobs, each aligned in memory.

    The first blob is memory that is not read yet: `fill` reads it, or raises UserError.
    """

    header: Mapping[str, Json]
    blobs: tuple[Bytes, ...]
    fill: Callable[[], None]


def write_container(
    path: Path, version: int, header: Mapping[str, Json], blobs: Sequence[bytes | Bytes]
) -> None:
    """Write the file whole; its bytes depend on nothing but the arguments."""
    views = [np.frombuffer(blob, np.uint8) for blob in blobs]
    sizes = [{"bytes": len(view), "sha256": sha256(view.data).hexdigest()} for view in views]
    text = json.dumps({**header, "blobs": sizes}, ensure_ascii=False, allow_nan=False).encode()
    places = _places(_HEAD.size + len(text), [len(view) for view in views])
    end = places[-1] + len(views[-1]) if views else _HEAD.size + len(text)
    content = bytearray(end)
    digest = sha256(text).digest()
    _HEAD.pack_into(content, 0, MAGIC, version, 0, len(text), end, digest)
    content[_HEAD.size : _HEAD.size + len(text)] = text
    for place, view in zip(places, views, strict=True):
        content[place : place + len(view)] = view.data
    replace_file(path, content)


def open_container(path: Path, version: int, what: str) -> Container:
    """The file's contents; UserError where it is not such a file, or not sound."""
    size, content = _measure(path)
    head = _read(path, content, 0, _HEAD.size).tobytes()
    if not head.startswith(MAGIC):
        raise fail("E0703", f"`{path}` is not {what}", help="`cnnc compile` writes one")
    try:
        found = _HEAD.unpack(head)
    except struct.error:
        raise damaged(path, "it ends too early") from None
    if found[1] != version:
        raise fail(
            "E0703",
            f"`{path}` is {what} of format {found[1]}, and this cnnc reads format {version}",
            help="compile it again with this cnnc",
        )
    text_bytes, end, digest = found[3:]
    try:
        if size != end:
            raise UnsoundError(f"it has {size} bytes and says {end}")
        text_end = _HEAD.size + min(text_bytes, MAX_HEADER)
        text = _read(path, content, _HEAD.size, text_end).tobytes()
        if len(text) != text_bytes or sha256(text).digest() != digest:
            raise UnsoundError("its header is not as it was written")
        return _contents(path, content, text)
    except UnsoundError as error:
        raise damaged(path, str(error)) from None


def damaged(path: Path, why: str) -> UserError:
    """The error for a file that is not sound."""
    return fail("E0406", f"`{path}` is damaged or not what its name says", notes=(why,))


def _measure(path: Path) -> tuple[int, Bytes]:
    """The file's size, and memory for all of it that takes none before it is written to."""
    with _telling(path):
        # Opening a pipe without a writer would wait for one.
        if path.is_fifo():
            raise fail("E0702", f"`{path}` is a pipe, not a file")
        with path.open("rb") as file:
            size = file.seek(0, 2)
        return size, aligned(size, np.dtype(np.uint8)).view(np.uint8)


def _read(path: Path, content: Bytes, start: int, end: int) -> Bytes:
    """Read a part of the file to its place in memory; less of it where the file ends before."""
    with _telling(path), path.open("rb") as file:
        file.seek(start)
        part = content[start:end]
        return part[: file.readinto(part.data)]


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """UserError for what the system has against reading the file."""
    try:
        yield
    except FileNotFoundError:
        raise fail("E0701", f"there is no file `{path}`") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise fail("E0702", f"`{path}` cannot be read", notes=(reason,)) from None


def _contents(path: Path, content: Bytes, text: bytes) -> Container:
    try:
        header = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise UnsoundError("its header is no JSON") from None
    sizes = header.get("blobs") if isinstance(header, dict) else None
    if not isinstance(sizes, list):
        raise UnsoundError("its header lacks the list of blobs")
    checked = [_size(size) for size in sizes]
    places = _places(_HEAD.size + len(text), [size for size, _ in checked])
    blobs = [
        content[place : place + size] for place, (size, _) in zip(places, checked, strict=True)
    ]

    def fill(number: int) -> None:
        place, (size, expected) = places[number], checked[number]
        blob = _read(path, content, place, place + size)
        if len(blob) != size or sha256(blob.data).hexdigest() != expected:
            raise UnsoundError("one of its blobs is not as it was written")

    def fill_first() -> None:
        try:
            fill(0)
        except UnsoundError as error:
            raise damaged(path, str(error)) from None

    for number in range(1, len(blobs)):
        fill(number)
    return Container(header, tuple(blobs), fill_first if blobs else lambda: None)


def _size(found: Json) -> tuple[int, str]:
    match found:
        case {"bytes": int(size), "sha256": str(digest)} if 0 <= size < 1 << 48:
            return int(size), digest
    raise UnsoundError("the size of a blob is missing")


def _places(start: int, sizes: Sequence[int]) -> list[int]:
    """Offsets of blobs of these sizes, in order, behind the header."""
    places = []
    for size in sizes:
        start = align(start)
        places.append(start)
        start += size
    return places


def _refuse(constant: str) -> None:
    raise ValueError(constant)
