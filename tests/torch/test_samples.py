"""Modules compiled for another number of samples than the example's."""

import pytest

import cnnc.torch
from cnnc.base.errors import UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402  after it is known that torch is there


class ConvNext(nn.Module):
    """Layers along the last axis of images."""

    def __init__(self) -> None:
        super().__init__()
        self.spread = nn.Conv2d(8, 8, 7, padding=3, groups=8)
        self.norm = nn.LayerNorm(8)
        self.wide, self.narrow = nn.Linear(8, 32), nn.Linear(32, 8, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.spread(x).permute(0, 2, 3, 1))
        return x + self.narrow(nn.functional.gelu(self.wide(y))).permute(0, 3, 1, 2)


class Token(nn.Module):
    """A parameter in front of every sample."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)


class Last(nn.Module):
    """The last step of an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lstm(x)[0][:, -1]


class Heads(nn.Module):
    """Attention with queries, keys and values of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 48)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.layer(x).reshape(len(x), 5, 3, 2, 8).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        return nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


ROWS = [
    (nn.Linear(16, 4), (7, 16)),
    (nn.Linear(16, 4, bias=False), (3, 7, 16)),
    (ConvNext(), (8, 6, 6)),
]
ONE_NUMBER = [
    (Heads(), (5, 16)),
    (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (5, 16)),
    (Token(), (5, 16)),
    (Last(), (3, 16)),
]


@pytest.mark.parametrize(("module", "shape"), [*ROWS, *ONE_NUMBER])
def test_another_number(module: nn.Module, shape: tuple[int, ...]) -> None:
    """As if the example had so many samples."""
    module = module.eval()
    compiled = cnnc.torch.compile_module(module, torch.randn(1, *shape), batch=3)
    x = torch.randn(3, *shape)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="argument 0 is"):
        compiled(x[:1])


@pytest.mark.parametrize(("module", "shape"), ROWS)
@pytest.mark.parametrize("samples", [1, 2])
def test_a_range(module: nn.Module, shape: tuple[int, ...], samples: int) -> None:
    """Layers along the last axis leave the samples where they are."""
    compiled = cnnc.torch.compile_module(module, torch.randn(samples, *shape), batch=(1, 4))
    x = torch.randn(4, *shape)
    with torch.no_grad():
        for count in (1, 3, 4):
            expected = module(x[:count])
            torch.testing.assert_close(compiled(x[:count]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("module", "shape"), ONE_NUMBER)
def test_no_range(module: nn.Module, shape: tuple[int, ...]) -> None:
    """What moves samples says that it is for one number, and what to do."""
    with pytest.raises(UserError, match=r"E0902.*one number of samples") as caught:
        cnnc.torch.compile_module(module.eval(), torch.randn(1, *shape), batch=(1, 4))
    assert "batch=8" in str(caught.value)


def test_what_is_no_batch() -> None:
    """Errors of the call, not of a text that nobody sees."""
    x = torch.ones(2, 3)
    for batch in (0, (0, 3), (4, 2)):
        with pytest.raises(UserError, match=r"E0206.*not"):
            cnnc.torch.compile_module(nn.ReLU(), x, batch=batch)
    with pytest.raises(UserError, match="first extents of its arguments are 2, 5"):
        cnnc.torch.compile_module(nn.Bilinear(3, 3, 1), (x, torch.ones(5, 3)), batch=4)
    options = {"backend": "none", "batch": (1, 4)}
    with pytest.raises(UserError, match="none"):
        cnnc.torch.compile_module(nn.ReLU(), x, **options)
    assert cnnc.torch.compile_module(nn.ReLU(), x, batch=(4, 4))(torch.ones(4, 3)).shape == (4, 3)
