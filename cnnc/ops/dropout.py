"""Dropout, which acts in training only."""

from collections.abc import Sequence

from cnnc.ops.attributes import Number
from cnnc.ops.identity import Identity
from cnnc.ops.spec import Sample, attr, operator


@operator("dropout")
class Dropout(Identity):
    """x itself: elements are dropped in training only."""

    rate: float = attr(
        Number(minimum=0, maximum=1), doc="share of elements dropped in training", default=0.5
    )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (Sample(cls(), ((1, 1),)), Sample(cls(0.1), ((2, 3, 5, 7),)))
