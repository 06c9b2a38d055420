"""Random models against ONNX Runtime; `CNNC_ONNX_MODELS=20000` tries more of them."""

import os

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

import cnnc.onnx_backend as backend
from cnnc.base.errors import UserError
from tests.onnx.random_models import random_model

COUNT = int(os.environ.get("CNNC_ONNX_MODELS", "2000"))
SHARDS = 8
Array = NDArray[np.generic]


def expected(model: ModelProto, feeds: dict[str, Array]) -> list[Array] | None:
    """What ONNX Runtime computes; None where it refuses."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        found: list[Array] = session.run(None, feeds)
    except Exception:
        return None
    return found


def compare(seed: int) -> str:
    """What became of a model: `same`, `refused` or `none`; AssertionError where results differ."""
    made = random_model(seed)
    if made is None:
        return "none"
    model, feeds = made
    wanted = expected(model, feeds)
    if wanted is None:
        return "none"
    try:
        found = backend.run_model(model, feeds, backend="reference")
    except UserError as error:
        return f"refused: {error.diagnostics[0].message}"
    for one, other in zip(found, wanted, strict=True):
        size = np.abs(other[np.isfinite(other)]).max(initial=1.0)
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * size, err_msg=f"seed {seed}")
    return "same"


@pytest.mark.parametrize("shard", range(SHARDS))
def test_results_are_those_of_onnx_runtime(shard: int) -> None:
    found = [compare(seed) for seed in range(shard, COUNT, SHARDS)]
    assert found.count("same") > 0.75 * len(found), sorted(found)
