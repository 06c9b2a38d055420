"""Modules written as text."""

from pathlib import Path

import numpy as np
import pytest

import cnnc.torch
from cnnc.base.errors import UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402  after it is known that torch is there


class Named(nn.Module):
    """Results in a dictionary, and a list in it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> dict[str, object]:
        return {"logits": self.head(x), "more": [x * 2, None, {"x": x * 3}]}


def test_outputs_are_called_after_keys(tmp_path: Path) -> None:
    """Where there are keys; what is no tensor is left out."""
    made = cnnc.torch.write(Named(), torch.ones(1, 8), tmp_path)
    results = cnnc.load(made.path).compile()(np.ones((1, 8), np.float32))
    assert [*results] == ["logits", "more_0", "more_2_x"]
    assert results["more_2_x"][0, 0] == 3
    pair = cnnc.torch.to_text(nn.MaxPool1d(2, return_indices=False), torch.ones(1, 2, 8))
    assert "output max_pool" in pair or "output squeeze" in pair


def test_files_that_are_there_stay(tmp_path: Path) -> None:
    """Unless they hold the same, or `force` is set."""
    path = tmp_path / "small.cnn"
    path.write_text("mine")
    with pytest.raises(UserError, match=r"E0704.*small\.cnn"):
        cnnc.torch.write(nn.ReLU(), torch.ones(1, 3), tmp_path, name="small")
    assert path.read_text() == "mine"
    for force in (True, False):
        cnnc.torch.write(nn.ReLU(), torch.ones(1, 3), tmp_path, name="small", force=force)
    assert "relu" in path.read_text()


def test_no_weights(tmp_path: Path) -> None:
    """The text names no file, and stands alone."""
    made = cnnc.torch.write(nn.Sequential(nn.ReLU(), nn.Sigmoid()), torch.ones(1, 3), tmp_path)
    assert made.weights is None
    assert "weights" not in made.path.read_text()
    assert cnnc.load(made.path).compile()(np.ones((1, 3), np.float32))


@pytest.mark.parametrize("module", [nn.Sequential(nn.BatchNorm1d(3)), nn.BatchNorm1d(3)])
def test_whole_state_dicts_are_weights(module: nn.Module, tmp_path: Path) -> None:
    """With the counters of batchnorms and without."""
    from safetensors.torch import save_file

    made = cnnc.torch.write(module, torch.ones(1, 3), tmp_path)
    cnnc.load(made.path)
    state = {name: value * 2 for name, value in module.state_dict().items()}
    assert made.weights is not None
    save_file(state, made.weights)
    result = cnnc.load(made.path).compile()(np.ones((1, 3), np.float32))
    (found,) = result.values()
    np.testing.assert_allclose(found, 2 * 2**-0.5, rtol=1e-4)


def test_the_batch_of_a_text(tmp_path: Path) -> None:
    """Extents that hold the number of samples are those of `batch`."""
    module, x = nn.Linear(4, 2), torch.randn(3, 5, 4)
    made = cnnc.torch.write(module, x[:1], tmp_path, batch=3)
    assert "param N = 3" in cnnc.torch.to_text(module, x[:1], batch=3)
    (found,) = cnnc.load(made.path).compile()(x.numpy()).values()
    np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_text_for_any_batch() -> None:
    """First extents are left open where the module for another number of samples says so too."""

    class Turned(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.transpose(0, 1).reshape(-1, 4).reshape(x.shape[1], -1, 4).transpose(0, 1) * 2

    class Heads(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(len(x), 3, 2, 2).permute(2, 0, 1, 3).unbind(0)[1] * 2

    layer, x = nn.Linear(4, 2), torch.randn(3, 3, 4)
    text = cnnc.torch.to_text(Heads(), x[:1])
    assert "reshape([-1, 3, 2])" in text
    text = cnnc.torch.to_text(nn.Sequential(layer, nn.ReLU()), x)
    assert "reshape([-1, 4])" in text
    assert "reshape([-1, 3, 2])" in text
    text = cnnc.torch.to_text(Turned(), x)
    assert "reshape([-1" not in text
    assert "reshape([3, 3, 4])" in text or "transpose" in text


def test_other_batches_of_a_text(tmp_path: Path) -> None:
    """What is written for one sample computes the same for three."""
    module, x = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 5)), torch.randn(3, 7, 4)
    made = cnnc.torch.write(module, x[:1], tmp_path)
    (found,) = cnnc.load(made.path, batch=3).compile()(x.numpy()).values()
    np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_layers_that_are_used_twice(tmp_path: Path) -> None:
    """Their state_dict is no weights file of the text, and the error says what to do."""
    from safetensors.torch import save_file

    layer = nn.Linear(4, 4)
    module = nn.Sequential(layer, nn.ReLU(), layer)
    made = cnnc.torch.write(module, torch.ones(1, 4), tmp_path)
    cnnc.load(made.path)
    save_file({"0.weight": layer.weight.detach(), "0.bias": layer.bias.detach()}, made.weights)
    with pytest.raises(UserError, match=r"E0405") as caught:
        cnnc.load(made.path)
    assert "made together again" in str(caught.value)
