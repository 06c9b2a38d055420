"""Code on this machine, however it came to be, and what knobs print on the way."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cnnc.backends.base import Runner
from cnnc.base.errors import UserError
from cnnc.base.target import Target
from cnnc.cache import open_cache
from cnnc.options import Knobs, read_knobs

if TYPE_CHECKING:
    from cnnc.backends.native.backend import Image


def obstacles(target: Target) -> tuple[str, ...]:
    """Why object code for the target does not run on this machine; empty where it does."""
    from cnnc.backends.native import targets

    return targets.obstacles(target)


def llvm_version() -> tuple[int, ...]:
    """The version of LLVM that generates code."""
    from llvmlite import binding

    return tuple(binding.llvm_version_info)


def usable_cores() -> int:
    """How many cores this process may use: threads beyond that wait for each other."""
    from cnnc.backends.native.host import host_target

    return host_target().cores


def load_code(image: "Image", target: Target, threads: int) -> Runner:
    """Machine code made before, ready to run."""
    from cnnc.backends.native.backend import NativeRunner

    knobs, store = read_knobs(), None
    # a cache whose folder cannot be made is a mistake where something is compiled
    with suppress(UserError):
        store = None if knobs.look else open_cache()
    with timed("load", knobs):
        return NativeRunner(image, target, threads, store)


@contextmanager
def timed(stage: str, knobs: Knobs) -> Iterator[None]:
    """Print how long the stage took, where a knob asks for it."""
    start = time.perf_counter()
    yield
    if knobs.time:
        say(f"{stage:16} {(time.perf_counter() - start) * 1e3:9.2f} ms")


def say(text: str) -> None:
    """Print what a knob asks for."""
    print(text, file=sys.stderr)
