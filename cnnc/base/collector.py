"""Python's collector of cycles, put aside where much is made and nothing of it is garbage."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_LOCK = Lock()
_DEPTH = [0]


def _begin_in_child() -> None:
    """The threads that paused it, or held the lock, are the parent's."""
    global _LOCK
    _LOCK = Lock()
    if _DEPTH[0]:
        _DEPTH[0] = 0
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


@contextmanager
def paused() -> Iterator[None]:
    """The collector does not run meanwhile, unless it does not run anyway; may be nested.

    Importing and reading tables make it walk all objects of the process over and over.
    """
    with _LOCK:
        counts = bool(_DEPTH[0]) or gc.isenabled()
        _DEPTH[0] += counts
        gc.disable()
    try:
        yield
    finally:
        with _LOCK:
            _DEPTH[0] = max(0, _DEPTH[0] - counts)
            if counts and not _DEPTH[0]:
                gc.enable()


@contextmanager
def importing() -> Iterator[None]:
    """As `paused`, for what stays as long as the process: it counts as old from the start.

    Otherwise the collector walks all of it when it runs next, and once more some time later. Not
    where somebody has frozen objects, which stay as they are.
    """
    with paused():
        yield
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
