"""Reductions along axes."""

from collections.abc import Mapping

import numpy as np

from cnnc.onnx.builder import Builder
from cnnc.onnx.values import Flow, Known, axes_of
from cnnc.torch.call import Call, through
from cnnc.torch.registry import importer

KINDS: Mapping[str, str] = {
    "mean": "ReduceMean", "sum": "ReduceSum", "amax": "ReduceMax", "amin": "ReduceMin"
}  # fmt: skip


@importer(*KINDS)
def reduce(call: Call, build: Builder) -> Flow:
    """Along some axes, or all of them."""
    x = build.flow(call.value("self"))
    given = call.arguments.get("dim")
    given = [given] if isinstance(given, int) else given or range(x.rank)
    axes = Known(np.array(axes_of(list(given), x.rank), np.int64))
    kept = int(bool(call.arguments.get("keepdim", False)))
    return through(build, KINDS[call.op], [x, axes], keepdims=kept)
