"""What operators share that take any number of tensors, two at a time from left to right."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

import numpy as np

from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import Real, Sample


class Fold(Pointwise):
    """One operation of two operands, applied to all of them in order."""

    ufunc: ClassVar[np.ufunc]
    """The operation in NumPy."""

    @abstractmethod
    def pair(self, left: Expr, right: Expr) -> Expr:
        """The operation in the loop language."""

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return reduce(self.ufunc, inputs)

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return reduce(self.pair, args)


class Extremum(Fold):
    """One of the operands."""

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact, and never off by more than the worst operand."""
        return reduce(np.maximum, errors)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return (
            Sample(cls(), ((1, 1), (1, 1))),
            Sample(cls(), ((2, 3, 5, 7), (2, 3, 5, 7))),
            Sample(cls(), ((2, 17, 4, 5), (1, 17, 1, 1), (2, 1, 4, 5))),
            Sample(cls(), ((9,), (2, 3, 9))),
        )
