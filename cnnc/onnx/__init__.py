"""ONNX models in and out: everything goes through the text of the language.

The package `onnx` is imported when it is needed only: `pip install cnnc[onnx]` brings it.
"""

from cnnc.onnx.exporting import export
from cnnc.onnx.importing import Imported, import_model
from cnnc.onnx.loading import load

__all__ = ["Imported", "export", "import_model", "load"]
