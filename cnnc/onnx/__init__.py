"""ONNX models in and out: everything goes through the text of the language."""
