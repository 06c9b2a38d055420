"""Operators that make fewer elements of more: sums, extremes and where they are, products."""
