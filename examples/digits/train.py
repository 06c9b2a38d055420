"""Train the network of digits.cnn and write its weights, golden vectors and held-out images.

Usage (needs the extra packages torch, scikit-learn and safetensors):

    python examples/digits/train.py [--epochs 60] [--out DIR]

Writes into DIR (this folder unless told):

    digits.safetensors   float32 weights, named as cnnc names the instances of digits.cnn
    digits_golden.npz    six held-out images and what PyTorch computes for them
    digits_heldout.npz   the 360 held-out images (float32, 0..1) and their labels

The held-out fifth is never used for a decision: the recipe is fixed and the last epoch is kept.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

SEED = 0
WIDTH = 16
BATCH = 64
PEAK_RATE = 4e-3
GOLDEN = 6
HERE = Path(__file__).parent


def same_pad(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Zero-pad height and width so that the output is ceil(n / stride); odd zeros go to the end."""
    pads: list[int] = []
    for n in (x.shape[3], x.shape[2]):
        total = max((math.ceil(n / stride) - 1) * stride + kernel - n, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads)


class ConvBn(nn.Module):
    """Block conv_bn: convolution with `pad = same` and without bias, then batchnorm."""

    def __init__(self, inputs: int, channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.Conv2d(inputs, channels, kernel, stride, bias=False)
        self.batchnorm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.batchnorm(self.conv(same_pad(x, self.kernel, self.stride)))
        return out


class Residual(nn.Module):
    """Block residual: two convolutions beside a shortcut, which is 1×1 where the shape changes."""

    def __init__(self, inputs: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvBn(inputs, channels, stride=stride)
        self.second = ConvBn(channels, channels)
        changes = stride != 1 or inputs != channels
        self.shortcut = ConvBn(inputs, channels, 1, stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(functional.relu(self.first(x))) + self.shortcut(x))


class Digits(nn.Module):
    """Net digits, attribute for attribute, so that its state has cnnc's names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = ConvBn(1, width)
        self.body = nn.Sequential(Residual(width, width), Residual(width, width))
        self.down = Residual(width, 2 * width, stride=2)
        self.head = nn.Linear(2 * width, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.down(self.body(functional.relu(self.stem(image))))
        x = functional.lp_pool2d(x, 2, kernel_size=2)
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


def load() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and held-out images (n, 1, 8, 8) in 0..1, each with its labels."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    split = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=0)
    x_train, x_test, y_train, y_test = (torch.from_numpy(part) for part in split)
    return x_train, y_train, x_test, y_test


def shifted(images: Tensor, random: torch.Generator) -> Tensor:
    """Every image moved by up to one pixel in each direction; zeros move in."""
    count = len(images)
    padded = functional.pad(images[:, 0], (1, 1, 1, 1))
    corner = torch.randint(0, 3, (2, count, 1), generator=random)
    rows, columns = corner + torch.arange(8)
    picked = padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked[:, None]


def train(images: Tensor, labels: Tensor, epochs: int) -> Digits:
    """A trained network in evaluation mode."""
    torch.manual_seed(SEED)
    random = torch.Generator().manual_seed(SEED)
    model = Digits(WIDTH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    steps = epochs * (len(images) // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK_RATE, total_steps=steps)
    for epoch in range(epochs):
        total = 0.0
        batches = torch.randperm(len(images), generator=random).split(BATCH)[: len(images) // BATCH]
        for batch in batches:
            logits = model(shifted(images[batch], random))
            loss = functional.cross_entropy(logits, labels[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
            total += loss.item()
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1:3}  loss {total / len(batches):.4f}", flush=True)
    return model.eval()


def cnnc_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's state under cnnc's parameter names."""
    return {
        name.replace("running_mean", "mean").replace("running_var", "var"): value.contiguous()
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Train digits.cnn on scikit-learn's digits.")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    x_train, y_train, x_test, y_test = load()
    model = train(x_train, y_train, options.epochs)

    with torch.no_grad():
        logits = model(x_test)
    correct = int((logits.argmax(1) == y_test).sum())
    print(f"held-out accuracy {correct / len(y_test):.2%}  ({correct} of {len(y_test)})")

    save_file(cnnc_state(model), options.out / "digits.safetensors")
    np.savez_compressed(
        options.out / "digits_golden.npz",
        image=x_test[:GOLDEN].numpy(),
        logits=logits[:GOLDEN].numpy(),
        prob=logits[:GOLDEN].softmax(1).numpy(),
    )
    np.savez_compressed(
        options.out / "digits_heldout.npz", image=x_test.numpy(), label=y_test.numpy()
    )


if __name__ == "__main__":
    main()
