"""The table of importers: which operators of ONNX cnnc takes."""

from collections.abc import Callable, Sequence

from cnnc.base.registry import Registry
from cnnc.onnx.builder import Builder
from cnnc.onnx.values import Call, Value

Results = Value | Sequence[Value]
Importer = Callable[[Call, Builder], Results]
"""What adds the stages of a node and gives its results; RefusedError where it cannot."""

IMPORTERS: Registry[Importer] = Registry("cnnc.onnx.importers")
"""Importers by the names of operators."""
importer = IMPORTERS.register
