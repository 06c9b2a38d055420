"""The arrays of a `check` file, held against the net they are for."""

from math import prod
from pathlib import Path

from cnnc.base.errors import Diagnostic, UserError, did_you_mean
from cnnc.base.vectors import CheckVectors
from cnnc.frontend.arrays import ArrayInfo, open_arrays
from cnnc.frontend.clauses import Check
from cnnc.frontend.files import confine
from cnnc.ir.graph import Graph
from cnnc.ir.types import TensorType

MAX_BYTES = 4 << 30


__all__ = ["CheckVectors", "read_vectors"]


def read_vectors(graph: Graph, check: Check, folder: Path | None) -> CheckVectors:
    """The arrays of a check; UserError for what does not fit the graph's inputs and outputs."""
    span = check.path.span
    file = open_arrays(confine(check.path.value, folder, span), span)
    inputs = {str(node.name): node for node in graph.inputs}
    expected = {**inputs, **graph.outputs}
    found: list[Diagnostic] = []
    for name in inputs:
        if name not in file.infos:
            message = f"the check file lacks the input `{name}`"
            found.append(Diagnostic("E0409", message, span, help=did_you_mean(name, file.infos)))
    if not any(name in file.infos for name in graph.outputs):
        message = f"the check file holds no output: {', '.join(graph.outputs)}"
        found.append(Diagnostic("E0409", message, span))
    samples = {info.shape[0] for info in file.infos.values() if info.shape}
    if len(samples) > 1:
        message = "the arrays of the check file have different numbers of samples"
        note = ", ".join(f"`{name}` {info}" for name, info in file.infos.items())
        found.append(Diagnostic("E0409", message, span, notes=(note,)))
    for name, info in file.infos.items():
        if name not in expected:
            message = f"the net has no input or output `{name}`, which the check file holds"
            found.append(Diagnostic("E0409", message, span, help=did_you_mean(name, expected)))
        elif (problem := _misfit(info, expected[name].type)) is not None:
            message = f"`{name}` of the check file is {info}"
            found.append(Diagnostic("E0409", message, span, problem))
    if sum(prod(info.shape) for info in file.infos.values()) * 4 > MAX_BYTES:
        found.append(Diagnostic("E0504", f"the check file needs more than {MAX_BYTES} bytes", span))
    if found:
        raise UserError(found)
    arrays = file.read(file.infos)
    return CheckVectors(
        {name: arrays[name] for name in inputs},
        {name: arrays[name] for name in graph.outputs if name in arrays},
        check.atol,
        check.rtol,
    )


def _misfit(info: ArrayInfo, kind: TensorType) -> str | None:
    shape = kind.shape
    if len(info.shape) != len(shape) or info.shape[1:] != shape[1:] or info.shape[:1] == (0,):
        return f"expected {kind.dtype}[samples, {', '.join(map(str, shape[1:]))}]"
    return None if info.dtype == str(kind.dtype) else f"expected {kind.dtype}"
