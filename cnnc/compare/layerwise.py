"""Every layer alone: its operands are the reference's, so errors do not cascade."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cnnc.backends.base import Executable
from cnnc.base.dtype import DType
from cnnc.base.target import NOTHING, Rounding
from cnnc.compare.blame import Suspect
from cnnc.compare.measure import Errors, measure
from cnnc.ir.evaluate import Evaluated, round_to, trace, widen
from cnnc.ir.graph import Array, Node, Real
from cnnc.loop.expr import Buffer
from cnnc.lowering.lowered import Layer, Lowered
from cnnc.memory import aligned, packed, unpacked
from cnnc.ops.spec import Operator


@dataclass(frozen=True, slots=True)
class LayerResult:
    """A layer, its errors, what is wrong around its result, and its worst element if it is out."""

    layer: Layer
    errors: Errors
    spill: str
    suspect: Suspect | None


def compare_layers(
    lowered: Lowered,
    executable: Executable,
    inputs: Mapping[str, Array],
    rounding: Rounding = NOTHING,
) -> Iterator[LayerResult]:
    """Run each kernel once on the reference's values, rounded to their types.

    A layer's tolerance bounds the rounding errors of its own arithmetic: `Operator.error` with
    exact operands. `rounding` is the target's. Values are let go after their last reader.
    """
    layers = {layer.node: layer for layer in lowered.layers}
    exact: list[Real] = []

    def rounded(node: Node, value: Real) -> Real:
        exact[:] = [value]
        found = round_to(value, node.type.dtype)
        if rounding.stored and node.type.dtype is DType.F32 and not node.is_constant:
            return widen(rounding.stored.widen(rounding.stored.narrow(found)))
        return widen(found)

    for step in trace(lowered.graph, inputs, rounded):
        if step.node in layers:
            tolerance = bound_errors(step.node, exact[0], step.operands, rounding)
            yield _compare(lowered, executable, layers[step.node], step, exact[0], tolerance)


def bound_errors(
    node: Node, value: Real, operands: tuple[Real, ...], rounding: Rounding = NOTHING
) -> Real:
    """Bound on the rounding errors of one operator on exact operands, per element.

    With `rounding`, factors of products that are summed may be rounded before, and the result
    afterwards.
    """
    op = node.op
    if not isinstance(op, Operator):
        return np.zeros_like(value)
    unit = node.type.dtype.unit_roundoff
    errors: list[Real] = [np.zeros(operand.shape) for operand in operands]
    with np.errstate(all="ignore"):
        if rounding.factors and op.macs(node.type, *(operand.type for operand in node.inputs)):
            # products are off as if the first factor alone were, by the roundings of both
            errors[0] = (2 * rounding.factors + rounding.factors**2) * np.abs(operands[0])
        bound = op.error(unit, value, operands, errors)
        if rounding.stored and node.type.dtype is DType.F32:
            bound = bound + rounding.stored.error(np.abs(value) + bound)
    return bound


def _compare(
    lowered: Lowered,
    executable: Executable,
    layer: Layer,
    step: Evaluated,
    expected: Real,
    tolerance: Real,
) -> LayerResult:
    node, params = layer.node, layer.kernel.params
    operands = tuple(
        round_to(value, operand.type.dtype)
        for value, operand in zip(step.operands, node.inputs, strict=True)
    )
    buffers = [packed(param, each) for param, each in zip(params[:-1], operands, strict=True)]
    out = params[-1]
    memory = aligned(out.layout.size(out.shape), out.dtype.numpy)
    memory[:] = np.nan if out.dtype.is_float else 0
    position = lowered.program.steps[layer.step].kernel
    executable.run_kernel(position, [*buffers, memory])
    errors = measure(unpacked(out, memory), expected, tolerance)
    suspect = None
    if not errors.ok:
        flat = lowered.program.kernels[position]
        suspect = Suspect(
            node, layer.kernel, flat, operands, errors.index, errors.expected, errors.tolerance
        )
    return LayerResult(layer, errors, _find_spill(out, memory), suspect)


def _find_spill(out: Buffer, memory: Array) -> str:
    """What is wrong around a result: its halo stands for the zeros of a padded window.

    Channels that only fill up a block may hold anything: nobody reads them for a result.
    """
    inside = out.layout.pack(np.ones(out.shape, np.uint8)).reshape(-1) != 0
    grown = [size + sum(out.layout.halo_of(axis)) for axis, size in enumerate(out.shape)]
    bare = out.layout.with_halo(())
    halo = (bare.pack(np.ones(grown, np.uint8)).reshape(-1) != 0) & ~inside
    dirty = np.count_nonzero(memory[halo] != 0)
    return f"{dirty} elements of the halo are not zero" if dirty else ""
