"""Operators that move elements, and resizing: one file each."""
