"""cnnc: a compiler for convolutional networks."""

from cnnc.api import Model, load, load_text
from cnnc.base.errors import CnncError, InternalError, UserError
from cnnc.compare import DiffReport, diff
from cnnc.compiled import Compiled
from cnnc.layers import LayerInfo, Layers
from cnnc.version import __version__

__all__ = [
    "CnncError",
    "Compiled",
    "DiffReport",
    "InternalError",
    "LayerInfo",
    "Layers",
    "Model",
    "UserError",
    "__version__",
    "diff",
    "load",
    "load_text",
]
