"""Whole networks as CUDA under the shim: against the reference, in several orders of threads."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from cnnc import driver
from cnnc.api import Model, load_text
from cnnc.base.target import NOTHING, Rounding
from cnnc.compare.measure import measure
from cnnc.compare.whole import expect
from tests.cuda.nets import SMALL, inputs_of, planned, small
from tests.cuda.shim import ORDERS, SANITIZE, Array, Library, Net, compile_nets

TYPICAL = 4e-6
"""How far results are off, relative to them, where all is float32."""
BATCHES = {"lenet5": (1, 3), "resnet18": 1, "mobilenet_v2": 2, "ds_cnn": (1, 3), "tcn": 1}
"""Two are ranges: a run takes any number of samples of them."""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Model, Net]]:
    """All networks in one library."""
    models = {name: small(name, BATCHES[name]) for name in SMALL}
    plans = {name: planned(model) for name, model in models.items()}
    library = Library(
        compile_nets(tmp_path_factory.mktemp("cuda"), list(plans.values()), ("-O1", *SANITIZE))
    )
    return {name: (models[name], Net(library, plans[name])) for name in SMALL}


PARTS = """cnn 1
net parts {
input x: f32[N, 16, 9, 7]
a = x -> conv(24, 3, pad = 1) -> relu
b = x -> conv(8, 1)
c, d = x -> concat { a | b } -> pool(max, 2) -> split([20, 12])
e = c -> conv(16, 3, pad = 1) -> relu
f = a -> conv(16, 3, stride = 2, groups = 2, pad = 1)
g = x -> concat { e | d } -> conv(12, 1)
output y = x -> concat { g | e } -> conv(10, 3)
output z = f -> conv(7, 1)
weights he(seed = 3)
}
"""
"""Convolutions read parts of tensors, and write parts of others."""


@pytest.mark.parametrize("precision", ["f32", "tf32", "bf16", "f32_exact"])
def test_parts_of_tensors_are_read_where_they_lie(tmp_path: Path, precision: str) -> None:
    model, target = load_text(PARTS, batch=2), f"cuda:{precision}"
    plan = planned(model, target)
    pitches = [
        dict(re.findall(r"\b(PITCH|CHANNELS) = (\d+)", launch.kernel.source))
        for launch in plan.launches
        if "PITCH" in launch.kernel.source
    ]
    assert sum(int(each["PITCH"]) > int(each["CHANNELS"]) for each in pitches) >= 2
    net = Net(Library(compile_nets(tmp_path, [plan], ("-O1", *SANITIZE))), plan)
    inputs = inputs_of(model)
    found = net.run(list(inputs.values()))
    _check(model, inputs, found, driver.find_target(target).rounding)
    for order in ORDERS[1:]:
        again = net.run(list(inputs.values()), order)
        assert [each.tobytes() for each in again] == [each.tobytes() for each in found]


def _check(
    model: Model, inputs: Mapping[str, Array], outputs: list[Array], rounding: Rounding = NOTHING
) -> None:
    expected = expect(model.graph, inputs, 0, rounding)
    for out, name in zip(outputs, model.outputs, strict=True):
        errors = measure(out, expected.values[name], expected.tolerances[name])
        assert errors.ok, (name, errors)
        if rounding == NOTHING:  # bounds are for the worst case: most of it is much closer
            exact = expected.values[name].astype(np.float64)
            assert np.linalg.norm(out - exact) <= TYPICAL * np.linalg.norm(exact), name


@pytest.mark.parametrize("name", SMALL)
def test_networks_agree_with_the_reference(
    nets: Mapping[str, tuple[Model, Net]], name: str
) -> None:
    model, net = nets[name]
    inputs = inputs_of(model)
    _check(model, inputs, net.run(list(inputs.values())))


@pytest.mark.parametrize("name", SMALL)
def test_the_order_of_threads_makes_no_difference(
    nets: Mapping[str, tuple[Model, Net]], name: str
) -> None:
    model, net = nets[name]
    inputs = list(inputs_of(model).values())
    first = [each.tobytes() for each in net.run(inputs)]
    for order in ORDERS[1:]:
        assert [each.tobytes() for each in net.run(inputs, order)] == first


def test_a_graph_replays_the_same_launches(nets: Mapping[str, tuple[Model, Net]]) -> None:
    model, net = nets["ds_cnn"]
    inputs, others = (list(inputs_of(model, seed).values()) for seed in (0, 1))
    first, second = net.run(inputs), net.run(others)
    assert net.call("use_graph", 1) == 0
    for given, expected in ((inputs, first), (others, second), (inputs, first)):
        assert np.array_equal(net.run(given)[0], expected[0])
    assert net.call("use_graph", 0) == 0


@pytest.mark.parametrize("name", ["ds_cnn", "lenet5"])
def test_a_range_of_samples_takes_any_of_them(
    nets: Mapping[str, tuple[Model, Net]], name: str
) -> None:
    model, net = nets[name]
    assert not all(each.is_generic for each in net.plan.launches)
    inputs = inputs_of(model)
    whole = net.run(list(inputs.values()))
    for graph, samples in ((0, 1), (0, 2), (1, 1), (1, 2)):
        assert net.call("use_graph", graph) == 0
        part = net.run([each[:samples] for each in inputs.values()])
        assert part[0].tobytes() == whole[0][:samples].tobytes()
    assert net.call("use_graph", 0) == 0


def test_tensors_of_the_host_are_copied(nets: Mapping[str, tuple[Model, Net]]) -> None:
    model, net = nets["mobilenet_v2"]
    (given,) = inputs_of(model).values()
    out = np.full(model.outputs["logits"], np.nan, np.float32)
    assert net.call("run_host", given.ctypes.data, out.ctypes.data) == 0
    assert out.tobytes() == net.run([given])[0].tobytes()


@pytest.mark.parametrize("precision", ["tf32", "bf16", "f16", "f32_exact"])
def test_precisions_keep_their_bounds(tmp_path: Path, precision: str) -> None:
    model = small("ds_cnn")
    target = f"cuda:{precision}"
    plan = planned(model, target)
    net = Net(Library(compile_nets(tmp_path, [plan])), plan)
    inputs = inputs_of(model)
    found = net.run(list(inputs.values()))
    _check(model, inputs, found, driver.find_target(target).rounding)
    rounds = precision in ("tf32", "bf16", "f16")
    expected = expect(model.graph, inputs, 0)
    exact = expected.measure("words", found[0])
    assert exact.ok != rounds
