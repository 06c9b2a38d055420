"""Measurements on an NVIDIA GPU; `benchmarks/cuda.py` runs them all."""
