"""The hyperbolic tangent in straight lines."""

from collections.abc import Sequence

from cnnc.ops.activations.clip import Clip
from cnnc.ops.attributes import Number
from cnnc.ops.spec import Sample, attr, operator


@operator("hard_tanh")
class HardTanh(Clip):
    """x kept between two numbers, -1 and 1 unless given; NaN stays NaN. It is `clip`."""

    low: float = attr(Number(), doc="least result", default=-1.0)
    high: float = attr(Number(), doc="greatest result", default=1.0)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (Sample(cls(), ((2, 3, 5, 7),)), *super().samples())
