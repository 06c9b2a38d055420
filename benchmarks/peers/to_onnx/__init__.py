"""A network's graph, as built, as an ONNX model."""
