"""Activation functions, one file each."""
