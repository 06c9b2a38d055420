"""Runs of bands: rows that neighbouring bands both read are computed once, and kept."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import gcd

from cnnc.ir.types import TensorType
from cnnc.ops.bands import Frame, Part, with_rows


def rows_kept(reads: Frame) -> int:
    """Rows of those that a band reads that the band before it has read."""
    return max(0, reads.count - reads.step)


def new_rows(reads: Frame) -> Frame:
    """Those that a band reads and the one before it did not: the first of a run needs all."""
    kept = rows_kept(reads)
    start, count = reads.start + kept, reads.count - kept
    return replace(reads, start=start, count=count, before=reads.before + kept)


def have_gaps(parts: Sequence[Part]) -> bool:
    """Whether a part skips rows of the one before it: then there are no runs."""
    return any(part.takes.count < part.writes.count * _stride(part) for part in parts[1:])


def in_runs(parts: Sequence[Part]) -> list[Part]:
    """Parts for bands as parts for a few rows of them, with which a run can also begin.

    They are computed once for each such group of rows that is new in a band, and before the first
    band of a run for those that it has besides: one schedule, and one order of weights, for both.
    """
    return [_of_rows(part, gcd(part.writes.count, part.writes.before)) for part in parts]


def between(parts: Sequence[Part]) -> list[TensorType]:
    """What lies between parts in a run: all rows that are needed at once."""
    return [
        with_rows(one.result, max(two.takes.count, one.writes.before))
        for one, two in pairwise(parts)
    ]


def _stride(part: Part) -> int:
    return part.takes.step // part.writes.step


def _of_rows(part: Part, rows: int) -> Part:
    """A part for so many rows of a band."""
    fewer = (part.writes.count - rows) * _stride(part)
    frames = zip(part.operands, part.reads, strict=True)
    operands = [kind if frame is None else with_rows(kind, rows) for kind, frame in frames]
    operands[0] = with_rows(part.operands[0], part.takes.count - fewer)
    return replace(part, operands=tuple(operands), result=with_rows(part.result, rows))
