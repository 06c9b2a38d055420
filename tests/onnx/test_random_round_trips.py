"""Random models become text, go back to ONNX, and come as the same text again."""

import os

import numpy as np
import pytest

import cnnc
import cnnc.onnx
from cnnc.api import Model
from cnnc.base.errors import UserError
from cnnc.base.source import SourceFile
from cnnc.frontend import load as frontend
from cnnc.onnx.flat import FlatNet
from cnnc.onnx.loading import read_flat
from cnnc.onnx.reroll.rolled import roll
from cnnc.onnx.tidy import tidy
from tests.onnx.random_models import random_model
from tests.onnx.runtime import apart, run_onnx

COUNT = int(os.environ.get("CNNC_ONNX_ROUND_TRIPS", "64"))
SHARDS = 4


def load(net: FlatNet) -> tuple[str, Model]:
    """The net's text, and the model it is."""
    made = roll(net, "w.safetensors")
    text = made.text.replace('  weights "w.safetensors"\n', "")
    choices = frontend.Choices(batch=net.batch, arrays=made.arrays)
    source = SourceFile("n.cnn", text)
    return made.text, Model(frontend.load_text(source, None, choices), choices)


def check(seed: int) -> bool:
    """Whether there is such a model; AssertionError where it does not come back."""
    made = random_model(seed)
    if made is None:
        return False
    try:
        net = tidy(read_flat(made[0]))
    except UserError:
        return False
    text, model = load(net)
    try:
        exported = cnnc.onnx.export(model)
    except UserError as error:
        if error.diagnostics[0].code != "E0904":  # attributes of operators on double
            raise
        return False
    again, _ = load(tidy(read_flat(exported)))
    assert again == text, f"seed {seed}"
    random = np.random.default_rng(seed)
    inputs = {
        node.name: random.normal(size=node.type.shape).astype(node.type.dtype.numpy)
        for node in model.graph.inputs
    }
    if any(each.dtype == np.float64 for each in inputs.values()):
        return True  # of which ONNX Runtime has few operators
    wanted, found = model.reference(inputs), run_onnx(exported, inputs)
    for name, value in wanted.items():
        if value.dtype == np.float32 and np.isfinite(value).all():
            assert apart(value, found[name]) < 1e-3, f"seed {seed}"
    return True


@pytest.mark.parametrize("shard", range(SHARDS))
def test_random_models_come_back(shard: int) -> None:
    """Most of them are such that cnnc takes."""
    seeds = range(shard, COUNT, SHARDS)
    assert sum(map(check, seeds)) > len(seeds) // 3
