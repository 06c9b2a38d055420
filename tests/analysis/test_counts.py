"""Connections and uses of weights, against counting one by one."""

import numpy as np
import pytest

import cnnc
from cnnc.analysis.analysis import Wishes, analyze_graph
from cnnc.analysis.dependence import Dependences
from cnnc.analysis.interactions import count_layers
from cnnc.analysis.uses import count_uses
from cnnc.ops.spec import Sample, find_operator
from tests.analysis.test_operators import node_of

LINEAR = ("conv", "conv_transpose", "unshared", "dense")
CASES = [
    sample
    for name in LINEAR
    for sample in (find_operator(name) or pytest.fail(name)).samples()
    if np.prod(sample.shapes[0]) < 2000
]


@pytest.mark.parametrize("sample", CASES, ids=lambda s: f"{s.op.label}{list(s.shapes)}")
def test_uses_of_weights(sample: Sample) -> None:
    """A weight is used for a result if that changes with it: no weight is used twice for one."""
    node = node_of(sample)
    random = np.random.default_rng(0)
    x = random.uniform(1, 2, node.inputs[0].type.shape)
    operands = [x, *(np.array(each.constant, np.float64) for each in node.inputs[1:])]
    before = node.op.reference(*operands)
    for place in range(1, len(node.inputs)):
        counts = []
        for index in list(np.ndindex(*operands[place].shape))[:400]:
            changed = [operand.copy() for operand in operands]
            changed[place][index] += 1
            counts.append(int(np.count_nonzero(node.op.reference(*changed) != before)))
        uses = count_uses(Dependences().of(node), place)
        assert uses is not None
        if len(counts) == operands[place].size:
            assert (uses.least, uses.most, uses.total) == (min(counts), max(counts), sum(counts))
            assert uses.mean == pytest.approx(np.mean(counts))
        assert uses.least <= min(counts) <= max(counts) <= uses.most


def test_convolution_against_what_it_replaces() -> None:
    """The example of the book: an edge detector on a picture of 280 × 320 pixels.

    Goodfellow, Bengio, Courville, "Deep Learning" (2016), section 9.2: 319 × 280 × 3 = 267,960
    operations for the convolution; 320 × 280 × 319 × 280, over eight billion, entries for the
    matrix that does the same. One kernel of two weights needs no addition of a bias.
    """
    text = """cnn 1
    net edges {
      input x: f32[N, 1, 280, 320]
      output y = x -> conv(1, [1, 2], bias = false)
      weights he
    }"""
    (counts,) = analyze_graph(cnnc.load_text(text).graph, Wishes(measure=False)).counts
    assert counts.connections == 319 * 280 * 2
    assert counts.dense == counts.dense_parameters == 320 * 280 * 319 * 280 > 8e9
    assert (counts.parameters, counts.unshared) == (2, 319 * 280 * 2)
    assert counts.is_exact


def test_several_operands_and_elementwise_layers() -> None:
    """Connections add up over the operands; numbers in the text are no operands."""
    text = """cnn 1
    net n {
      input a: f32[N, 3, 4]
      input b: f32[N, 1, 4]
      s = a + b
      output y = s * 2 -> batchnorm -> conv(2, 1)
      weights he
    }"""
    graph = cnnc.load_text(text).graph
    found = {node.name: each for node, each in count_layers(graph, Dependences()).items()}
    assert (found["s.add"].connections, found["s.add"].dense) == (24, 12 * 12 + 12 * 4)
    assert not found["s.add"].is_wide
    assert found["y.conv"].is_wide
    assert [weights.name for weights in found["y.batchnorm"].weights] == [
        "y.batchnorm.weight",
        "y.batchnorm.bias",
    ]
    assert all(each.uses and each.uses.most == 4 for each in found["y.batchnorm"].weights)
