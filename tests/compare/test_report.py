"""What the comparison takes and gives: inputs, check files, text, JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnc

ROOT = Path(__file__).resolve().parents[2]
TEXT = """cnn 1
net tiny {
  input x: f32[N, 2, 6]
  output y = x -> conv(4, 3, pad = causal) -> relu -> pool(avg, global) -> flatten -> dense(3)
  weights he(seed = 1)
  %s
}
"""


def tiny(check: str = "", folder: Path | None = None, batch: int | None = None) -> cnnc.Model:
    """A small network, perhaps with a check clause."""
    return cnnc.load_text(TEXT % check, folder=folder, batch=batch)


def test_the_report_as_text_and_json() -> None:
    """Every layer stands in both, and JSON has no infinities."""
    found = cnnc.diff(tiny())
    text, data = found.format(), json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert text.endswith(
        f"tiny agrees with the reference (native, {len(found.layers)} layers, 1 sample)"
    )
    assert [row["name"] for row in data["layers"]] == [layer.name for layer in found.layers]
    assert all(layer.name in text for layer in found.layers)
    assert data["ok"] is True


def test_samples_that_fill_no_batch() -> None:
    """Seven samples in batches of three: the samples start over to fill the last one."""
    network = tiny(batch=3).compile()
    found = cnnc.diff(network, np.ones((7, 2, 6), np.float32))
    assert found.ok
    assert found.samples == 7


def test_progress_reaches_the_end() -> None:
    """Called once per layer and batch, and once where the program ran all of them."""
    seen: list[tuple[int, int]] = []
    network = tiny().compile()
    cnnc.diff(network, np.zeros((2, 2, 6), np.float32), progress=lambda *at: seen.append(at))
    layers = len(network.layers)
    batch = [*range(1, layers + 1), 2 * layers]
    assert seen == [(start + done, 4 * layers) for start in (0, 2 * layers) for done in batch]


def golden(folder: Path, off: float) -> None:
    """A check file whose outputs are off by so much."""
    x = np.random.default_rng(0).standard_normal((5, 2, 6)).astype(np.float32)
    y = tiny().reference(x)["y"]
    np.savez(folder / "golden.npz", x=x, y=y + np.float32(off))


def test_a_check_file_is_compared(tmp_path: Path) -> None:
    """Its inputs are the ones compared on, and its outputs are met."""
    golden(tmp_path, 0.0)
    found = cnnc.diff(tiny('check "golden.npz"', tmp_path))
    assert found.ok
    assert found.samples == 5
    assert [check.name for check in found.checks] == ["y"]
    assert 0 < found.checks[0].ratio < 1


def test_a_check_file_that_is_not_met(tmp_path: Path) -> None:
    """It is no bug of cnnc: the reference does not meet it either."""
    golden(tmp_path, 1.0)
    found = cnnc.diff(tiny('check "golden.npz" (atol = 0.1, rtol = 0)', tmp_path))
    assert not found.ok
    assert not found.is_bug
    assert found.checks[0].ratio == pytest.approx(10, rel=1e-3)
    assert "the reference is as far" in found.format()


def test_the_reference_is_not_compared_with_itself() -> None:
    """A user's error, not an empty report."""
    with pytest.raises(cnnc.UserError, match="E0801"):
        cnnc.diff(tiny().compile(backend="reference"))


@pytest.mark.parametrize("what", ["net.cnn", None])
def test_only_networks_are_compared(what: Any) -> None:
    """A path is not loaded silently, and what has no reference is refused."""
    with pytest.raises(cnnc.UserError, match="takes a Model or a Compiled"):
        cnnc.diff(what)


def test_wrong_inputs_are_refused() -> None:
    """The same checks as in a call."""
    with pytest.raises(cnnc.UserError, match="E0601"):
        cnnc.diff(tiny(), np.zeros((1, 3, 6), np.float32))
    with pytest.raises(cnnc.UserError, match="E0601"):
        cnnc.diff(tiny(), np.zeros((0, 2, 6), np.float32))


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, 1e38, 1e-40])
def test_special_values_agree(special: float) -> None:
    """NaN and infinities come out where the reference has them."""
    x = np.ones((1, 2, 6), np.float32)
    x[0, 1, 3] = special
    with np.errstate(all="ignore"):
        found = cnnc.diff(tiny(), x)
    assert found.ok, found.format()


@pytest.mark.parametrize("scale", [1e37, 5e37])
def test_sums_that_may_overflow_on_the_way_are_not_compared(scale: float) -> None:
    """Transforms of Winograd's algorithm add larger values than the convolution does."""
    model = cnnc.load_text(
        "cnn 1\nnet n {\n  input x: f32[N, 32, 16, 16]\n"
        "  output y = x -> conv(32, 3, pad = same)\n  weights he(seed = 0)\n}\n"
    )
    x = np.random.default_rng(0).standard_normal((1, 32, 16, 16)).astype(np.float32)
    x *= np.float32(scale)
    found = cnnc.diff(model, x)
    assert found.ok, found.format()
    assert "have no finite tolerance" in found.format()
    assert "agrees with the reference in what was compared" in found.format()
    assert np.isfinite(model.compile(exact=True)(x)["y"]).all()
    ordinary = cnnc.diff(model, x / np.float32(scale))
    assert ordinary.ok
    assert "no finite tolerance" not in ordinary.format()
