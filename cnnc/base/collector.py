"""Python's collector of cycles, put aside where much is made and nothing of it is garbage."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_LOCK = Lock()
_DEPTH = [0]


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
            _DEPTH[0] -= counts
            if counts and not _DEPTH[0]:
                gc.enable()
