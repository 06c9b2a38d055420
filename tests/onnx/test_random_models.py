"""Random models against ONNX Runtime; `CNNC_ONNX_MODELS=20000` tries more of them."""

import os
import warnings
from collections.abc import Sequence

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

import cnnc.onnx_backend as backend
from cnnc.base.errors import UserError
from tests.onnx.random_models import random_model, with_hostile_names, with_known_inputs

COUNT = int(os.environ.get("CNNC_ONNX_MODELS", "2000"))
SHARDS = 8
MISTAKEN = {"LRN"}
"""Operators that ONNX's reference computes wrong in a way that is hardly seen."""
NARROW = {"HardSwish", "Resize"}
"""Operators of which numbers of float32 are computed with though all else is double."""
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


def expected_of_double(seed: int, model: ModelProto, feeds: dict[str, Array]) -> list[Array] | None:
    """What ONNX's reference computes of double, of which ONNX Runtime has few operators.

    None where ONNX Runtime disagrees with it on the same model of float32: it has its mistakes.
    """
    made = random_model(seed, np.float32)
    mistaken = {node.op_type for node in model.graph.node} & MISTAKEN
    single = None if made is None or mistaken else expected(*made)
    found = by_reference(model, feeds)
    if single is None or found is None:
        return None
    pairs = zip(found, single, strict=True)
    return found if all(agree(a.astype(b.dtype), b) for a, b in pairs) else None


def by_reference(model: ModelProto, feeds: dict[str, Array]) -> list[Array] | None:
    """What ONNX's reference computes; None where it fails."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: list[Array] = ReferenceEvaluator(model).run(None, feeds)
    except Exception:
        return None
    return found


def is_double(feeds: dict[str, Array]) -> bool:
    """Whether the model is one of double."""
    return any(each.dtype == np.float64 for each in feeds.values())


NATIVE = 10
"""Every so many models run as machine code."""


def compare(seed: int) -> str:
    """What became of a model: `same`, `refused` or `none`; AssertionError where results differ.

    A third of them have names that mean something in the language; every fifth is compared once
    more with its inputs as initializers.
    """
    made = random_model(seed)
    if made is None:
        return "none"
    model, feeds = made if seed % 3 else with_hostile_names(*made, seed)
    if is_double(feeds) and NARROW & {node.op_type for node in model.graph.node}:
        return "none"
    wanted = expected(model, feeds)
    if wanted is None and is_double(feeds):
        wanted = expected_of_double(seed, model, feeds)
    if wanted is None:
        return "none"
    # the reference scales quantised layers in float64, and ties may fall to the other side
    is_quantised = any(node.op_type == "QLinearConv" for node in model.graph.node)
    by = "native" if seed % NATIVE == 0 or is_quantised else "reference"
    try:
        found = backend.run_model(model, feeds, backend=by)
        if seed % 5 == 1:
            known, beside = with_known_inputs(model, feeds)
            agreed(seed, (model, feeds), backend.run_model(known, beside, backend=by)[:-1], wanted)
    except UserError as error:
        return f"refused: {error.diagnostics[0].message}"
    return agreed(seed, (model, feeds), found, wanted)


def agreed(
    seed: int,
    made: tuple[ModelProto, dict[str, Array]],
    found: Sequence[Array],
    wanted: list[Array],
) -> str:
    """How far results agree; AssertionError where they do not."""
    if all(map(agree, found, wanted)):
        return "same"
    sure = certain(*made, wanted)
    for one, other, part in zip(found, wanted, sure, strict=True):
        assert agree(np.where(part, one, 0), np.where(part, other, 0)), (seed, one, other)
    return "same where it is certain"


def agree(found: Array, wanted: Array) -> bool:
    """Whether results are the same up to roundings."""
    size = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        return False
    rtol, atol = (1e-9, 1e-10) if found.dtype == np.float64 else (1e-3, 1e-4)
    return np.allclose(found, wanted, rtol=rtol, atol=atol * size, equal_nan=True)


def certain(model: ModelProto, feeds: dict[str, Array], wanted: list[Array]) -> list[Array]:
    """Elements that ONNX Runtime finds again where inputs differ by some roundings.

    The index of the largest of equal numbers, or a root of a difference near 0, are not among them.
    """
    rng = np.random.default_rng(0)
    step = 1e-13 if is_double(feeds) else 1e-6
    sure = [np.ones(each.shape, np.bool_) for each in wanted]
    for _ in range(24):
        moved = {
            name: (each * (1 + step * rng.normal(size=each.shape))).astype(each.dtype)
            for name, each in feeds.items()
        }
        again = expected(model, moved) or wanted
        for part, one, other in zip(sure, again, wanted, strict=True):
            part &= np.isclose(one, other, rtol=1e-2, atol=1e-3, equal_nan=True)
    return sure


@pytest.mark.parametrize("shard", range(SHARDS))
def test_results_are_those_of_onnx_runtime(shard: int) -> None:
    found = [compare(seed) for seed in range(shard, COUNT, SHARDS)]
    taken = len(found) - found.count("none")  # by ONNX Runtime
    assert found.count("same") > 0.9 * taken > 0.8 * len(found), sorted(found)
