"""The models that the peers of the benchmark are given compute what the networks say."""

from pathlib import Path

import pytest
from peers.agreement import compare
from peers.main import zoo
from peers.prepare import draw_inputs

import cnnc
from cnnc.onnx import export
from tests.onnx.runtime import run_onnx

ZOO = zoo()
SMALL = ("digits", "ds_cnn", "lenet5", "pooling", "tcn", "two_inputs")
"""Networks whose references take a moment."""


@pytest.mark.parametrize("name", SMALL)
def test_networks_compute_the_same(name: str) -> None:
    """Whole networks of the zoo, by their names of inputs and outputs."""
    model = cnnc.load(ZOO[name], batch=2)
    inputs = draw_inputs(model.graph)
    found = run_onnx(export(model), inputs)
    assert [*found] == [*model.outputs]
    assert compare(model.reference(inputs), found)[1] is None


def test_the_whole_zoo_is_there() -> None:
    """And the digits."""
    folder = Path(__file__).resolve().parents[2] / "examples" / "zoo"
    assert {*ZOO} == {path.stem for path in folder.glob("*.cnn")} | {"digits"}
