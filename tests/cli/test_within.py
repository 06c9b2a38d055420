"""Layers of the text that are computed within others."""

import pytest

import cnnc
from cnnc import driver
from cnnc.listing import computed_within
from tests.cli.helpers import ROOT

UNIT = "features.1.0."
DENSE = "features.5."


@pytest.mark.parametrize(
    ("net", "within"),
    [
        (
            "mobilenet_v2",
            {
                # folded and fused; of a depthwise convolution and the one it is streamed into
                f"{UNIT}transform.conv_bn_1.batchnorm": f"{UNIT}transform.conv_bn_1.conv",
                f"{UNIT}transform.conv_bn.relu6": f"{UNIT}transform.conv_bn_1.conv",
                f"{UNIT}transform.conv_bn.conv": f"{UNIT}transform.conv_bn_1.conv",
                f"{UNIT}add": f"{UNIT}transform.conv_bn_1.conv",
                f"{UNIT}id": None,
            },
        ),
        (
            "densenet121",
            {
                # spelled out as products and sums: alone, and streamed into the convolution behind
                "features.0.batchnorm": "features.0.batchnorm.scaled",
                "features.0.relu": "features.0.batchnorm.scaled",
                f"{DENSE}batchnorm": f"{DENSE}conv",
                f"{DENSE}relu": f"{DENSE}conv",
                f"{DENSE}batchnorm_1": f"{DENSE}conv",
                f"{DENSE}conv": None,
                "no.such": None,
            },
        ),
        (
            "lenet5",
            {
                # of some maps each, in a concat
                "c3.conv": "c3.concat_16",
                "c3.conv_15": "c3.concat_16",
                "c3.squash.tanh": "c3.concat_16",
                "c3.concat_3": None,
                "m.split.0": None,
                "m.conv": None,
            },
        ),
    ],
)
def test_computed_within(net: str, within: dict[str, str | None]) -> None:
    """The layer that has the operators; none of one that has a step, or needs none."""
    model = cnnc.load(ROOT / "examples" / "zoo" / f"{net}.cnn", weights=True)
    lowered, _ = driver.plan(model.graph, driver.find_target("x86-64-v4"))
    assert {name: computed_within(model.graph, lowered, name) for name in within} == within


@pytest.mark.parametrize(
    ("body", "within"),
    [
        # one of both, by Winograd's algorithm
        ("x -> conv(32, 3, pad = 1) | x -> conv(32, 3, pad = 1)", {"conv": "y", "conv_1": "y"}),
        (
            "x -> conv(32, 1) | x -> conv(32, 3, pad = 1) | x -> conv(32, 3, pad = 1)",
            {"conv": None, "conv_1": None, "conv_2": "y.conv_1"},
        ),
        (
            "x -> relu | x -> conv(32, 1) | x -> conv(32, 1) -> dropout(0.5)",
            {"conv": None, "conv_1": "y.conv"},
        ),
        (
            "x -> conv(9, 1) -> relu"
            " | x -> conv(9, 3, pad = 1) -> relu | x -> conv(9, 3, pad = 1) -> relu",
            {"conv": None, "conv_1": None, "conv_2": "y.conv_1"},
        ),
        ("x -> conv(32, 1) | x -> conv(32, 3, pad = 1)", {"conv": None, "conv_1": None}),
    ],
)
def test_convolutions_side_by_side(body: str, within: dict[str, str | None]) -> None:
    """Those that became one, which has the name of the concat or of the first of them."""
    text = (
        "cnn 1\nnet n {\n  input x: f32[N, 64, 28, 28]\n"
        f"  y = concat {{ {body} }}\n  output z = y -> relu\n  weights he(seed = 1)\n}}\n"
    )
    graph = cnnc.load_text(text).graph
    lowered, _ = driver.plan(graph, driver.find_target("x86-64-v3"))
    assert {name: computed_within(graph, lowered, f"y.{name}") for name in within} == within
