"""What a kernel computes as plain data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cnnc.ir.graph import Node
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Local
from cnnc.loop.kernel import For, Kernel
from cnnc.loop.task import Tail, Task, Windows
from cnnc.lowering.elementary import expand_elementary
from cnnc.lowering.flatten import flatten
from cnnc.offers.offer import root_of
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.fused import Fused
from cnnc.ops.pool import Pool
from cnnc.ops.spec import Operator, Real, Sample


def task_of(node: Node, kernel: Kernel) -> Task:
    """The task of a node whose kernel still indexes logically."""
    root, operands = root_of(node)
    options = []
    for attribute in root.attributes():
        value = getattr(root, attribute.name)
        known = isinstance(value, int | float | str)
        options.append((attribute.name, value if known else str(value)))
    windows = _windows(root, operands[0].type if operands else node.type)
    tail = _tail(node, kernel)
    macs = kernel.origin.macs
    return Task(root.name, tuple(options), kernel.params, windows, tail, macs)


def _windows(root: Operator, x: TensorType) -> Windows | None:
    match root:
        case Conv() | Pool():
            window = root.window(x)
            return Windows(window.kernel, window.stride, window.dilation, window.pads)
        case ConvTranspose():
            turned = root.window(x)
            return Windows(turned.kernel, turned.stride, turned.dilation, turned.crop)
    return None


def _tail(node: Node, kernel: Kernel) -> Tail:
    """The operators behind the root, written for a result that is known already."""
    *params, out = kernel.params
    build = KernelBuilder(out, *params)
    root, operands = root_of(node)
    dtype = root.infer(*(operand.type for operand in operands)).dtype
    known: Operator = _Known(Tail.sum_of(dtype))
    if isinstance(node.op, Fused):
        known = replace(node.op, root=known)
    known.define(build, *params)
    body = expand_elementary(flatten(kernel.with_body(build.body))).body
    while len(body) == 1 and isinstance(body[0], For):
        body = body[0].body
    return Tail(body)


@dataclass(frozen=True)
class _Known(Operator):
    """Stands for what a kernel has summed."""

    value: Local

    name = "known"

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        raise NotImplementedError

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        raise NotImplementedError

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator."""
        raise NotImplementedError

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        with build.grid() as index:
            build.result(index, self.value)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """See Operator."""
        return ()
