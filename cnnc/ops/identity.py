"""The operator that changes nothing."""

from collections.abc import Sequence

from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr
from cnnc.ops.pointwise import Activation
from cnnc.ops.spec import Real, operator


@operator("id")
class Identity(Activation):
    """x itself: the shortcut among branches."""

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator: any element type."""
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
