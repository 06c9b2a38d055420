"""Params, `--set`, the batch, and the choice of a net."""

import pytest

from cnnc.base.errors import UserError
from cnnc.base.source import SourceFile
from cnnc.frontend.load import Choices, LoadedNet, load_text
from cnnc.frontend.settings import Setting
from cnnc.frontend.state import Limits
from tests.frontend.helpers import net, operators

PARAMS = "param width = 4\nparam twice = 2 * width\nparam act = relu\nparam deep = false\n"
BODY = "  output y = x -> conv(twice, 1) -> act -> if (deep) { tanh }"


def built(**settings: Setting) -> LoadedNet:
    """A net whose every part is set from outside."""
    return net(BODY, before=PARAMS, image="f32[N, 4, 8]", **settings)


def test_defaults_follow_settings() -> None:
    """`twice` is computed from what `width` was set to."""
    assert built().params == {"width": "4", "twice": "8", "act": "relu", "deep": "false"}
    assert built(width=16).params["twice"] == "32"
    assert built(width="2 ^ 4 - 4").params["twice"] == "24"
    assert built(twice=12).params == {"width": "4", "twice": "12", "act": "relu", "deep": "false"}


def test_settings_may_be_truths_and_stages() -> None:
    """Text is an expression of the language."""
    found = operators(built(act="leaky_relu(0.2)", deep=True))
    assert found["y.leaky_relu"] == "leaky_relu(slope=0.2) <- y.conv"
    assert found["y.tanh"] == "tanh <- y.leaky_relu"


@pytest.mark.parametrize(
    ("settings", "code", "part"),
    [
        ({"wdth": 3}, "E0210", "no param `wdth`"),
        ({"width": "wide"}, "E0210", "`width` is a number"),
        ({"deep": 1}, "E0210", "`deep` is a truth value"),
        ({"width": "3 +"}, "E0104", "expected a value"),
        ({"width": "twice"}, "E0210", "`width` is a number"),
        ({"width": "1 / 0"}, "E0213", "division by zero"),
        ({"width": "§"}, "E0102", "has no meaning"),
        ({"N": 0}, "E0206", "the batch `N` is an integer ≥ 1"),
        ({"N": 1.5}, "E0206", "the batch `N` is an integer ≥ 1"),
    ],
)
def test_bad_settings(settings: dict[str, Setting], code: str, part: str) -> None:
    """Each is the user's mistake, said with the param's name."""
    with pytest.raises(UserError) as caught:
        built(**settings)
    assert [each.code for each in caught.value.diagnostics] == [code]
    assert part in caught.value.diagnostics[0].message


def test_a_near_name_is_suggested() -> None:
    """`--set wdth=3` asks whether `width` was meant."""
    with pytest.raises(UserError) as caught:
        built(wdth=3)
    assert caught.value.diagnostics[0].help == "did you mean `width`?"


def test_the_batch() -> None:
    """`N` is 1, the param's default, `--set N` or `--batch`, which wins over the default."""

    def batch(before: str, choices: Choices) -> int:
        text = f"cnn 1\n{before}\nnet n {{ input x: f32[N, 3]\n  output y = x -> relu }}"
        loaded = load_text(SourceFile("test.cnn", text), None, choices)
        assert loaded.graph.outputs["y"].type.shape == (loaded.graph.batch, 3)
        return loaded.graph.batch

    assert batch("", Choices()) == 1
    assert batch("param N = 8", Choices()) == 8
    assert batch("param N = 8", Choices(batch=2)) == 2
    assert batch("", Choices({"N": 5})) == 5
    with pytest.raises(UserError, match="given twice"):
        batch("", Choices({"N": 5}, batch=5))


def test_a_fixed_first_extent_refuses_a_batch() -> None:
    """Otherwise the graph would not do what was asked."""
    text = "cnn 1\nnet n { input x: f32[1, 3]\n  output y = x -> relu }"
    load_text(SourceFile("test.cnn", text), None)
    with pytest.raises(UserError, match="the batch is 2"):
        load_text(SourceFile("test.cnn", text), None, Choices(batch=2))


def test_choosing_a_net() -> None:
    """By name where there are several; mistakes in another net do not matter."""
    one = "net one { input x: f32[N, 3]\n  output y = x -> relu }\n"
    two = "net two { input x: f32[N, 3]\n  output y = x -> nonsense }\n"
    source = SourceFile("test.cnn", f"cnn 1\n{one}{two}")
    assert load_text(source, None, Choices(net="one")).graph.name == "one"
    with pytest.raises(UserError, match="E0202"):
        load_text(source, None, Choices(net="two"))
    with pytest.raises(UserError, match="2 nets: one, two"):
        load_text(source, None)
    with pytest.raises(UserError, match="no net `tow`") as caught:
        load_text(source, None, Choices(net="tow"))
    assert caught.value.diagnostics[0].help == "did you mean `two`?"


def test_limits_are_the_callers() -> None:
    """Steps, depth and memory."""
    text = (
        "cnn 1\nblock a { relu }\nblock b { a }\nblock c { b }\n"
        "net n { input x: f32[N, 3]\n  output y = x -> c -> repeat(5) { relu } }"
    )
    source = SourceFile("test.cnn", text)
    for limits, code in [
        (Limits(steps=10), "E0503"),
        (Limits(block_depth=2), "E0502"),
        (Limits(memory=80), "E0504"),
    ]:
        with pytest.raises(UserError) as caught:
            load_text(source, None, Choices(limits=limits))
        assert [each.code for each in caught.value.diagnostics] == [code]
    load_text(source, None, Choices(limits=Limits(steps=20, block_depth=3, memory=84)))


BOUNDED = (
    "param width = 4 in 2..8\nparam slope = 0.5 in 0..1.0\n"
    "param act = relu in [relu, tanh]\nparam N = 2 in 1..4\n"
)
USES = "  output y = x -> conv(width, 1) -> act -> leaky_relu(slope)"


@pytest.mark.parametrize(
    "settings", [{}, {"width": 2}, {"width": 8}, {"slope": 1}, {"act": "tanh"}, {"N": 4}]
)
def test_settings_in_bounds(settings: dict[str, Setting]) -> None:
    """Both ends of a range are in it; a list holds what is equal."""
    assert net(USES, before=BOUNDED, image="f32[N, 4, 8]", **settings).graph.outputs


@pytest.mark.parametrize(
    ("settings", "excerpt", "part"),
    [
        ({"width": 9}, "2..8", "cannot be set to 9"),
        ({"width": 2.5}, "2..8", "cannot be set to 2.5"),
        ({"slope": -0.1}, "0..1.0", "cannot be set to -0.1"),
        ({"act": "sigmoid"}, "[relu, tanh]", "cannot be set to sigmoid"),
        ({"N": 5}, "1..4", "cannot be set to 5"),
    ],
)
def test_settings_out_of_bounds(settings: dict[str, Setting], excerpt: str, part: str) -> None:
    """The caret is at the bounds."""
    with pytest.raises(UserError) as caught:
        net(USES, before=BOUNDED, image="f32[N, 4, 8]", **settings)
    (found,) = caught.value.diagnostics
    assert (found.code, found.span and found.span.excerpt) == ("E0210", excerpt)
    assert part in found.message


def test_what_can_be_set_is_listed_once() -> None:
    """The batch can be set in every file, also in one that has a param for it."""
    with pytest.raises(UserError) as caught:
        net("  output y = x", before="param N = 2\nparam act = relu", quux=3)
    assert caught.value.diagnostics[0].help == "it has N, act"
