"""Lists of tensors: what flows, what `in` is, which operands operators take."""

import pytest

from tests.frontend.helpers import net, operators, weights

PAIR = "block pair { [relu, tanh] }\nblock swap { a, b = in\n  [b, a] }\n"


def of(body: str) -> dict[str, str]:
    """The operators of a net with the blocks `pair` and `swap`."""
    return operators(net(body, before=PAIR))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("output y = [x, x -> relu] -> sub", {"y.relu": "relu <- x", "y.sub": "sub <- x, y.relu"}),
        ("output y = x -> pair -> swap -> sub", {"y.sub": "sub <- y.pair.tanh, y.pair.relu"}),
        ("a = x -> pair\n  output y = a[1] -> relu", {"y": "relu <- a.tanh"}),
        (
            "_, a = x -> pair\n  _, b = x -> pair\n  output y = b - a",
            {"y.sub": "sub <- pair_1.tanh, pair.tanh"},
        ),
        ("output y = x -> pair -> add(x)", {"y.add": "add <- y.pair.relu, y.pair.tanh, x"}),
        ("a = x -> pair\n  output y = sub(a)", {"y": "sub <- a.relu, a.tanh"}),
        (
            "a = x -> pair\n  output y = concat(a, axis = 2)",
            {"y": "concat(axis=2) <- a.relu, a.tanh"},
        ),
        (
            "output y = x -> pair -> add { in[1] -> sigmoid | in[0] }",
            {"y.add": "add <- y.sigmoid, y.pair.relu"},
        ),
        (
            "output y = x -> pair -> swap -> if (len(in) == 2) { sub }",
            {"y.sub": "sub <- y.pair.tanh, y.pair.relu"},
        ),
        (
            "output y = x -> pair -> if (false) { swap } -> sub",
            {"y.sub": "sub <- y.pair.relu, y.pair.tanh"},
        ),
        (
            "output y = x -> pair -> repeat(3) { swap } -> sub",
            {"y.sub": "sub <- y.pair.tanh, y.pair.relu"},
        ),
        (
            "output y = x -> pair -> repeat(0) { swap } -> sub",
            {"y.sub": "sub <- y.pair.relu, y.pair.tanh"},
        ),
        (
            "output y = [x, x] -> repeat(2) { [in[0] -> relu, in[0] + in[1]] } -> sub",
            {"y.1.add": "add <- y.0.relu, y.0.add", "y.sub": "sub <- y.1.relu, y.1.add"},
        ),
        (
            "output y = [[x, x -> relu], x] -> repeat(1) { in[0] } -> sub",
            {"y.sub": "sub <- x, y.relu"},
        ),
    ],
)
def test_operators_take_the_items(body: str, expected: dict[str, str]) -> None:
    """Lists flow through blocks, repetitions, conditions and joins to the operators at the end."""
    found = of(body)
    for name, operator in expected.items():
        assert found.get(name) == operator, found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("output y = [x -> conv(3, 1), conv2] -> add", {"y.conv", "conv2"}),
        ("output y = [x, x -> conv(3, 1)] -> two", {"y.conv", "y.two.conv"}),
        ("output y = [x, x] -> two", {"y.conv"}),
        (
            "output y = [x, x] -> repeat(2) { [in[1], in[0] -> conv(3, 1)] } -> add",
            {"y.0.conv", "y.1.conv"},
        ),
        ("output y = (x -> conv(3, 1)) -> conv(3, 1)", {"y.conv", "y.conv_1"}),
    ],
)
def test_names_of_weights(body: str, expected: set[str]) -> None:
    """A start that holds stages is not nothing: the binding names them all."""
    before = "block two { in[0] + (in[1] -> conv(3, 1)) }"
    loaded = net("  conv2 = x -> conv(3, 1)\n  " + body, before=before)
    found = {name.removesuffix(".weight") for name in weights(loaded) if name.endswith(".weight")}
    assert found - {"conv2"} == expected - {"conv2"}


def test_names_of_unneeded_items_are_not_bound() -> None:
    """`_` is no name."""
    text = "  a, _ = [x, x]\n  output y = a -> relu"
    assert "W0201" not in [each.code for each in net(text).warnings]
