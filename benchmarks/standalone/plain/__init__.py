"""C as simple generators write it from ONNX: plain loops, one function for each operator."""
