"""What each operator is in ONNX: one function for each, found by the operator's class."""
