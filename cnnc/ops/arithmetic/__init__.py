"""Arithmetic between tensors, with broadcasting: one file for each operator."""
