"""Operators that normalise by what they find in the tensor itself."""
