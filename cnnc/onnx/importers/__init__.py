"""Operators of ONNX: one file for each family, found by importing every module here."""
