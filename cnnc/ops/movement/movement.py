"""What operators share that only move elements."""

from collections.abc import Sequence

from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.ops.spec import Blocking, Operator, Real


class Movement(Operator):
    """Every element of the result is an element of the operand: exact, for any element type."""

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact, so errors move along."""
        return self.reference(errors[0])


def require_spatial(x: TensorType, name: str) -> None:
    """OpError at the operand if nothing follows its batch and channels."""
    if x.rank < 3:
        raise OpError(
            "the operand has no spatial axes",
            at=0,
            note=f"its shape is {list(x.shape)}; {name} needs [N, C, length] or more",
        )


def any_block(x: TensorType) -> Blocking:
    """Reads the operand as it lies, writes row-major."""
    return Blocking((x.layout.block(1) if x.rank > 1 else 1,))


def whole_blocks(lanes: int, x: TensorType, *sizes: int) -> Blocking:
    """Reads the operand as it lies; writes blocks if they stay whole where channels move.

    They do if `sizes`, how far and how many channels move together, are multiples of a block.
    """
    reads = any_block(x).reads
    stays = not any(size % lanes for size in (*reads, *sizes))
    return Blocking(reads, lanes if stays else 1)


def round_up(count: int, size: int) -> int:
    """The least multiple of a size that is no less."""
    return -(-count // size) * size
