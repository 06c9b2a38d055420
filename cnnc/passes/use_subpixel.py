"""Transposed convolutions as convolutions, with their phases as channels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite, prod

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.base.target import Target
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.ir.rewrite import fresh_name, rewrite
from cnnc.ir.types import TensorType
from cnnc.offers.winograd import are_transformed_far, winograd_gain
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.groups import is_depthwise
from cnnc.ops.movement.join_phases import JoinPhases
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.transposed import TransposedWindow
from cnnc.passes._phased import Phased

GAIN = 1.1
"""How much faster it must be by the estimate."""
_ROWS = 0.2
"""Part of the multiply-adds' peak that a single channel reaches, in vectors of positions."""
_FEWEST_PRODUCTS = 16
"""Products of a result from which on groups gain more than the copy of their phases takes."""
_COPY = 2
"""Cycles to copy the phases of a block along a row."""
_MOVE = 4
"""Cycles to copy a vector of channels."""


def use_subpixel(graph: Graph, target: Target, *, exact: bool = False) -> Graph:
    """conv_transpose(x, w)  →  join_phases(conv(x, w′)), where that is faster.

    It is where it fills vectors better, and unless it shall be `exact` where Winograd's algorithm
    computes the convolution and channels are whole blocks. A channel of the convolution for each
    phase of the stride, as in Shi et al., "Is the deconvolution layer the same as a convolutional
    layer?" (2016), arXiv:1609.07009. The same products are summed: only windows that are whole
    multiples of the stride are taken, as others would be filled up with zeros, which make NaN of
    infinities. A stride of one has one phase, and nothing to join: that is a convolution whose
    window is turned round. What is computed element by element of a single operand moves before
    join_phases, to join the convolution.
    """
    far = are_transformed_far(graph, target)

    def rule(node: Node, graph: Graph) -> Node | None:
        if isinstance(node.op, Pointwise):
            return _moved_before(node, graph)
        return _as_convolution(node, graph, target, far=far, exact=exact)

    return rewrite(graph, rule)


def _as_convolution(
    node: Node, graph: Graph, target: Target, *, far: bool, exact: bool
) -> Node | None:
    op = node.op
    if not isinstance(op, ConvTranspose) or not _suits(op, node, target):
        return None
    x = node.inputs[0]
    plans = [_plan(window, x.type.spatial) for window in _windows(op, x.type)]
    if not plans:
        return None
    plan = min(plans, key=lambda plan: plan.products)
    window = plan.window
    phases = prod(window.stride)
    pad = Padding("explicit", plan.pads)
    made = Conv(phases * op.channels, plan.taps, pad=pad, groups=op.groups, bias=op.bias)
    blocked = _fills_blocks(op, x.type, target)
    gain = 1.0
    if blocked and not exact and x.type.dtype is DType.F32:
        gain = winograd_gain(made, x.type, target, far)
    mode = "dcr" if blocked else "crd"
    if phases == 1:
        operands = _operands(op, node, graph, window, mode)
        return replace(node, op=made, inputs=(x, *operands)) if plan.keeps_all else None
    if op.groups > 1 and x.type.channels // op.groups * prod(plan.taps) < _FEWEST_PRODUCTS:
        return None
    if plan.cycles(op, x.type, target, gain) * GAIN > _direct_cycles(op, x.type, window, target):
        return None
    operands = _operands(op, node, graph, window, mode)
    name = fresh_name(graph, f"{node.name}.phases")
    kind = made.infer(x.type, *(operand.type for operand in operands))
    conv = Node(made, (x, *operands), kind, name, node.span)
    return replace(
        node, op=JoinPhases(window.stride, plan.before, window.out, mode), inputs=(conv,)
    )


def _operands(
    op: ConvTranspose, node: Node, graph: Graph, window: TransposedWindow, mode: str
) -> list[Node]:
    """Weights and bias of the convolution."""
    dtype, phases = node.type.dtype, prod(window.stride)
    weight, *bias = (operand.op for operand in node.inputs[1:])
    assert isinstance(weight, Constant)
    values = [Constant(Phased.of(weight, op.groups, window.stride, mode, dtype))]
    for old in bias:
        assert isinstance(old, Constant)
        value = np.tile(old.value, phases) if mode == "dcr" else old.value.repeat(phases)
        values.append(Constant(value))
    return [
        Node(value, (), TensorType.plain(value.source.shape, dtype), name, node.span)
        for value, name in zip(values, _names(node, graph), strict=False)
    ]


def _suits(op: ConvTranspose, node: Node, target: Target) -> bool:
    """Whether it is a sum over some channels, whose weights are known and finite.

    Of groups those are that fill no vectors: as a convolution, their positions do.
    """
    x, weight = node.inputs[0].type, node.inputs[1].op
    alone = is_depthwise(x, op.channels, op.groups)
    if alone or (op.groups > 1 and op.channels // op.groups % target.lanes(x.dtype) == 0):
        return False
    if not all(operand.is_constant for operand in node.inputs[1:]):
        return False
    return isinstance(weight, Constant) and isfinite(weight.magnitudes[1])


def _windows(op: ConvTranspose, x: TensorType) -> Iterator[TransposedWindow]:
    """Windows that mean the same, of which no tap is missing.

    Along an axis of a single position the window takes no step, so that any stride will do: its
    own, or its extent, which makes a phase of each tap.
    """
    window = op.window(x)
    steps = zip(x.spatial, window.kernel, window.stride, strict=True)
    longest = tuple(k if extent == 1 else s for extent, k, s in steps)
    for stride in dict.fromkeys((longest, window.stride)):
        whole = all(not k % s for k, s in zip(window.kernel, stride, strict=True))
        if whole and set(window.dilation) == {1}:
            yield replace(window, stride=stride)


def _fills_blocks(op: ConvTranspose, x: TensorType, target: Target) -> bool:
    """Whether a phase's channels are whole vectors."""
    lanes = target.lanes(x.dtype)
    return lanes > 1 and op.groups == 1 and op.channels % lanes == 0


@dataclass(frozen=True, slots=True)
class _Plan:
    """The convolution's taps and zeros, its extents, and what is cropped before its phases."""

    window: TransposedWindow
    taps: Shape
    pads: tuple[tuple[int, int], ...]
    extents: Shape
    before: Shape

    @property
    def keeps_all(self) -> bool:
        """Whether the convolution computes nothing that is cropped."""
        return self.extents == self.window.out and not any(self.before)

    @property
    def products(self) -> int:
        """Multiply-adds for a channel each of input and result."""
        return prod(self.extents) * prod(self.taps) * prod(self.window.stride)

    def cycles(self, op: ConvTranspose, x: TensorType, target: Target, gain: float) -> float:
        """Estimated cycles for one sample: vectors of channels, in less time, and the copy."""
        stride = self.window.stride
        vectors = -(-op.channels * prod(stride) // target.lanes(x.dtype))
        depth = x.channels // op.groups * prod(self.taps)
        products = prod(self.extents) * depth * vectors / target.vector_units
        if _fills_blocks(op, x, target):
            return products / gain + _MOVE * vectors * prod(self.extents)
        return products / gain + _COPY * op.channels * prod(self.extents) * prod(stride[:-1])


def _plan(window: TransposedWindow, spatial: Shape) -> _Plan:
    """Blocks of phases from the first that is kept to the last; each reads taps before it."""
    taps, pads, extents, cropped = [], [], [], []
    for axis, extent in enumerate(spatial):
        stride, (before, _) = window.stride[axis], window.crop[axis]
        count = window.kernel[axis] // stride
        first = min(before // stride, count - 1)
        last = max((before + window.out[axis] - 1) // stride, extent - 1)
        taps.append(count)
        pads.append((count - 1 - first, last - extent + 1))
        extents.append(last - first + 1)
        cropped.append(before - first * stride)
    return _Plan(window, tuple(taps), tuple(pads), tuple(extents), tuple(cropped))


def _direct_cycles(
    op: ConvTranspose, x: TensorType, window: TransposedWindow, target: Target
) -> float:
    """Estimated cycles of the operator itself: vectors of a phase's channels, or of positions.

    Each result is a sum over all taps of its phase, zeros beside a small map included; what is
    cropped counts as in `macs`.
    """
    lanes = target.lanes(x.dtype) if op.groups == 1 else 1
    vectors = -(-op.channels // lanes) if op.channels > 1 else 1 / lanes / _ROWS
    taps = prod(k // s for k, s in zip(window.kernel, op.window(x).stride, strict=True))
    products = max(prod(window.out) * taps, prod(x.spatial) * prod(window.kernel))
    return products * x.channels // op.groups * vectors / target.vector_units


def _names(node: Node, graph: Graph) -> list[str]:
    """Those of the weight and bias, unless others read them."""
    return [
        old.name if graph.is_private(old) else fresh_name(graph, f"{node.name}.{parameter}")
        for old, parameter in zip(node.inputs[1:], ("weight", "bias"), strict=False)
    ]


def _moved_before(node: Node, graph: Graph) -> Node | None:
    """relu(join_phases(y))  →  join_phases(relu(y))."""
    joined = node.inputs[0]
    if len(node.inputs) > 1 or not isinstance(joined.op, JoinPhases):
        return None
    if not graph.is_private(joined):
        return None
    conv = joined.inputs[0]
    kind = node.op.infer(conv.type)
    name = fresh_name(graph, f"{node.name}.phases")
    inner = replace(node, inputs=(conv,), type=kind, name=name)
    return replace(node, op=joined.op, inputs=(inner,))
