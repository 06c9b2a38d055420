"""What all recipes for constants that are made from other constants say of themselves."""

import numpy as np

from cnnc.base.layout import Shape
from cnnc.ir.graph import Constant
from cnnc.ir.types import TensorType


class Derived:
    """A recipe for a constant of the `type`; no other one is known to make the same array.

    Where it is made from a single constant, that is its `weight`.
    """

    __slots__ = ()

    type: TensorType
    weight: Constant

    @property
    def made_from(self) -> tuple[Constant, ...]:
        """The constants whose numbers it has, changed or not."""
        return (self.weight,)

    @property
    def shape(self) -> Shape:
        """See Recipe."""
        return self.type.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """See Recipe."""
        return self.type.dtype.numpy

    @property
    def identity(self) -> object:
        """See Recipe."""
        return self
