"""Reductions along axes."""

from collections.abc import Mapping

import numpy as np

from cnnc.onnx.builder import Builder
from cnnc.onnx.values import Flow, Known, RefusedError, axes_of
from cnnc.torch.call import Call, through
from cnnc.torch.registry import importer

KINDS: Mapping[str, str] = {
    "mean": "ReduceMean", "sum": "ReduceSum", "amax": "ReduceMax", "amin": "ReduceMin"
}  # fmt: skip


NORMS: Mapping[float, str] = {1.0: "ReduceL1", 2.0: "ReduceL2"}


@importer(*KINDS, "linalg_vector_norm")
def reduce(call: Call, build: Builder) -> Flow:
    """Along some axes, or all of them."""
    if call.op == "linalg_vector_norm":
        order = call.number("ord", 2.0)
        if order not in NORMS:
            raise RefusedError(f"its order is {order}")
        return _along(call, build, NORMS[order])
    return _along(call, build, KINDS[call.op])


@importer("max", "min")
def extremum(call: Call, build: Builder) -> list[Flow]:
    """Of two tensors, or along an axis, without the places."""
    call.only(1)
    if "other" in call.arguments:
        operands = [call.value("self"), call.value("other")]
        return [through(build, call.op.capitalize(), operands)]
    return [_along(call, build, f"Reduce{call.op.capitalize()}")]


def _along(call: Call, build: Builder, op: str) -> Flow:
    x = build.flow(call.value("self"))
    given = call.arguments.get("dim")
    given = [given] if isinstance(given, int) else given or range(x.rank)
    axes = Known(np.array(axes_of(list(given), x.rank), np.int64))
    kept = int(bool(call.arguments.get("keepdim", False)))
    return through(build, op, [x, axes], keepdims=kept)
