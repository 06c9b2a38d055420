"""Comparisons between tensors, and choosing by them: one file for each operator."""
