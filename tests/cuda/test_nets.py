"""Whole networks as CUDA under the shim: against the reference, in several orders of threads."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from cnnc import driver
from cnnc.api import Model
from cnnc.base.target import NOTHING, Rounding
from cnnc.compare.measure import measure
from cnnc.compare.whole import expect
from tests.cuda.nets import SMALL, inputs_of, planned, small
from tests.cuda.shim import ORDERS, Array, Library, Net, compile_nets

BATCHES = {"lenet5": (1, 3), "resnet18": 1, "mobilenet_v2": 2, "ds_cnn": (1, 3), "tcn": 1}
"""Two are ranges: a run takes any number of samples of them."""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Model, Net]]:
    """All networks in one library."""
    models = {name: small(name, BATCHES[name]) for name in SMALL}
    plans = {name: planned(model) for name, model in models.items()}
    library = Library(compile_nets(tmp_path_factory.mktemp("cuda"), list(plans.values())))
    return {name: (models[name], Net(library, plans[name])) for name in SMALL}


def _check(
    model: Model, inputs: Mapping[str, Array], outputs: list[Array], rounding: Rounding = NOTHING
) -> None:
    expected = expect(model.graph, inputs, 0, rounding)
    for out, name in zip(outputs, model.outputs, strict=True):
        errors = measure(out, expected.values[name], expected.tolerances[name])
        assert errors.ok, (name, errors)


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
