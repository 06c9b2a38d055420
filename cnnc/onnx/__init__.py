"""ONNX models in and out: everything goes through the text of the language."""

from cnnc.onnx.loading import load

__all__ = ["load"]
