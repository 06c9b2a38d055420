"""What a layer takes, at a first guess."""

from cnnc.base.dtype import DType
from cnnc.base.target import Target

_BYTES = 16
"""Bytes that a layer moves in a cycle."""


def step_cycles(macs: int, moved: int, target: Target) -> float:
    """Cycles on one thread at the peak of the machine, for so many bytes of operands and result."""
    return macs / (target.vector_units * target.lanes(DType.F32)) + moved / _BYTES
