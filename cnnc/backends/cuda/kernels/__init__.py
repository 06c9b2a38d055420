"""Kernels written by hand: each file offers one for the layers it can compute."""
