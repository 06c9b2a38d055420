"""Files of named arrays, safetensors and npz, opened with suspicion.

Headers are checked here before a library sees the file: sizes are exact, nothing is unpickled, and
no more is decompressed than a header that fits the file has promised.
"""

import json
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import IO, Literal, Protocol

import numpy as np
import safetensors
from numpy.typing import NDArray

from cnnc.base.errors import UserError, fail
from cnnc.base.record import record
from cnnc.base.source import Span
from cnnc.frontend.stored import FileState, Stored
from cnnc.ir.graph import PART, Recipe

Array = NDArray[np.generic]

MAX_HEADER = 32 << 20
MAX_NPY_HEADER = 1 << 16
MAX_ARRAYS = 100_000
MAX_NAME = 512
MAX_RANK = 32
_DAMAGE = (
    OSError, EOFError, ValueError, KeyError, TypeError, NotImplementedError, RuntimeError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, safetensors.SafetensorError,
)  # fmt: skip
"""What the libraries raise on files that are not what they seem."""

_SAFETENSORS_BITS: Mapping[str, int] = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "C64": 64,
}  # fmt: skip


@record
class ArrayInfo:
    """What the header says of one array; `dtype` as cnnc writes it (f32, i64, bool, …)."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


class ArrayFile(Protocol):
    """An open file of arrays: headers are read and sound, the arrays are still on disk."""

    @property
    def infos(self) -> Mapping[str, ArrayInfo]:
        """All arrays by name, in the order of the file."""
        ...

    def read(self, names: Iterable[str]) -> dict[str, Array]:
        """These arrays, row-major and native; UserError where the data is damaged."""
        ...

    def sources(self, names: Iterable[str]) -> Mapping[str, Array | Recipe]:
        """The same for constants: large arrays may be left where they are until they are needed."""
        ...


class _MalformedError(Exception):
    """The file does not follow its format; the text says where."""


def open_arrays(path: Path, span: Span | None) -> ArrayFile:
    """The file's headers; UserError at `span` for anything unsound."""
    try:
        if path.suffix == ".safetensors":
            state = FileState.of(path)  # before anything is believed that stands in it
            return _Safetensors(path, span, *_safetensors_infos(path), state)
        if path.suffix == ".npz":
            return _Npz(path, span, _npz_infos(path))
    except (_MalformedError, *_DAMAGE) as error:
        raise _malformed(path, span, error) from None
    help = "arrays are read from .safetensors and .npz"
    if path.suffix in (".pt", ".pth", ".bin", ".ckpt"):
        help += "; safetensors.torch.save_file writes the former"
    raise fail(
        "E0703",
        f"`{path.name}` is no known kind of file",
        span,
        help=help,
    )


def _malformed(path: Path, span: Span | None, error: Exception) -> UserError:
    if isinstance(error, PermissionError):
        reason = error.strerror or str(error)
        return fail("E0702", f"`{path.name}` cannot be read", span, notes=(reason,))
    return fail(
        "E0406",
        f"`{path.name}` is damaged or not what its name says",
        span,
        notes=(str(error) or type(error).__name__,),
    )


# ── safetensors ─────────────────────────────────────────────────────────────────────────────────


@record
class _Safetensors:
    path: Path
    span: Span | None
    infos: Mapping[str, ArrayInfo]
    offsets: Mapping[str, int]
    state: FileState

    def read(self, names: Iterable[str]) -> dict[str, Array]:
        """See ArrayFile."""
        try:
            with safetensors.safe_open(self.path, framework="numpy") as file:
                return {name: np.ascontiguousarray(file.get_tensor(name)) for name in names}
        except _DAMAGE as error:
            raise _malformed(self.path, self.span, error) from None

    def sources(self, names: Iterable[str]) -> Mapping[str, Array | Recipe]:
        """See ArrayFile."""
        wanted = tuple(names)
        later: dict[str, Array | Recipe] = {
            name: Stored(self.state, self.offsets[name], info.shape, np.dtype(np.float32))
            for name in wanted
            if (info := self.infos[name]).dtype == "f32" and info.shape and prod(info.shape) >= PART
        }
        return self.read(name for name in wanted if name not in later) | later


def _safetensors_infos(path: Path) -> tuple[Mapping[str, ArrayInfo], Mapping[str, int]]:
    """All arrays by name, and where in the file they begin."""
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        if prefix.startswith((b"PK\x03\x04", b"\x80\x02")):
            raise _MalformedError(
                "it is what torch.save writes: write it with safetensors.torch.save_file"
            )
        if len(prefix) < 8:
            raise _MalformedError("the file is shorter than its header")
        (length,) = struct.unpack("<Q", prefix)
        if length > min(MAX_HEADER, size - 8):
            raise _MalformedError(f"a header of {length} bytes does not fit the file")
        header = _parse_json(file.read(length))
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    _check_count(len(entries))
    infos: dict[str, ArrayInfo] = {}
    offsets: dict[str, int] = {}
    ranges: list[tuple[int, int]] = []
    for name, entry in entries.items():
        info, begin, end = _safetensors_entry(name, entry)
        infos[name] = info
        offsets[name] = 8 + length + begin
        ranges.append((begin, end))
    position = 0
    for begin, end in sorted(ranges):
        if begin != position:
            raise _MalformedError("arrays overlap, or leave gaps")
        position = end
    if position != size - 8 - length:
        raise _MalformedError(
            f"{size - 8 - length} bytes of data, the header accounts for {position}"
        )
    return infos, offsets


def _parse_json(data: bytes) -> dict[str, object]:
    def no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise _MalformedError("the header names an entry twice")
        return found

    try:
        header = json.loads(data, object_pairs_hook=no_twins)
    except RecursionError:
        raise _MalformedError("the header nests too deeply") from None
    except json.JSONDecodeError as error:
        raise _MalformedError(f"the header is not JSON: {error}") from None
    except ValueError:
        raise _MalformedError(
            "the header is not UTF-8, or holds a number that is too long"
        ) from None
    if not isinstance(header, dict):
        raise _MalformedError("the header is not a table")
    return header


def _safetensors_entry(name: str, entry: object) -> tuple[ArrayInfo, int, int]:
    _check_name(name)
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            extents = _checked_shape(name, shape)
            if dtype not in _SAFETENSORS_BITS:
                raise _MalformedError(f"`{name}` has the unknown element type {dtype}")
            wanted = prod(extents) * _SAFETENSORS_BITS[dtype] // 8
            are_integers = type(begin) is int and type(end) is int
            if not are_integers or not 0 <= begin <= end or end - begin != wanted:
                raise _MalformedError(f"`{name}` needs {wanted} bytes, not {begin} to {end}")
            return ArrayInfo(extents, dtype.lower()), begin, end
    raise _MalformedError(f"the entry of `{name}` is incomplete")


# ── npz ─────────────────────────────────────────────────────────────────────────────────────────


@record
class _Npz:
    path: Path
    span: Span | None
    infos: Mapping[str, ArrayInfo]

    def read(self, names: Iterable[str]) -> dict[str, Array]:
        """See ArrayFile."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return {name: _read_npy(archive, name) for name in names}
        except (_MalformedError, *_DAMAGE) as error:
            raise _malformed(self.path, self.span, error) from None

    def sources(self, names: Iterable[str]) -> Mapping[str, Array | Recipe]:
        """See ArrayFile: they have to be decompressed."""
        return self.read(names)


def _npz_infos(path: Path) -> Mapping[str, ArrayInfo]:
    infos: dict[str, ArrayInfo] = {}
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_count(len(members))
        for member in members:
            name = member.filename.removesuffix(".npy")
            _check_name(name)
            if name == member.filename:
                raise _MalformedError(f"`{name}` is not an array")
            if name in infos:
                raise _MalformedError(f"two arrays are called `{name}`")
            with archive.open(member) as file:
                header = _npy_header(name, file)
            if header.length + header.bytes != member.file_size:
                raise _MalformedError(f"`{name}` is not as long as its header says")
            infos[name] = ArrayInfo(header.shape, _dtype_name(header.dtype))
    return infos


def _read_npy(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(f"{name}.npy") as file:
        header = _npy_header(name, file)
        data = file.read(header.bytes)
    if len(data) != header.bytes:
        raise _MalformedError(f"`{name}` ends early")
    order: Literal["F", "C"] = "F" if header.is_column_major else "C"
    array = np.frombuffer(data, header.dtype).reshape(header.shape, order=order)
    return np.array(array, header.dtype.newbyteorder("="), order="C")


@record
class _NpyHeader:
    shape: tuple[int, ...]
    is_column_major: bool
    dtype: np.dtype[np.generic]
    length: int

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


# The header is a Python literal; as this pattern is all that writers write, nothing is evaluated.
_NPY_HEADER = re.compile(
    r"""\{ \s* ["']descr["'] \s* : \s* ["'](?P<descr>[^"']*)["'] \s*
      , \s* ["']fortran_order["'] \s* : \s* (?P<fortran>True|False) \s*
      , \s* ["']shape["'] \s* : \s* \( (?P<shape>[0-9, ]*) \) \s* ,? \s* \} \s*""",
    re.VERBOSE,
)
_NPY_DTYPE = re.compile(r"[<>=|]?(f[248]|[iu][1248]|b1|\?)")


def _npy_header(name: str, file: IO[bytes]) -> _NpyHeader:
    prefix = file.read(8)
    version = (prefix[6], prefix[7]) if prefix[:6] == b"\x93NUMPY" and len(prefix) == 8 else (0, 0)
    if version not in ((1, 0), (2, 0)):
        raise _MalformedError(f"`{name}` is no array of a known format")
    size = file.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(size, "little")
    if length > MAX_NPY_HEADER:
        raise _MalformedError(f"`{name}` has a header of {length} bytes")
    found = _NPY_HEADER.fullmatch(file.read(length).decode("latin1"))
    if found is None:
        raise _MalformedError(f"the header of `{name}` is not that of an array")
    if not _NPY_DTYPE.fullmatch(found["descr"]):
        raise _MalformedError(f"`{name}` holds `{found['descr'][:40]}`, not plain numbers")
    extents = [part.strip() for part in found["shape"].split(",") if part.strip()]
    if any(len(extent) > 18 for extent in extents):
        raise _MalformedError(f"`{name}` has an invalid shape")
    return _NpyHeader(
        _checked_shape(name, [int(extent) for extent in extents]),
        found["fortran"] == "True",
        np.dtype(found["descr"]),
        len(prefix) + len(size) + length,
    )


def _dtype_name(dtype: np.dtype[np.generic]) -> str:
    return "bool" if dtype.kind == "b" else f"{dtype.kind}{dtype.itemsize * 8}"


# ── both ────────────────────────────────────────────────────────────────────────────────────────


def _checked_shape(name: str, shape: list[object]) -> tuple[int, ...]:
    extents = tuple(
        each for each in shape if isinstance(each, int) and not isinstance(each, bool) and each >= 0
    )
    if len(extents) != len(shape) or len(extents) > MAX_RANK or prod(extents) >= 2**60:
        raise _MalformedError(f"`{name}` has an invalid shape")
    return extents


def _check_count(count: int) -> None:
    if count > MAX_ARRAYS:
        raise _MalformedError(f"it holds {count} arrays, at most {MAX_ARRAYS} are read")


def _check_name(name: str) -> None:
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise _MalformedError(f"an array has the invalid name {name[:40]!r}")
