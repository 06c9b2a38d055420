"""The networks that generators are given."""

from cnnc.ir.graph import Graph
from cnnc.passes.fold_batchnorm import fold_batchnorm
from cnnc.passes.fold_constants import fold_constants
from cnnc.passes.simplify import simplify


def as_exported(graph: Graph) -> Graph:
    """What exporters from training frameworks write: no dropout, and no batchnorm behind a conv.

    Neither onnx2c nor emx-onnx-cgen fold batchnorms themselves.
    """
    return simplify(fold_batchnorm(simplify(fold_constants(graph))))
