"""Modules of PyTorch: compiled, as text, and as a backend of `torch.compile`.

The package `torch` is imported when it is needed only: `pip install cnnc[torch]` brings it.
"""

from cnnc.torch.backend import compile_graph, register
from cnnc.torch.module import CompiledModule, compile_module
from cnnc.torch.reporting import FallbackWarning, Fallen, Part, Report, report
from cnnc.torch.writing import to_text, write

__all__ = [
    "CompiledModule",
    "FallbackWarning",
    "Fallen",
    "Part",
    "Report",
    "compile_graph",
    "compile_module",
    "register",
    "report",
    "to_text",
    "write",
]
