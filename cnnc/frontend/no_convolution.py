"""The warning for nets that no convolution makes convolutional."""

from collections.abc import Iterator

from cnnc.base.errors import Diagnostic
from cnnc.base.source import Span
from cnnc.ir.graph import Graph
from cnnc.ops.spec import Operator


def find_no_convolution(graph: Graph, span: Span) -> Iterator[Diagnostic]:
    """A warning at the net's name if no layer convolves.

    The definition is that of Goodfellow, Bengio, Courville, "Deep Learning" (MIT Press 2016),
    chapter 9: "Convolutional networks are simply neural networks that use convolution in place of
    general matrix multiplication in at least one of their layers."
    """
    if any(isinstance(node.op, Operator) and node.op.is_convolution for node in graph.nodes):
        return
    yield Diagnostic(
        "W0901",
        f"`{graph.name}` has no convolution: by definition it is no CNN",
        span,
        notes=(
            "a convolutional network uses convolution in place of general matrix multiplication "
            "in at least one of its layers (Goodfellow, Bengio, Courville, Deep Learning, 2016, "
            "chapter 9)",
        ),
        severity="warning",
    )
