"""Operators that need no loops, as their result already lies where it belongs; made by the
compiler, not part of the language."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

from cnnc.base.layout import Layout
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.ops.axes import resolve_axis
from cnnc.ops.concat import Concat
from cnnc.ops.flatten import Flatten
from cnnc.ops.movement.slice import Slice
from cnnc.ops.reshape import Reshape
from cnnc.ops.spec import Operator, Real, Sample


@dataclass(frozen=True)
class View(Operator):
    """`root`, where a result and its operands share memory.

    A concat along the channels is a view of operands that were written side by side: they lie in
    the result. Neighbouring channels that `slice` takes, and what `reshape` and `flatten` only
    call by another shape, lie in the operand.
    """

    root: Operator

    name = "view"

    @property
    def label(self) -> str:
        """See Operator."""
        return f"view[{self.root.label}]"

    @property
    def joins(self) -> bool:
        """Whether the operands lie in the result; otherwise the result lies in its operand."""
        return isinstance(self.root, Concat)

    def offsets(self, out: TensorType, *inputs: TensorType) -> tuple[int, ...]:
        """Bytes from the start of what is larger to each operand, or to the result."""
        starts = [0]
        if self.joins:
            starts = list(accumulate((each.channels for each in inputs[:-1]), initial=0))
        elif isinstance(self.root, Slice):
            starts = [_channels(self.root, inputs[0]).start]
        whole = out if self.joins else inputs[0]
        return tuple(whole.layout.start(whole.shape, each) * whole.dtype.bytes for each in starts)

    def find_fault(self, out: TensorType, *inputs: TensorType) -> str | None:
        """Why the layouts are not those of a view; None where they are."""
        if not can_be_view(self.root, *inputs):
            return f"{self.root.label} moves elements"
        if isinstance(self.root, Reshape | Flatten):
            return _fault_of_shapes(out, inputs[0])
        if not self.joins:
            first = _channels(self.root, inputs[0]).start
            return _fault_of_part(out, inputs[0], first)
        starts = accumulate((each.channels for each in inputs), initial=0)
        faults = (_fault_of_part(each, out, at) for each, at in zip(inputs, starts, strict=False))
        return next((fault for fault in faults if fault), None)

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        return self.root.infer(*inputs)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        return self.root.reference(*inputs)

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: what the root would do."""
        self.root.define(build, *inputs)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: exact."""
        return self.root.error(unit, out, inputs, errors)

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator."""
        return self.root.mixes_batch(*inputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """Layouts are what matters here: see the tests of the pass that makes them."""
        return ()


def can_be_view(op: object, *inputs: TensorType) -> bool:
    """Whether the operator could share memory with its operands, given the right layouts."""
    first = inputs[0] if inputs else None
    if isinstance(op, Reshape | Flatten):
        return True
    if first is None or first.rank < 2:
        return False
    if isinstance(op, Concat):
        return resolve_axis(op.axis, first.rank) == 1
    if not isinstance(op, Slice):
        return False
    taken = op.positions(first.shape)
    others = [each == range(first.shape[axis]) for axis, each in enumerate(taken) if axis != 1]
    return all(others) and taken[1].step == 1


def within(whole: TensorType) -> int:
    """`Layout.within` of a part of a tensor, which may be a part itself."""
    apart = whole.shape[0] > 1 or whole.layout.has_channels_last
    return (whole.layout.within or whole.channels) if apart else 0


def _channels(op: Operator, x: TensorType) -> range:
    assert isinstance(op, Slice)
    return op.positions(x.shape)[1]


def _fault_of_part(part: TensorType, whole: TensorType, first: int) -> str | None:
    """Why a tensor cannot be the channels of another from `first` on."""
    mine, others = part.layout, whole.layout
    if mine.within != within(whole):
        return f"{part} is not within {within(whole)} channels"
    if mine.alone != others.alone:
        return f"{part} and {whole} lie differently"
    follow = others.order[:2] == (0, 1) or (others.order[0] == 0 and others.has_channels_last)
    if not follow or any(map(any, others.halo[:2])):
        return f"the channels of {whole} are apart"
    if first % others.block(1):
        return f"channel {first} of {whole} begins no block"
    filled = mine.extent(part.shape, 1)
    if first + filled > others.extent(whole.shape, 1):
        return f"{part} does not fit"
    return None


def _channels_are_last(out: TensorType, x: TensorType) -> bool:
    """Whether both have the same positions, and at each of them all other axes side by side."""
    return any(
        out.shape[0] == x.shape[0]
        and out.shape[out.rank - count :] == x.shape[x.rank - count :]
        and all(each.layout == Layout.channels_last(each.rank, count) for each in (out, x))
        for count in range(1, min(out.rank, x.rank) - 1)
    )


def _fault_of_shapes(out: TensorType, x: TensorType) -> str | None:
    """Why the elements do not follow each other as they did: row by row, or channel by channel."""
    layouts = (out.layout, x.layout)
    if all(layout.is_plain for layout in layouts):
        return None
    bare = all(not layout.halo and not layout.within for layout in layouts)
    alike = bare and out.layout.blocks == x.layout.blocks and out.shape[:2] == x.shape[:2]
    if alike and prod(out.spatial) == prod(x.spatial) == 1:
        return None
    if bare and _channels_are_last(out, x):
        return None
    return f"{out} and {x} lie differently"
