"""The backends by name. A new one is a line here; docs/add_a_backend.md has the rest."""

from collections.abc import Mapping
from importlib import import_module

from cnnc.backends.base import Backend

BACKENDS: Mapping[str, str] = {
    "native": "cnnc.backends.native.backend",
    "c": "cnnc.backends.c.backend",
    "cuda": "cnnc.backends.cuda.backend",
    "interp": "cnnc.backends.interp.backend",
}
"""Name → the module whose `BACKEND` it is."""


def load_backend(name: str) -> Backend:
    """The backend of a name in the table.

    Imported when asked for: LLVM takes a while to load, and the interpreter needs none of it.
    """
    backend: Backend = import_module(BACKENDS[name]).BACKEND
    return backend
