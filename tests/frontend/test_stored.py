"""Large weights stay in their file until they are needed; a file that changed is refused."""

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import cnnc
from cnnc.base.errors import UserError
from cnnc.frontend.stored import FileState, Stored
from cnnc.ir.graph import Constant, magnitudes

TEXT = """cnn 1
net n {
  input x: f32[1, 64, 8, 8]
  y = x -> conv(256, 3) -> batchnorm
  output y
  weights "w.safetensors"
}
"""
SHAPE = (256, 64, 3, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with weights for the net."""
    save(tmp_path, 0)
    return tmp_path


def save(folder: Path, seed: int) -> np.ndarray:
    """Other weights for another seed; the convolution's."""
    random = np.random.default_rng(seed)
    ones, zeros = np.ones(256, np.float32), np.zeros(256, np.float32)
    weight = random.standard_normal(SHAPE, np.float32)
    norm = {"weight": ones, "bias": zeros, "mean": zeros, "var": ones}
    given = {"y.conv.weight": weight, "y.conv.bias": zeros}
    given |= {f"y.batchnorm.{name}": array for name, array in norm.items()}
    save_file(given, folder / "w.safetensors")
    return weight


def load(folder: Path) -> cnnc.Model:
    """The net with the folder's weights."""
    return cnnc.load_text(TEXT, folder=folder)


def weight_of(model: cnnc.Model) -> Constant:
    """The convolution's weights."""
    (found,) = (n.op for n in model.graph.nodes if n.type.shape == SHAPE and n.is_constant)
    assert isinstance(found, Constant)
    return found


def test_large_weights_are_read_when_they_are_needed(folder: Path) -> None:
    weight, expected = weight_of(load(folder)), save(folder, 0)
    assert isinstance(weight.source, Stored)
    weight = weight_of(load(folder))
    np.testing.assert_array_equal(weight.value, expected)
    assert np.concatenate(list(weight.parts(100))).tobytes() == expected.tobytes()
    assert weight.magnitudes == magnitudes([expected])


def test_loading_holds_none_of_them(folder: Path) -> None:
    load(folder)  # modules are imported
    tracemalloc.start()
    try:
        model = load(folder)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert model.parameters * 4 > 500_000
    assert held < 300_000


def test_equal_weights_are_known_as_such(folder: Path) -> None:
    one, two = (weight_of(load(folder)).source for _ in range(2))
    assert isinstance(one, Stored)
    assert isinstance(two, Stored)
    assert one.identity == two.identity
    save(folder, 1)
    other = weight_of(load(folder)).source
    assert isinstance(other, Stored)
    assert other.identity != one.identity


@pytest.mark.parametrize("change", ["other", "shorter", "gone"])
def test_a_file_that_changed_is_refused(folder: Path, change: str) -> None:
    model, path = load(folder), folder / "w.safetensors"
    if change == "other":
        save(folder, 1)
        os.utime(path, ns=(1, 1))
    elif change == "shorter":
        os.truncate(path, 1000)
    else:
        path.unlink()
    with pytest.raises(UserError, match="not the file any more that weights were loaded from"):
        model.compile()


def test_a_file_that_ends_early_is_refused(folder: Path) -> None:
    state = FileState.of(folder / "w.safetensors")
    beyond = Stored(state, state.size - 8, (4,), np.dtype(np.float32))
    with pytest.raises(UserError, match=r"w\.safetensors"):
        list(beyond.parts(4))


def test_pickles_bring_the_weights_along(folder: Path) -> None:
    model = load(folder)
    net, x = model.compile(), np.ones((1, 64, 8, 8), np.float32)
    expected = net(x)["y"]
    pickled = pickle.dumps(model), pickle.dumps(net)
    (folder / "w.safetensors").unlink()
    copy, copied_net = map(pickle.loads, pickled)
    assert isinstance(weight_of(copy).source, np.ndarray)
    for each in (net, copied_net, copy.compile()):
        np.testing.assert_array_equal(each(x)["y"], expected)
