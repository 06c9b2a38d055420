"""`cnnc cache`: where what was made is kept from run to run, how much, and how to remove it."""

import os

import click

from cnnc.base.report import Json
from cnnc.cache import Cache, open_cache
from cnnc.cli.console import print_json, say
from cnnc.cli.options import json_option
from cnnc.options import CACHE
from cnnc.table import bytes_text


@click.group(short_help="Machine code kept from run to run.")
def cache() -> None:
    """Show or empty the folder of machine code that was made before."""


@cache.command(short_help="Where it lies and what it holds.")
@json_option
def info(as_json: bool) -> None:
    """Show the folder, what it holds, and how much it may hold."""
    found = open_cache()
    if as_json:
        print_json(_as_json(found))
    elif found is None:
        say(f"no cache: {CACHE.name} is `off`")
    else:
        held = found.usage()
        say(f"folder   {found.folder}")
        say(f"holds    {_count(held.entries)}, {bytes_text(held.bytes)}")
        say(f"at most  {bytes_text(found.limit)}")
        if not _is_writable(found):
            say("the folder cannot be written: nothing new is kept")


@cache.command(short_help="Remove what it holds.")
@json_option
def clear(as_json: bool) -> None:
    """Remove all that cnnc keeps in the folder, and nothing else."""
    found = open_cache()
    removed = found.clear() if found else None
    entries, size = (removed.entries, removed.bytes) if removed else (0, 0)
    if as_json:
        print_json({"ok": True, "removed": entries, "bytes": size})
    elif found is None:
        say(f"no cache: {CACHE.name} is `off`")
    else:
        say(f"removed {_count(entries)}, {bytes_text(size)}")


def _count(entries: int) -> str:
    return "1 entry" if entries == 1 else f"{entries} entries"


def _is_writable(found: Cache) -> bool:
    folder = found.folder
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _as_json(found: Cache | None) -> Json:
    if found is None:
        return {"ok": True, "folder": None}
    held = found.usage()
    return {
        "ok": True,
        "folder": str(found.folder),
        "entries": held.entries,
        "bytes": held.bytes,
        "limit": found.limit,
        "writable": _is_writable(found),
    }
