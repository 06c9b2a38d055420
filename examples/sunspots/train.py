"""Train the network of sunspots.cnn and write its weights, golden vectors and the series.

Usage (needs the extra packages torch, statsmodels and safetensors):

    python examples/sunspots/train.py [--steps 300] [--out DIR]

Writes into DIR (this folder unless told):

    sunspots.safetensors   float32 weights, named as cnnc names the instances of sunspots.cnn
    sunspots_golden.npz    four windows of sixteen years and what PyTorch computes for them
    sunspots.npz           the yearly series: year (int64) and value (float64), so that running
                           the example needs no statsmodels

Trains on 1700..1948, each copy of the series made stronger or weaker by a random factor. The last
sixty years are held out; the recipe was chosen on 1829..1888 and 1889..1948, each with the years
before it as training data.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from statsmodels.datasets import sunspots
from torch import Tensor, nn
from torch.nn import functional

SEED = 0
CHANNELS = 16
DEPTH = 4
WINDOW = 16
HELD_OUT = 60
PEAK_RATE = 3e-3
BATCH = 4
NOISE = 0.1
STRETCH = 0.3
HERE = Path(__file__).parent


class Gated(nn.Module):
    """Block gated: a causal filter times its gate, mixed and added to the input."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.past = dilation
        self.filter = nn.Conv1d(channels, channels, 2, dilation=dilation)
        self.gate = nn.Conv1d(channels, channels, 2, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (self.past, 0))
        out: Tensor = x + self.mix(self.filter(padded).tanh() * self.gate(padded).sigmoid())
        return out


class Sunspots(nn.Module):
    """Net sunspots, attribute for attribute, so that its state has cnnc's names."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, CHANNELS, 1)
        self.body = nn.Sequential(*[Gated(CHANNELS, 2**i) for i in range(DEPTH)])
        self.forecast = nn.Conv1d(CHANNELS, 1, 1)

    def forward(self, series: Tensor) -> Tensor:
        out: Tensor = self.forecast(self.body(self.stem(series)))
        return out


def scaled(root: Tensor) -> Tensor:
    """Square roots of sunspot numbers as the network takes them: centred, spread about 1."""
    return (root - 6) / 3


def train(root: Tensor, steps: int) -> Sunspots:
    """A network trained on one series of square roots (n): every position forecasts the next."""
    torch.manual_seed(SEED)
    model = Sunspots()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK_RATE, total_steps=steps)
    for step in range(steps):
        strength = torch.exp(STRETCH * (2 * torch.rand(BATCH, 1, 1) - 1))
        series = scaled(strength * root)
        past, following = series[..., :-1], series[..., 1:]
        forecast = model(past + NOISE * torch.randn(past.shape))
        loss = functional.mse_loss(forecast[..., WINDOW - 1 :], following[..., WINDOW - 1 :])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1:4}  loss {loss.item():.4f}", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description="Train sunspots.cnn on the yearly sunspot series.")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = sunspots.load_pandas().data
    year = table["YEAR"].to_numpy(np.int64)
    value = table["SUNACTIVITY"].to_numpy(np.float64)
    root = torch.from_numpy(np.sqrt(value).astype(np.float32))
    model = train(root[:-HELD_OUT], options.steps)
    series = scaled(root)

    with torch.no_grad():
        forecast = np.square(np.maximum(model(series[None, None, :-1])[0, 0].numpy() * 3 + 6, 0))
    error = forecast[-HELD_OUT:] - value[-HELD_OUT:]
    print(f"one year ahead, {year[-HELD_OUT]}..{year[-1]}: RMSE {np.sqrt(np.mean(error**2)):.2f}")

    windows = series.unfold(0, WINDOW, 1)[[0, 100, 200, -1], None].contiguous()
    with torch.no_grad():
        golden = model(windows)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, options.out / "sunspots.safetensors")
    np.savez_compressed(
        options.out / "sunspots_golden.npz", series=windows.numpy(), forecast=golden.numpy()
    )
    np.savez_compressed(options.out / "sunspots.npz", year=year, value=value)


if __name__ == "__main__":
    main()
