"""Names of weights: the rule of docs/language.md, case by case."""

import pytest

from cnnc.frontend.scope import Paths
from tests.frontend.helpers import net, weights

BLOCKS = """
block conv_bn(c, k = 3, s = 1) { conv(c, k, stride = s, pad = same, bias = false) -> batchnorm }
block residual(c, s = 1) {
  add { conv_bn(c, s = s) -> relu -> conv(c, 3, pad = same, bias = false) -> batchnorm
      | if (s != 1 or in.channels != c) { conv(c, 1, stride = s, bias = false) -> batchnorm }
        else { id } }
  -> relu
}
block labelled(c) { add { first: conv(c, 3, pad = same) | shortcut: conv(c, 1) } }
block bound(c) { h = conv(c, 3, pad = same) -> relu
  g = in -> conv(c, 1)
  h + g -> conv(c, 1) }
block single(c) { conv(c, 1) }
"""


def names(body: str) -> set[str]:
    """Paths of all weights but those of biases and batchnorm."""
    return {
        name.removesuffix(".weight")
        for name in weights(net(body, before=BLOCKS))
        if name.endswith(".weight") and "batchnorm" not in name
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("output y = x -> conv(3, 1)", {"y"}),
        ("output y = x -> conv(3, 1) -> relu", {"y.conv"}),
        (
            "output y = x -> conv(3, 1) -> conv(3, 1) -> conv(3, 1)",
            {"y.conv", "y.conv_1", "y.conv_2"},
        ),
        ("stem = x -> conv_bn(3)\n  output y = stem", {"stem.conv"}),
        ("output y = x -> conv_bn(3) -> relu", {"y.conv_bn.conv"}),
        ("output y = x -> head: conv(3, 1)", {"head"}),
        ("output y = x -> relu -> head: conv(3, 1) -> conv(3, 1)", {"head", "y.conv"}),
        ("output y = x -> head: conv_bn(3)", {"head.conv"}),
        ("output y = x -> head: add { conv(3, 1) | conv(3, 1) }", {"head.conv", "head.conv_1"}),
        ("output y = x -> labelled(3)", {"y.first", "y.shortcut"}),
        ("output y = x -> relu -> labelled(3)", {"y.labelled.first", "y.labelled.shortcut"}),
        ("output y = x -> bound(3)", {"y.h.conv", "y.g", "y.conv"}),
        ("output y = x -> single(3)", {"y.conv"}),
        ("output y = x -> add { conv(3, 1) | id }", {"y.conv"}),
        ("output y = (x -> conv(3, 1)) * x + (x -> conv(3, 1))", {"y.conv", "y.conv_1"}),
        ("output y = x -> if (true) { conv(3, 1) }", {"y"}),
        ("output y = x -> if (true) { conv(3, 1) -> relu }", {"y.conv"}),
        ("output y = x -> repeat(2) { conv(3, 1) }", {"y.0", "y.1"}),
        ("output y = x -> repeat(2) { conv(3, 1) -> relu }", {"y.0.conv", "y.1.conv"}),
        ("output y = x -> relu -> repeat(2) { conv(3, 1) }", {"y.0", "y.1"}),
        ("output y = x -> repeat(2) { repeat(1) { conv(3, 1) } }", {"y.0.0", "y.1.0"}),
        ("output y = x -> repeat(2) { a: conv(3, 1) -> relu }", {"y.0.a", "y.1.a"}),
        ("output y = x -> layer: repeat(1) { conv(3, 1) -> relu }", {"layer.0.conv"}),
        ("output y = x -> repeat(1) { if (i == 0) { conv_bn(3) } }", {"y.0.conv"}),
        (
            "output y = x -> repeat(1) { conv(3, 1) } -> repeat(2) { conv(3, 1) }",
            {"y.0", "y.repeat_1.0", "y.repeat_1.1"},
        ),
        (
            "body = x -> repeat(2) { residual(3) } -> residual(6, s = 2) -> pool(l2, 2)\n"
            "  output y = body -> pool(avg, global) -> flatten -> head: dense(10)",
            {
                *(f"body.{i}.{name}" for i in (0, 1) for name in ("conv_bn.conv", "conv")),
                *(f"body.residual.{name}" for name in ("conv_bn.conv", "conv", "conv_1")),
                "head",
            },
        ),
    ],
)
def test_paths(body: str, expected: set[str]) -> None:
    """Bindings, labels, blocks, joins, conditions and repetitions."""
    assert names("  " + body) == expected


def test_parameters_of_an_instance() -> None:
    """The last part is the operator's own name for it."""
    found = weights(net("  output y = x -> conv(4, 3) -> norm: batchnorm -> flatten -> dense(5)"))
    assert found == {
        "y.conv.weight": (4, 3, 3, 3),
        "y.conv.bias": (4,),
        "norm.weight": (4,),
        "norm.bias": (4,),
        "norm.mean": (4,),
        "norm.var": (4,),
        "y.dense.weight": (5, 144),
        "y.dense.bias": (5,),
    }


def test_every_node_has_its_own_name() -> None:
    """Also nodes without weights, in a net that uses everything twice."""
    body = (
        "  a = x -> repeat(2) { residual(3) } -> repeat(2) { residual(3) } -> residual(4)\n"
        "  b = a -> bound(4) -> bound(4) -> single(3) -> single(3)\n"
        "  output y = b * x + 1 - 2 * x\n  output z = (x -> relu) + (x -> relu) -> relu"
    )
    nodes = net(body, before=BLOCKS).graph.nodes
    assert len({node.name for node in nodes}) == len(nodes)


def test_numbered_paths_stay_clear_of_chosen_ones() -> None:
    """A binding called `conv_1` keeps its name."""
    paths = Paths()
    assert paths.claim("conv_1")
    assert [paths.claim_free("", "conv") for _ in range(3)] == ["conv", "conv_2", "conv_3"]
    assert not paths.claim("conv_2")
