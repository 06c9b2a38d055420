"""Finds the grammar, the templates and docs/errors.md in a checkout and in an installed wheel.

A wheel carries them as `cnnc/_data/grammar`, `cnnc/_data/templates` and `cnnc/_data/docs`; in a
checkout these folders stand beside the package. Nobody else knows these paths.
"""

from collections.abc import Iterator
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
