"""Kernels of all operators' samples, in every form they take on their way to a backend."""

from collections.abc import Iterator, Sequence

from cnnc.backends.native.targets import named_target
from cnnc.base.layout import Layout
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import Kernel
from cnnc.ops.spec import Operator
from tests.backends.support import lowered, single
from tests.ops.cases import Case


def defined(
    op: Operator,
    shapes: Sequence[tuple[int, ...]],
    layouts: Sequence[Layout] | None = None,
    types: Sequence[TensorType] = (),
) -> Kernel:
    """The loops an operator writes, for operands x0, x1, … and a result y, the last layout's."""
    types = [*types] or [TensorType.plain(shape) for shape in shapes]
    types.append(op.infer(*types))
    layouts = layouts or [each.layout for each in types]
    names = [*(f"x{position}" for position in range(len(shapes))), "y"]
    buffers = [
        Buffer(name, each.shape, each.dtype, layout)
        for name, each, layout in zip(names, types, layouts, strict=True)
    ]
    build = KernelBuilder(buffers[-1], *buffers[:-1])
    op.define(build, *buffers[:-1])
    return Kernel("k", tuple(buffers), ("y",), build.body)


def forms(case: Case) -> Iterator[Kernel]:
    """As defined; scheduled; flat, with vectors and elementary functions expanded."""
    yield defined(case.op, [operand.shape for operand in case.operands], types=case.types)
    split = len(case.operands) - len(case.parameters)
    for name in ("x86-64", "x86-64-v4"):
        graph = single(case.op, case.operands[:split], case.operands[split:])
        result = lowered(graph, named_target(name))
        yield from (layer.kernel for layer in result.layers)
        yield from result.program.kernels
