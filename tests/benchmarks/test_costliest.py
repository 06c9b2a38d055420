"""The table of the costliest layers."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import cnnc

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "costliest.py"
TEXT = """cnn 1
net n {
  input x: f32[N, 32, 20, 20]
  output y = x -> conv(32, 3, pad = same) -> relu -> pool(max, 2)
  weights he
}
"""


@pytest.fixture(scope="module")
def costliest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("costliest", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_layer_has_a_floor(costliest: ModuleType) -> None:
    network = cnnc.load_text(TEXT).compile()
    costs = list(costliest.measure("n", network, 0.05))
    assert len(costs) == len(network.lowered.layers)
    assert all(cost.floor > 0 and cost.seconds > 0 for cost in costs)
    (winograd,) = (cost for cost in costs if cost.layer.startswith("winograd"))
    # 25 tiles of 36 products instead of 400 times 9
    assert winograd.floor < winograd.direct_floor
    assert winograd.limit == "arithmetic"


def test_small_layers_may_be_left_out(costliest: ModuleType) -> None:
    network = cnnc.load_text(TEXT).compile(exact=True)
    largest = max(layer.kernel.origin.macs for layer in network.lowered.layers)
    (cost,) = costliest.measure("n", network, 0.05, largest)
    assert cost.layer.startswith("conv")
    assert cost.floor == cost.direct_floor


def test_equal_layers_are_counted_together(costliest: ModuleType) -> None:
    one = costliest.Cost("conv", "3×8×8", ("a",), 1, 2e-3, 1e-3, 1e-3, "arithmetic", "direct")
    other = costliest.Cost("conv", "3×8×8", ("b",), 1, 1.5e-3, 1e-3, 1e-3, "arithmetic", "direct")
    both = costliest._together(one, other)
    assert (both.networks, both.runs, both.seconds) == (("a", "b"), 2, 1.5e-3)
    assert both.total == 3e-3


def test_the_table_says_shares(costliest: ModuleType) -> None:
    cost = costliest.Cost("conv", "3×8×8", ("a",), 4, 2e-3, 1e-3, 3e-3, "L3", "direct")
    row = costliest.table([cost], 16e-3).splitlines()[-1]
    assert row == "| conv | 3×8×8 | 4 | 50% | 1.000 ms | L3 | 2.000 ms | 50% | 1.50× |"
