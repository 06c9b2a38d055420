"""`cnnc analyze`: tables, JSON, plots and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

import cnnc as api
from tests.cli.helpers import DIGITS, Runner

POOLED = """cnn 1
net pooled {
  input x: f32[N, 1, 12, 12]
  h = x -> conv(2, 3, pad = same) -> pool(max, 2)
  output y = h -> conv(2, 3) -> unshared(2, 2) -> flatten -> dense(3)
  weights he
}
"""
TITLES = (
    "sparse interactions",
    "receptive fields",
    "parameter sharing",
    "equivariance",
    "rotation and scaling",
    "invariance from pooling",
)


@pytest.fixture
def pooled(tmp_path: Path) -> Path:
    """A net with a pool and a layer that is tied to positions."""
    path = tmp_path / "pooled.cnn"
    path.write_text(POOLED)
    return path


def test_a_table_for_every_idea(cnnc: Runner, pooled: Path) -> None:
    """In order, with what is tied to positions named below."""
    out = cnnc("analyze", pooled).out
    places = [out.index(title) for title in TITLES]
    assert places == sorted(places)
    assert "1 px → 1" in out
    assert "2 px → 1" in out
    assert "none: `y.unshared`: `y.unshared." in out
    rows = [line.split() for line in out.splitlines() if line.startswith("h.pool ")]
    kinds = {row[1] for row in rows if row[-1] == "%"}
    assert {"max", "avg", "l2", "weighted", "as"} <= kinds


def test_json_is_complete(cnnc: Runner, pooled: Path) -> None:
    """What the tables show and more, as numbers."""
    found = json.loads(cnnc("analyze", pooled, "--json", "--shifts", "2").out)
    assert found["net"] == "pooled"
    layers = {each["name"]: each for each in found["layers"]}
    assert layers["h.conv"]["connections"] == (12 * 3 - 2) ** 2 * 2
    assert layers["h.conv"]["weights"][0]["uses"] == {
        "min": 121,
        "mean": pytest.approx((12 * 3 - 2) ** 2 / 9),
        "max": 144,
        "total": (12 * 3 - 2) ** 2 * 2,
    }
    assert layers["y.flatten"]["density"] == pytest.approx(1 / 18)
    shifts = {(each["layer"], each["axis"]): each for each in found["shifts"]}
    first = shifts["h.conv", 0]
    assert (first["kind"], first["pixels"], first["positions"]) == ("equivariant", 1, 1)
    assert first["margin"] == [1, 1]
    assert first["measured"]["holds"]
    assert first["measured"]["inside"] < 1e-9 < first["measured"]["anywhere"]
    assert shifts["y.dense", 1]["kind"] == "none"
    assert all(each["rotation"] > 0.01 for each in found["rotation_and_scaling"])
    assert all(len(each["by_pixels"]) == 2 for each in found["pooling"])


def test_python_gives_the_same(cnnc: Runner, pooled: Path) -> None:
    """`model.analyze` and the verb."""
    model = api.load(pooled)
    printed = json.loads(cnnc("analyze", pooled, "--json").out)
    assert [printed.pop(key) for key in ("ok", "plot", "diagnostics")] == [True, None, []]
    assert api.analyze(model).to_json() == printed
    assert str(model.analyze()) + "\n" == cnnc("analyze", pooled).out


def test_only_chosen_layers(cnnc: Runner) -> None:
    """With a position, on a picture of a file, whatever the batch."""
    found = cnnc(
        *("analyze", DIGITS / "digits.cnn", "--layer", "stem.conv", "--at", "0,7", "--json"),
        *("-i", DIGITS / "digits_heldout.npz", "--batch", "4"),
    ).json()
    (field,) = found["receptive_fields"]  # type: ignore[union-attr]
    assert isinstance(field, dict)
    assert (field["layer"], field["position"], field["elements"]) == ("stem.conv", [0, 7], 4)
    assert (found["batch"], found["measured_on"]) == (1, "the given inputs")


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plots(cnnc: Runner, pooled: Path, tmp_path: Path, suffix: str) -> None:
    """A picture of the receptive field is written, on the input if there is one."""
    picture, x = tmp_path / f"field{suffix}", tmp_path / "x.npy"
    np.save(x, np.ones((1, 1, 12, 12), np.float32))
    cnnc("analyze", pooled, "--layer", "h.pool", "--plot", picture, "-i", x)
    data = picture.read_bytes()
    assert len(data) > 1000
    assert data.startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")


def test_series_are_drawn_too(cnnc: Runner, tmp_path: Path) -> None:
    """One axis is a line."""
    path = tmp_path / "series.cnn"
    path.write_text(POOLED.replace("12, 12", "12").replace("pooled", "series"))
    cnnc("analyze", path, "--no-weights", "--plot", tmp_path / "field.png")
    assert (tmp_path / "field.png").stat().st_size > 1000


def test_without_weights_or_measurements(cnnc: Runner, pooled: Path) -> None:
    """What needs no numbers is still there."""
    for option in ("--no-weights", "--no-measure"):
        found = cnnc("analyze", pooled, option, "--json").json()
        assert found["measured_on"] is None
        assert found["pooling"] == found["rotation_and_scaling"] == []
        assert found["receptive_fields"]
    assert (
        "note: nothing is measured without weights" in cnnc("analyze", pooled, "--no-weights").out
    )


def test_nets_without_convolution_or_pictures(cnnc: Runner, small: Path) -> None:
    """A warning, once, and what there is to say."""
    ended = cnnc("analyze", small, "--net", "other", "--set", "width=3")
    assert ended.err.count("W0901") == 1
    assert "the net has no pooling layer" in ended.out
    assert "no input has a spatial axis" in ended.out
    (warning,) = cnnc("analyze", small, "--net", "other", "--json").json()["diagnostics"]  # type: ignore[misc]
    assert isinstance(warning, dict)
    assert warning["code"] == "W0901"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "h.cnv"], "did you mean `h.conv`"),
        (["--at", "x"], "no position"),
        (["--at", "0"], "has no position 0"),
        (["--seed", "-1"], "not in the range"),
        (["--shifts", "-1"], "--shifts is -1"),
        (["--plot", "field.txt"], "does not end in .png or .svg or .pdf"),
        (["-i", "missing.npy"], "missing.npy"),
    ],
)
def test_refusals(cnnc: Runner, pooled: Path, options: list[str], message: str) -> None:
    """Mistakes on the command line are the user's."""
    assert message in cnnc("analyze", pooled, *options, code=1).err
