"""Golden vectors: inputs, the outputs of the reference, and how far results may be off."""

import numpy as np
from numpy.typing import NDArray

from cnnc.api import Model
from cnnc.base.errors import UserError
from cnnc.compare.compare import random_inputs
from cnnc.compare.whole import expect
from cnnc.ir.evaluate import round_to
from cnnc.standalone.folder import File
from cnnc.standalone.unit import Unit

NAME = "golden.bin"
SAMPLES = 4
"""How many of a batch are different at most."""
Array = NDArray[np.generic]


def golden(unit: Unit) -> File:
    """`golden.bin`: the inputs in order, then for each output what it is and its tolerances.

    Row-major, little-endian, tolerances in float32. The inputs are those of the text's first
    check, or drawn by the request's seed. Large batches repeat a few samples.
    """
    model, seed = _for_few_samples(unit.model), unit.request.seed
    graph, times = model.graph, -(-unit.model.batch // model.batch)
    inputs = _inputs(model) or random_inputs(graph, seed)
    expected = expect(graph, inputs, seed, unit.targets[0].rounding)

    def whole(array: Array) -> bytes:
        if times == 1:
            return _little(array)
        return _little(np.concatenate([array] * times)[: unit.model.batch])

    parts = [whole(inputs[node.name]) for node in graph.inputs]
    for name, node in graph.outputs.items():
        parts.append(whole(round_to(expected.values[name], node.type.dtype)))
        tolerance = np.broadcast_to(expected.tolerances[name], node.type.shape)
        parts.append(whole(_coarse(tolerance)))
    return File(NAME, b"".join(parts))


def _for_few_samples(model: Model) -> Model:
    """The network for fewer samples, where none depends on another: float64 takes its time."""
    if model.batch <= SAMPLES:
        return model
    try:
        return model.with_batch((1, SAMPLES))
    except UserError:  # samples are mixed, or their number stands in the text
        return model


def _inputs(model: Model) -> dict[str, Array] | None:
    """One batch of the first check, its samples over and over again where it has fewer."""
    checks = model.checks()
    if not checks:
        return None
    places = range(model.batch)
    return {name: np.take(a, places, axis=0, mode="wrap") for name, a in checks[0].inputs.items()}


def _little(array: Array) -> bytes:
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).tobytes()


def _coarse(tolerance: Array) -> NDArray[np.float32]:
    """Rounded up to eighths of powers of two: last bits follow from how NumPy sums on a machine."""
    finite = np.nan_to_num(np.asarray(tolerance, np.float64), nan=np.inf, posinf=np.inf)
    with np.errstate(divide="ignore"):
        wide: NDArray[np.float32] = np.exp2(np.ceil(np.log2(finite) * 8) / 8).astype(np.float32)
    return wide
