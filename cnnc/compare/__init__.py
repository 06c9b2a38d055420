"""A compiled network held against its reference, and the room to blame where they differ."""

from cnnc.compare.compare import diff, random_inputs
from cnnc.compare.report import DiffReport

__all__ = ["DiffReport", "diff", "random_inputs"]
