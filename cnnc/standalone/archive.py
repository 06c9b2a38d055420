"""Static libraries: archives of objects with an index of their symbols, as GNU's linker reads them.

The format is that of System V and GNU `ar` (https://sourceware.org/binutils/docs/binutils/ar.html,
`man 5 ar`): a magic line, then members with a head of 60 characters each, at even offsets. The
first member, `/`, has the number of symbols, the offset of the member that defines each, and their
names; all numbers there are big-endian. Times, owners and modes are constants, so that the same
objects give the same bytes.
"""

from collections.abc import Sequence

from cnnc.base.errors import InternalError
from cnnc.base.record import record

_MAGIC = b"!<arch>\n"


@record
class Object:
    """An object: its file name, its bytes, and the symbols it defines for others."""

    name: str
    data: bytes | bytearray
    symbols: tuple[str, ...]


def archive(members: Sequence[Object]) -> bytes:
    """The archive of the members, in their order."""
    names = b"".join(f"{member.name}/\n".encode() for member in members)
    symbols = [symbol for member in members for symbol in member.symbols]
    text = b"".join(symbol.encode() + b"\0" for symbol in symbols)
    index_bytes = 4 + 4 * len(symbols) + len(text)
    position = len(_MAGIC) + _padded(index_bytes) + _padded(len(names))
    index = len(symbols).to_bytes(4, "big")
    for member in members:
        index += position.to_bytes(4, "big") * len(member.symbols)
        position += _padded(len(member.data))
    if position >= 2**32:
        raise InternalError("an archive of 4 GiB needs another index")
    parts = [_MAGIC, _member("/", index + text), _member("//", names)]
    offset = 0
    for member in members:
        parts.append(_member(f"/{offset}", member.data))
        offset += len(member.name) + 2
    return b"".join(parts)


def _padded(size: int) -> int:
    """Bytes that a member of this size takes with its head."""
    return 60 + size + size % 2


def _member(name: str, data: bytes | bytearray) -> bytes:
    mode = "0" if name.startswith(("/ ", "//")) or name == "/" else "100644"
    head = f"{name:16}{0:<12}{0:<6}{0:<6}{mode:8}{len(data):<10}`\n".encode("ascii")
    return head + data + b"\n" * (len(data) % 2)
