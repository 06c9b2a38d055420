"""The deepest chain of calls, from the call graphs that gcc writes (-fcallgraph-info=su)."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes \(static')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')


def deepest(files: Iterable[Path], function: str) -> int:
    """Bytes of stack that a function and those it calls take; the C library's are not counted."""
    frames, calls = dict[str, int](), dict[str, list[str]]()
    for path in files:
        text = path.read_text(encoding="utf-8")
        frames |= {name: int(size) for name, size in _NODE.findall(text)}
        for caller, callee in _EDGE.findall(text):
            calls.setdefault(caller, []).append(callee)
    return _depth(function, frames, calls)


def _depth(function: str, frames: Mapping[str, int], calls: Mapping[str, list[str]]) -> int:
    below = (_depth(each, frames, calls) for each in calls.get(function, ()) if each != function)
    return frames.get(function, 0) + max(below, default=0)
