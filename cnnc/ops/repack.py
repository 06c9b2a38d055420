"""Moving a tensor into another layout; made by the compiler, not part of the language."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import Blocking, Real, Sample


@dataclass(frozen=True)
class Repack(Pointwise):
    """The same tensor in the layout of the node's type."""

    name = "repack"

    @property
    def label(self) -> str:
        """See Operator."""
        return self.name

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        return inputs[0].with_shape(inputs[0].shape)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return inputs[0]

    def element(self, build: KernelBuilder, *args: Expr) -> Expr:
        """See Pointwise."""
        return args[0]

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact."""
        return errors[0]

    def blocking(self, lanes: int, *inputs: TensorType) -> Blocking:
        """See Operator."""
        return Blocking((lanes, 1), lanes, follows=True)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """Layouts are what matters here: see the tests of the layout pass."""
        return ()
