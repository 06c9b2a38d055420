"""Machine code kept on disk from one process to the next.

An entry is the object code of one kernel under a key that says all it was made from, so an entry
is never out of date: what changed has another key. Any number of processes may use the folder at
once. An entry appears whole, by renaming; one that is damaged is as good as none and is replaced.
"""

import os
import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from cnnc.base.errors import UserError, fail
from cnnc.base.record import record
from cnnc.files import replace_file
from cnnc.options import CACHE, read_cache_bytes

ROOM = "code-1"
"""The folder of this form of entries; another form gets another folder."""
_DIGEST = 32
_KEY = 64
_ABANDONED_SECONDS = 3600.0
_SPARE = 0.9
"""How full a cache is left that was too full."""


@record
class Usage:
    """What a cache holds."""

    entries: int
    bytes: int


@record
class _Entry:
    path: Path
    bytes: int
    used: float


class Cache:
    """Entries in a folder, at most so many bytes of them: the longest unused go first."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._held: int | None = None

    def get(self, key: str) -> bytes | None:
        """The data under this key; None where there is none, or it is damaged."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            if content[:_DIGEST] != sha256(content[_DIGEST:]).digest():
                path.unlink(missing_ok=True)
                return None
            os.utime(path)
        except OSError:
            return None
        return content[_DIGEST:]

    def put(self, key: str, data: bytes) -> None:
        """Keep the data. A cache that cannot be written stays as it is: it only saves time."""
        if self._held is None:
            self._held = self.usage().bytes
        size = _DIGEST + len(data)
        if size > self.limit:
            return
        path = self._path(key)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, sha256(data).digest() + data)
        except (OSError, UserError):
            return
        self._held += size
        if self._held > self.limit:
            self._trim()

    def usage(self) -> Usage:
        """How many entries there are, and their bytes on disk."""
        sizes = [entry.bytes for entry in self._entries()]
        return Usage(len(sizes), sum(sizes))

    def clear(self) -> Usage:
        """Remove all entries, and nothing else that lies in the folder; what was removed."""
        removed = [entry for entry in self._entries() if _remove(entry.path)]
        for path in self._leftovers(time.time()):
            _remove(path)
        return Usage(len(removed), sum(entry.bytes for entry in removed))

    def _trim(self) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry.used)
        held = sum(entry.bytes for entry in entries)
        for path in self._leftovers(time.time() - _ABANDONED_SECONDS):
            _remove(path)
        for entry in entries:
            if held <= self.limit * _SPARE:
                break
            if _remove(entry.path):
                held -= entry.bytes
        self._held = held

    def _path(self, key: str) -> Path:
        return self.folder / ROOM / key[:2] / key

    def _entries(self) -> Iterator[_Entry]:
        for path in self._files():
            if len(path.name) == _KEY and set(path.name) <= set("0123456789abcdef"):
                try:
                    found = path.stat()
                except OSError:  # another process removed it
                    continue
                yield _Entry(path, found.st_size, found.st_mtime)

    def _leftovers(self, before: float) -> Iterator[Path]:
        """Temporary files of processes that ended while they wrote."""
        for path in self._files():
            try:
                if path.name.startswith(".") and path.stat().st_mtime <= before:
                    yield path
            except OSError:
                continue

    def _files(self) -> Iterator[Path]:
        try:
            shelves = [path for path in (self.folder / ROOM).iterdir() if len(path.name) == 2]
        except OSError:
            return
        for shelf in shelves:
            try:
                yield from list(shelf.iterdir())
            except OSError:
                continue


def open_cache(environment: Mapping[str, str] = os.environ) -> Cache | None:
    """The user's cache, None where CNNC_CACHE is `off`; UserError for a folder that cannot be."""
    limit = read_cache_bytes(environment)
    chosen = environment.get(CACHE.name, "")
    if chosen == "off":
        return None
    if not chosen:
        # imported here: it is not needed where the variable says all
        from platformdirs import user_cache_path

        return Cache(user_cache_path("cnnc", appauthor=False), limit)
    folder = Path(chosen)
    try:
        # a shell does not expand `~` behind every kind of assignment
        folder = folder.expanduser().absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise fail(
            "E0704",
            f"the folder `{folder}` of {CACHE.name} cannot be made",
            notes=(getattr(error, "strerror", None) or str(error),),
            help=f"set {CACHE.name} to a folder, or to `off`",
        ) from None
    return Cache(folder, limit)


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True
