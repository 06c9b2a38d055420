"""Loops run in Python: slow, plain, and a third opinion."""
