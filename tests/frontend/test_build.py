"""AST → graph: what flows where, in one and two dimensions."""

import numpy as np
import pytest

from cnnc.base.errors import UserError
from cnnc.ir.evaluate import evaluate
from cnnc.ir.graph import Constant
from cnnc.ir.text import format_graph
from tests.frontend.helpers import diagnostics, net, operators, weights


def test_a_pipeline_is_a_chain() -> None:
    """Each stage reads the one before; the graph prints as expected."""
    loaded = net("  output y = x -> conv(4, 3, pad = same) -> relu -> pool(max, 2)")
    assert format_graph(loaded.graph) == (
        "graph n (batch=1)\n"
        "%0 x = input : f32[1, 3, 8, 8]\n"
        "%1 y.conv.weight = parameter(initial=weight, fan_in=27, fan_out=36) : f32[4, 3, 3, 3]\n"
        "%2 y.conv.bias = parameter(initial=zeros, fan_in=1, fan_out=1) : f32[4]\n"
        "%3 y.conv = conv(channels=4, kernel=3, pad=same) %0, %1, %2 : f32[1, 4, 8, 8]\n"
        "%4 y.relu = relu %3 : f32[1, 4, 8, 8]\n"
        "%5 y.pool = pool(kind=max, size=2) %4 : f32[1, 4, 4, 4]\n"
        "output y = %5\n"
    )


@pytest.mark.parametrize(
    ("image", "shape"),
    [
        ("f32[N, 2, 9]", (1, 4, 5)),
        ("f32[N, 2, 9, 7]", (1, 4, 5, 4)),
        ("f32[N, 2, 9, 7, 5]", (1, 4, 5, 4, 3)),
    ],
)
def test_rank_comes_from_the_input(image: str, shape: tuple[int, ...]) -> None:
    """The same text is a series, image or volume net."""
    loaded = net("  output y = x -> conv(4, 3, stride = 2, pad = same) -> batchnorm", image=image)
    assert loaded.graph.outputs["y"].type.shape == shape


def test_branches_receive_the_same_input() -> None:
    """`in`, `id` and a nested pipeline mean what flows into the join."""
    loaded = net(
        "  output y = x -> relu -> add { tanh -> sigmoid | id | in }\n"
        "  output z = x -> concat(axis = 1) { in | relu } -> mul { in | y.channels }\n"
    )
    found = operators(loaded)
    assert found["y.tanh"] == "tanh <- y.relu"
    assert found["y.add"] == "add <- y.sigmoid, y.id, y.relu"
    assert found["z.relu"] == "relu <- x"
    assert found["z.mul"] == "mul <- z.concat, z.number"
    assert loaded.graph.outputs["z"].type.shape == (1, 6, 8, 8)


def test_joins_and_calls_may_start_a_pipeline() -> None:
    """In a net nothing flows in: branches and arguments name their tensors."""
    loaded = net(
        "  a = x -> relu\n"
        "  output y = add { a | x -> tanh } -> relu\n"
        "  output z = add(a, x, a)\n"
        "  output u = conv(x, 4, 3)\n"
        "  output v = a -> sub(x)"
    )
    found = operators(loaded)
    assert found["y.add"] == "add <- a, y.tanh"
    assert found["z"] == "add <- a, x, a"
    assert found["u"] == "conv(channels=4, kernel=3) <- x, , "
    assert found["v"] == "sub <- a, x"


def test_infix_arithmetic_on_tensors() -> None:
    """Operators by precedence; numbers become constants that broadcast."""
    loaded = net("  h = x -> tanh\n  output y = (1 - h) * x + h / 2 - -x")
    value = np.linspace(-2, 2, 192, dtype=np.float32).reshape(1, 3, 8, 8)
    h = np.tanh(value.astype(np.float64))
    result = evaluate(loaded.graph, {"x": value})["y"]
    np.testing.assert_allclose(result, (1 - h) * value + h / 2 + value, atol=1e-6)


def test_blocks_take_numbers_choices_stages_and_tensors() -> None:
    """Defaults follow earlier parameters; names of the caller stay outside."""
    loaded = net(
        "  k = 100\n"
        "  output y = x -> b(4, act = leaky_relu(0.1), pad = valid)\n"
        "  output z = gate(x, y -> conv(3, 1, pad = 2))\n"
        "  output w = x -> b(2)\n  assert k == 100",
        before=(
            "param width = 2\n"
            "block b(c, k = c + width - 1, act = relu, pad = same) {\n"
            "  conv(c, k, pad = pad) -> act }\n"
            "block gate(a, b) { s = b -> sigmoid\n  a * s }"
        ),
    )
    found = operators(loaded)
    assert found["y.conv"] == "conv(channels=4, kernel=5, pad=valid) <- x, , "
    assert found["y.leaky_relu"] == "leaky_relu(slope=0.1) <- y.conv"
    assert found["w.conv"] == "conv(channels=2, kernel=3, pad=same) <- x, , "
    assert found["z.mul"] == "mul <- x, z.s"


def test_in_belongs_to_the_braces() -> None:
    """Not to the stage whose argument it stands in; `if` and `repeat` begin at their keyword."""
    loaded = net(
        "  output y = x -> b\n"
        "  output z = x -> conv(5, 1) -> if (in.channels == 5) { conv(2 * in.channels, 1) }\n"
        "  output w = x -> conv(2, 1) -> repeat(in.channels) { relu }",
        before=(
            "block b {\n  conv(6, 1) -> conv(in.channels, 1) -> mul { in | conv(in.channels, 1) } }"
        ),
    )
    found = operators(loaded)
    assert found["y.conv_1"].startswith("conv(channels=3, kernel=1) <- y.conv,")
    assert found["y.conv_2"].startswith("conv(channels=3, kernel=1) <- y.conv_1,")
    assert found["z.conv_1"].startswith("conv(channels=10,")
    assert "w.1" in found
    assert "w.2" not in found


def test_repeat_counts_and_walks_lists() -> None:
    """The index is `i`, or a name of your own; a list gives its items in turn."""
    loaded = net(
        "  output a = x -> repeat(3) { conv(3, 3, dilation = 2 ^ i, pad = same) }\n"
        "  output b = x -> repeat(k in 2) { repeat(j in 2) { conv(1 + 2 * k + j, 1) } }\n"
        "  output c = x -> repeat(w in [4, 6]) { conv(w, 1) }\n"
        "  output d = x -> repeat(0) { conv(4, 1) } -> relu"
    )
    shapes = weights(loaded)
    found = operators(loaded)
    assert "dilation=4" in found["a.2"]
    assert [shapes[f"b.{k}.{j}.weight"][0] for k in (0, 1) for j in (0, 1)] == [1, 2, 3, 4]
    assert [shapes[f"c.{k}.weight"] for k in (0, 1)] == [(4, 3, 1, 1), (6, 4, 1, 1)]
    assert found["d.relu"] == "relu <- x"


def test_statements_inside_bodies() -> None:
    """A body binds names of its own, once per repetition."""
    loaded = net(
        "  output y = x -> repeat(2) {\n"
        "    h = conv(3, 3, pad = same) -> relu\n"
        "    assert h.channels == in.channels\n"
        "    in + h\n"
        "  }"
    )
    found = operators(loaded)
    assert found["y.1.h.relu"] == "relu <- y.1.h.conv"
    assert found["y.1.add"] == "add <- y.0.add, y.1.h.relu"


def test_if_is_decided_when_the_net_is_built() -> None:
    """Only the taken branch exists; without `else` the input passes."""
    loaded = net(
        "  output y = x -> if (x.channels == 3) { relu } else { tanh }\n"
        "  output z = x -> if (x.rank != 4) { relu }\n"
        "  output w = x -> if (false) { relu } else if (true) { tanh } else { sigmoid }\n"
        "  output v = x -> conv(if (x.height > 4) { 5 } else { 6 }, 1)"
    )
    assert operators(loaded) == {
        "y": "relu <- x",
        "w": "tanh <- x",
        "v": "conv(channels=5, kernel=1) <- x, , ",
    }
    assert loaded.graph.outputs["z"] is loaded.graph.inputs[0]


def test_several_inputs_and_outputs_keep_their_order() -> None:
    """Also an input that nothing needs."""
    loaded = net(
        "  input b: f32[N, 3, 1, 1]\n  input spare: f32[N, 2]\n"
        "  output second = x * b\n  output first = second -> relu, copy = x"
    )
    assert [node.name for node in loaded.graph.inputs] == ["x", "b", "spare"]
    assert [*loaded.graph.outputs] == ["second", "first", "copy"]
    assert [(each.code, str(each.span)) for each in loaded.warnings] == [
        ("W0201", "test.cnn:6:9"),
        ("W0901", "test.cnn:3:5"),
    ]


def test_lists_of_tensors_come_apart() -> None:
    """A block may have several results."""
    loaded = net(
        "  low, high = x -> pyramid(4)\n  output y = low -> relu, z = high -> relu",
        before="block pyramid(c) { a = conv(c, 3, pad = same)\n  [a, a -> pool(max, 2)] }",
    )
    found = operators(loaded)
    assert found["y"] == "relu <- pyramid.a"
    assert found["z"] == "relu <- pyramid.pool"


def test_a_block_hides_an_operator_of_its_name() -> None:
    """So that files keep their meaning when operators are added."""
    loaded = net("  output y = x -> relu", before="block relu { tanh }")
    assert operators(loaded) == {"y.tanh": "tanh <- x"}


def test_fixed_tables_are_constants_not_weights() -> None:
    """Weighted pooling owns its table; no weights file has to hold it."""
    loaded = net("  output y = x -> pool(weighted, 3, falloff = gaussian(1.0))")
    assert weights(loaded) == {}
    assert any(isinstance(node.op, Constant) for node in loaded.graph.nodes)


def test_members_of_tensors() -> None:
    """Shapes are numbers while the net is built."""
    loaded = net(
        "  s = x -> flatten\n"
        "  output y = s -> dense(x.channels + x.height * 10 + x.width)\n"
        "  assert x.shape == [N, 3, 8, 9] and x.spatial == [8, 9] and x.size == 216\n"
        "  assert x.batch == N and s.rank == 2 and len(x.shape) == 4 and x.shape[-1] == 9\n"
        "  assert max(1, 2, x.rank) == 4 and min(3, 2) == 2 and abs(-3) == 3\n"
        "  assert ceil(2.2) == 3 and floor(-2.5) == -3 and round(2.6) == 3 and sqrt(16) == 4\n"
        "  assert 7 / 2 == 3.5 and 8 / 2 == 4 and 7 // 2 == 3 and -7 % 3 == 2 and 2 ^ -1 == 0.5",
        image="f32[N, 3, 8, 9]",
    )
    assert loaded.graph.outputs["y"].type.shape == (1, 92)


def test_depth_is_refused_not_suffered() -> None:
    """Blocks within blocks, each with deep brackets, pass every single limit but not Python's."""
    deep = 50
    blocks = "block b0 { relu }\n" + "".join(
        f"block b{k} {{ {'(in + ' * deep}(in -> b{k - 1}){')' * deep} }}\n" for k in range(1, 40)
    )
    assert net("  output y = x -> b1", before=blocks.split("block b2")[0])
    with pytest.raises(UserError) as caught:
        net("  output y = x -> b39", before=blocks)
    assert [each.code for each in caught.value.diagnostics] == ["E0502"]


def test_mistakes_in_repetitions_say_in_which() -> None:
    """Not in the first one: there the text alone explains it."""
    body = "repeat(c in [4, 8, 9]) { conv(c, 3, groups = 4, pad = same) }"
    text = "cnn 1\nnet n {{\n  input x: f32[N, 4, 8, 8]\n  output y = x -> {body}\n}}\n"
    (found,) = diagnostics(text.format(body=body))
    assert found.notes[-1] == "in repetition 3 of 3, with `c` = 9"
    (found,) = diagnostics(text.format(body=body.replace("9", "10").replace("4, 8", "5, 8")))
    assert not any("repetition" in note for note in found.notes)
    (found,) = diagnostics(text.format(body="repeat(3) { repeat(2) { conv(4, 3) } }"))
    assert found.notes[-2:] == (
        "in repetition 2 of 2, with `i` = 1",
        "in repetition 2 of 3, with `i` = 1",
    )


def test_bytes_are_pointed_to_preprocessing() -> None:
    """Other integers are seldom pixels; what the help says can be written."""
    text = "cnn 1\nnet n {{\n  input x: {}[N, 3, 8, 8]\n  output y = x{} -> conv(4, 3)\n}}\n"
    (found,) = diagnostics(text.format("u8", ""))
    stage = "-> preprocess(scale = 1/255)"
    assert found.help == f"cast it first: `-> cast(f32)`, or `{stage}` for pixels"
    (found,) = diagnostics(text.format("i32", ""))
    assert found.help == "cast it first: `-> cast(f32)`"
    net(f"  output y = x {stage} -> conv(4, 3)", image="u8[N, 3, 8, 8]")
