"""Layers that one kernel runs: when, and when not; each of them can still be run by itself."""

from pathlib import Path

import numpy as np
import pytest

from cnnc.api import Model, load_text
from cnnc.backends.cuda.plan import Plan
from cnnc.compare.compare import diff
from tests.cuda.nets import inputs_of, planned
from tests.cuda.shim import compile_model

TAIL = "x -> conv(32, 1) -> relu -> pool: pool(avg, global) -> flatten"
JOINED = {
    # what flows between the layers is read by nobody else
    "output y = pooled -> fc: dense(10) -> prob: softmax": ["pool+fc+prob"],
    "output y = pooled -> fc: dense(10) -> tanh": ["pool+fc"],
    # what a pool has made is read twice, or is an output
    "output y = pooled -> fc: dense(10)\noutput z = pooled -> dense(4)": [],
    "output y = pooled -> fc: dense(10)\noutput z = pooled": [],
    # the result lies where the plane was, which other blocks still read
    "a = pooled -> fc: dense(10)\noutput y = a -> prob: softmax\noutput z = a -> tanh": [],
    # another tensor is added, which the kernel does not read
    "b = pooled -> relu\noutput y = (b -> fc: dense(32)) + b": [],
}
"""What stands behind a pooled plane, and which layers are joined then."""


def _model(end: str, batch: int | tuple[int, int] = 1) -> Model:
    text = f"cnn 1\nnet tail {{\ninput x: f32[N, 8, 6, 6]\npooled = {TAIL}\n{end}\n"
    return load_text(text + "weights he(seed = 1)\n}\n", batch=batch)


def _joined(plan: Plan) -> list[str]:
    return [
        launch.layer.replace("pooled.", "").replace("y.", "").replace("a.", "")
        for launch in plan.launches
        if launch.joined
    ]


@pytest.mark.parametrize("end", JOINED)
def test_layers_are_joined_where_nobody_reads_between_them(end: str) -> None:
    plan = planned(_model(end))
    assert _joined(plan) == JOINED[end]
    alone = {launch.number for launch in plan.alone}
    assert alone == {
        launch.number for each in plan.launches if each.joined for launch in plan.alone
    }
    numbers = {launch.number for launch in plan.launches if not launch.joined}
    assert not numbers & alone


def test_many_samples_are_not_worth_it() -> None:
    end = next(iter(JOINED))
    assert _joined(planned(_model(end, 8)))
    assert not _joined(planned(_model(end, 9)))
    # nor does it follow the samples of a run
    assert not _joined(planned(_model(end, (1, 4))))


def test_each_layer_can_be_run_by_itself(tmp_path: Path) -> None:
    model = _model(next(iter(JOINED)))
    network = compile_model(model, "cuda", tmp_path)
    report = diff(network)
    assert report.ok, str(report)
    inputs = inputs_of(model)
    found, expected = network(inputs), model.compile()(inputs)
    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-4, atol=1e-6)


def test_16_bits_are_read_as_memory_has_them(tmp_path: Path) -> None:
    model = _model(next(iter(JOINED)))
    network = compile_model(model, "cuda:sm_90,bf16", tmp_path)
    (launch,) = (each for each in planned(model, target="cuda:bf16").launches if each.joined)
    assert launch.narrow == {"x"}  # the network's own output is float32
    assert "const cnnc::bf16 *CNNC_READ_ONLY x" in launch.kernel.source
    inputs = inputs_of(model)
    found, expected = network(inputs), model.compile()(inputs)
    np.testing.assert_allclose(found["y"], expected["y"], rtol=0.02, atol=0.01)
