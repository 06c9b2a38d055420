"""Golden vectors of large batches."""

import numpy as np
import pytest

from cnnc.api import load_text
from cnnc.standalone.golden import SAMPLES, golden
from cnnc.standalone.request import Request
from cnnc.standalone.unit import Unit

BATCH = SAMPLES + 2
ALONE = "x -> dense(3)"
MIXED = "x -> dense(3) -> softmax(0)"


@pytest.mark.parametrize(("chain", "different"), [(ALONE, SAMPLES), (MIXED, BATCH)])
def test_a_large_batch_repeats_samples_that_do_not_depend_on_others(
    chain: str, different: int
) -> None:
    text = (
        f"cnn 1\nnet n {{\n  input x: f32[N, 2]\n  output y = {chain}\n  weights he(seed = 1)\n}}"
    )
    model = load_text(text, batch=BATCH)
    values = np.frombuffer(golden(Unit(model, Request(forms=("project",)))).data, np.float32)
    x, y, tolerance = np.split(values, [BATCH * 2, BATCH * 5])
    x = x.reshape(BATCH, 2)
    assert len(np.unique(x, axis=0)) == different
    expected = model.reference(x)["y"]
    assert (np.abs(expected - y.reshape(BATCH, 3)) <= tolerance.reshape(BATCH, 3)).all()
