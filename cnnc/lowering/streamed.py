"""How stages that are computed band by band are put together."""

from collections.abc import Callable
from dataclasses import replace

from cnnc.ir.graph import Node
from cnnc.loop.expr import Buffer, Space
from cnnc.loop.kernel import Alloc, For, Kernel, Kind, Origin, Stmt
from cnnc.lowering.loops import drop_unit_loops, rename_registers
from cnnc.ops.bands import BAND, SAMPLE, place
from cnnc.ops.streamed import Streamed


def lower_streamed(node: Node, op: Streamed, lower: Callable[[Node], Kernel]) -> Kernel:
    """for sample, band parallel: t = scratch; the first stage into t; the second from it; …

    Each stage is scheduled as an operator of its own, by `lower`, for the rows of one band.
    """
    parts = op.parts(*(operand.type for operand in node.inputs))
    result = Buffer("y", node.type.shape, node.type.dtype, node.type.layout)
    params: list[Buffer] = []
    body: list[Stmt] = []
    algorithms: list[str] = []
    flow: list[Buffer] = []
    for number, (part, own) in enumerate(zip(parts, op.shares(node.inputs), strict=True)):
        kernel = lower(part.node(own, f"{node.name}.{number}"))
        *given, out = kernel.params
        mine = [
            _whole(buffer, operand, f"{buffer.name}.{number}", has_rows=frame is not None)
            for buffer, operand, frame in zip(
                given[len(flow) :], own, part.reads[len(flow) :], strict=True
            )
        ]
        operands = dict(zip(given, (*flow, *mine), strict=True))
        flow = [result]
        if part is not parts[-1]:
            flow = [replace(out, name=f"t{number}", space=Space.SCRATCH)]
            body.append(Alloc(flow[0]))
        # stages may keep vectors of different widths
        own_registers = tuple(rename_registers(stmt, f".s{number}") for stmt in kernel.body)
        body += place(part, own_registers, operands, (out, flow[0]))
        params += mine
        algorithms.append(kernel.origin.algorithm.rpartition("tile ")[2])
    nest = For(BAND, parts[0].bands, tuple(body), Kind.PARALLEL)
    nest = For(SAMPLE, node.type.shape[0], (nest,), Kind.PARALLEL)
    macs = op.macs(node.type, *(operand.type for operand in node.inputs))
    algorithm = f"{op.rows} rows at a time: {', '.join(algorithms)}"
    origin = Origin(op.label, node.name, str(node.span or ""), macs, algorithm)
    return drop_unit_loops(Kernel("streamed", (*params, result), ("y",), (nest,), origin))


def _whole(buffer: Buffer, operand: Node, name: str, *, has_rows: bool) -> Buffer:
    """The buffer of all of an operand that a stage reads, packed as the stage wants constants."""
    if operand.is_constant and not has_rows:
        return replace(buffer, name=name)
    return Buffer(name, operand.type.shape, operand.type.dtype, operand.type.layout)
