"""Finds the grammar, the templates and docs/errors.md in a checkout and in an installed wheel.

A wheel carries them as `cnnc/_data/grammar`, `cnnc/_data/templates` and `cnnc/_data/docs`; in a
checkout these folders stand beside the package. Nobody else knows these paths.
"""

from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from cnnc.base.errors import InternalError

Room = Literal["grammar", "templates", "docs"]


def read_resource(room: Room, name: str) -> str:
    """The text of `name`, a path with slashes inside `room`."""
    try:
        return _folder(room).joinpath(*name.split("/")).read_text(encoding="utf-8")
    except OSError as error:
        raise InternalError(f"{room}/{name} is missing from this installation: {error}") from error


def list_resources(room: Room) -> tuple[str, ...]:
    """Paths with slashes, sorted, of all files inside `room`."""
    return tuple(sorted(_walk(_folder(room), "")))


@cache
def digest_sources(*folders: str) -> str:
    """A SHA-256 of the source files of these folders of the package, with all inside them.

    The files' contents and not a version: they change between versions while one works on them.
    """
    package = Path(__file__).resolve().parents[1]
    digest = sha256()
    for folder in folders:
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _folder(room: Room) -> Traversable:
    installed = files("cnnc").joinpath("_data", room)
    if installed.is_dir():
        return installed
    checkout = Path(__file__).resolve().parents[2] / room
    if checkout.is_dir():
        return checkout
    raise InternalError(f"the folder {room} is missing from this installation")


def _walk(folder: Traversable, prefix: str) -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name
