"""cnnc: a compiler for convolutional networks."""

from importlib import import_module
from typing import TYPE_CHECKING

from cnnc.base.collector import importing
from cnnc.base.errors import CnncError, InternalError, UserError
from cnnc.version import __version__

if TYPE_CHECKING:
    from cnnc.analysis.analysis import Analysis
    from cnnc.api import Model, analyze, load, load_text
    from cnnc.bound_call import BoundCall
    from cnnc.compare import DiffReport, diff
    from cnnc.compiled import Compiled
    from cnnc.layers import LayerInfo, Layers
    from cnnc.loaded import Loaded, load_compiled
    from cnnc.network import Network
    from cnnc.standalone.public import build

__all__ = [
    "Analysis",
    "BoundCall",
    "CnncError",
    "Compiled",
    "DiffReport",
    "InternalError",
    "LayerInfo",
    "Layers",
    "Loaded",
    "Model",
    "Network",
    "UserError",
    "__version__",
    "analyze",
    "build",
    "diff",
    "load",
    "load_compiled",
    "load_text",
]

_LATE = {
    "Analysis": "cnnc.analysis.analysis",
    "BoundCall": "cnnc.bound_call",
    "Compiled": "cnnc.compiled",
    "DiffReport": "cnnc.compare",
    "LayerInfo": "cnnc.layers",
    "Layers": "cnnc.layers",
    "Loaded": "cnnc.loaded",
    "Model": "cnnc.api",
    "Network": "cnnc.network",
    "analyze": "cnnc.api",
    "build": "cnnc.standalone.public",
    "diff": "cnnc.compare",
    "load": "cnnc.api",
    "load_compiled": "cnnc.loaded",
    "load_text": "cnnc.api",
}
"""Imported when asked for.

Running a network that is compiled needs no language and no compiler, and the command line can say
how it ends before NumPy is there.
"""


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module 'cnnc' has no attribute {name!r}")
    with importing():
        value: object = getattr(import_module(_LATE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
