"""Tensors of 16 bits between layers: whole networks, every operator, and where they lie."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from cnnc import driver
from cnnc.api import Model, load_text
from cnnc.backends.cuda.emit import emit_kernel
from cnnc.backends.cuda.plan import Plan
from cnnc.base.dtype import DType
from cnnc.base.errors import InternalError
from cnnc.base.half import HALVES, Half
from cnnc.base.layout import Layout
from cnnc.compare.compare import diff
from cnnc.compare.whole import expect
from cnnc.loop.expr import Buffer, Var
from cnnc.loop.kernel import For, Kernel, Kind, Store
from tests.cuda.nets import SMALL, inputs_of, planned, small
from tests.cuda.shim import ORDERS, SANITIZE, Library, Net, compile_model, compile_nets

BATCHES = {"lenet5": (1, 3), "resnet18": 1, "mobilenet_v2": 2, "ds_cnn": 3, "tcn": 1}
TARGETS = {name: f"cuda:sm_90,{name}" for name in HALVES}
MIXED = """cnn 1
net mixed {
  input x: f32[N, 6, 9, 9]
  a = x -> conv(12, 3, pad = same) -> relu
  b = x -> conv(13, 3, pad = same) -> tanh
  c = concat(a, b) -> conv(9, 3, pad = same)
  best = c -> argmax(1)
  mask = less(a -> tanh, a -> pool(avg, 3, stride = 1, pad = 1))
  d = where(mask, a, a -> exp) -> pool(max, 2) -> conv(5, 1)
  output y = d -> softmax
  output truth = mask -> cast(f32)
  output index = best -> cast(f32)
  output whole = best -> cast(i32)
  weights he(seed = 1)
}
"""


@pytest.fixture(scope="module", params=HALVES)
def nets(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Mapping[str, tuple[Model, Net]]]:
    """A precision and all networks in it."""
    models = {name: small(name, BATCHES[name]) for name in SMALL}
    plans = {name: planned(model, TARGETS[request.param]) for name, model in models.items()}
    library = Library(compile_nets(tmp_path_factory.mktemp("cuda"), list(plans.values())))
    return request.param, {n: (models[n], Net(library, plans[n])) for n in SMALL}


def _assert_close(model: Model, inputs: Mapping[str, np.ndarray], net: Net, name: str) -> None:
    expected = expect(model.graph, inputs, 0, driver.find_target(TARGETS[name]).rounding)
    for out, end in zip(net.run(list(inputs.values())), model.outputs, strict=True):
        errors = expected.measure(end, out)
        assert errors.ok, (end, errors)


@pytest.mark.parametrize("net", SMALL)
def test_networks_agree_with_the_reference(
    nets: tuple[str, Mapping[str, tuple[Model, Net]]], net: str
) -> None:
    precision, made = nets
    _assert_close(made[net][0], inputs_of(made[net][0]), made[net][1], precision)


@pytest.mark.parametrize("net", SMALL)
def test_the_order_of_threads_makes_no_difference(
    nets: tuple[str, Mapping[str, tuple[Model, Net]]], net: str
) -> None:
    model, made = nets[1][net]
    inputs = list(inputs_of(model).values())
    first = [each.tobytes() for each in made.run(inputs)]
    for order in ORDERS[1:]:
        assert [each.tobytes() for each in made.run(inputs, order)] == first


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("net", ["ds_cnn", "mobilenet_v2"])
def test_every_layer_keeps_its_bound(tmp_path: Path, net: str, name: str) -> None:
    report = diff(compile_model(small(net), TARGETS[name], tmp_path))
    assert report.ok, str(report)


def test_other_types_lie_behind(tmp_path: Path) -> None:
    """Indices and truth values keep their size; what is joined lies at half its offset."""
    model = load_text(MIXED)
    plans = {name: planned(model, TARGETS[name], f"mixed_{name}") for name in HALVES}
    library = Library(compile_nets(tmp_path, list(plans.values()), ("-O1", *SANITIZE)))
    for name, plan in plans.items():
        kinds = {
            (param.dtype.value, param.name in launch.narrow)
            for launch in plan.launches
            for (base, _), param in zip(launch.arguments, launch.loops.params, strict=False)
            if base == "arena"
        }
        assert kinds == {("f32", True), ("bool", False), ("i64", False)}
        net = Net(library, plan)
        for seed in range(3):
            inputs = inputs_of(model, seed)
            found = dict(zip(model.outputs, net.run(list(inputs.values())), strict=True))
            expected = expect(model.graph, inputs, 0, driver.find_target(TARGETS[name]).rounding)
            assert expected.measure("y", found["y"]).ok
            np.testing.assert_array_equal(found["index"], found["whole"])


def test_the_arena_is_half_as_large() -> None:
    model = small("mobilenet_v2", 2)
    wide, narrow = planned(model), planned(model, "cuda:bf16")
    tensors = [plan.workspace for plan in (wide, narrow)]
    assert tensors[1] <= tensors[0] // 2 + 64
    assert _moved(narrow) < 0.6 * _moved(wide)


def _moved(plan: Plan) -> int:
    return sum(launch.moved_bytes for launch in plan.launches)


def test_ends_of_a_network_are_float32() -> None:
    plan = planned(small("lenet5"), "cuda:f16")
    for launch in plan.launches:
        for (base, _), param in zip(launch.arguments, launch.loops.params, strict=False):
            assert (param.name in launch.narrow) == (base == "arena"), launch.layer
        assert launch.kernel.arguments[: len(launch.loops.params)]


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
def test_rounding_is_to_the_nearest_and_keeps_nan(half: Half) -> None:
    random = np.random.default_rng(0)
    values = random.normal(0, 1, 4000).astype(np.float32) * 10.0 ** random.integers(-12, 4, 4000)
    given = values.astype(np.float32)
    exact = given.astype(np.float64)
    found = half.widen(half.narrow(given)).astype(np.float64)
    assert (np.abs(found - exact) <= half.error(exact)).all()
    assert (half.narrow(half.widen(half.narrow(given))) == half.narrow(given)).all()
    special = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 3.4e38], np.float32)
    found = half.widen(half.narrow(special))
    np.testing.assert_array_equal(found[:4], special[:4])
    assert np.signbit(found[4])
    assert found[5] == np.inf
    ties = np.array([1 + half.roundoff, 1 + 3 * half.roundoff], np.float32)
    np.testing.assert_array_equal(half.widen(half.narrow(ties)), [1, 1 + 4 * half.roundoff])


def test_what_was_rounded_is_not_summed_further() -> None:
    """A kernel that reads its own result would round in between."""
    x = Buffer("x", (4,), DType.F32, Layout.plain(1))
    y = Buffer("y", (4,), DType.F32, Layout.plain(1))
    index = (Var("i"),)
    body = (Store(y, index, y[Var("i")] + x[Var("i")]),)
    kernel = Kernel("k", (x, y), ("y",), (For("i", 4, body, Kind.PARALLEL),))
    with pytest.raises(InternalError, match="computed with further"):
        emit_kernel(kernel, "k", {"y": "cnnc::f16"})
    assert "cnnc::to_float(x[i])" in emit_kernel(kernel, "k", {"x": "cnnc::f16"})
