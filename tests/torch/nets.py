"""Networks of PyTorch as their papers have them, narrow."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Basic(nn.Module):
    """The block of ResNet-18."""

    def __init__(self, inputs: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or inputs != channels:
            short = nn.Conv2d(inputs, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(short, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Two convolutions, and what goes around them."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet18(nn.Module):
    """He et al., 2016, with names as in torchvision."""

    def __init__(self, width: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Basic(width, width), Basic(width, width))
        self.layer2 = nn.Sequential(Basic(width, 2 * width, 2), Basic(2 * width, 2 * width))
        self.layer3 = nn.Sequential(Basic(2 * width, 4 * width, 2), Basic(4 * width, 4 * width))
        self.layer4 = nn.Sequential(Basic(4 * width, 8 * width, 2), Basic(8 * width, 8 * width))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of images."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def unit(inputs: int, channels: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batchnorm, relu6."""
    conv = nn.Conv2d(inputs, channels, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU6(inplace=True))


class Inverted(nn.Module):
    """The block of MobileNetV2."""

    def __init__(self, inputs: int, channels: int, stride: int, factor: int) -> None:
        super().__init__()
        wide = inputs * factor
        first = [unit(inputs, wide, 1)] if factor != 1 else []
        last = [nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.conv = nn.Sequential(*first, unit(wide, wide, 3, stride, wide), *last)
        self.is_residual = stride == 1 and inputs == channels

    def forward(self, x: Tensor) -> Tensor:
        """Wide, each channel by itself, and narrow again."""
        return x + self.conv(x) if self.is_residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Sandler et al., 2018, with fewer stages."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = [unit(3, 8, 3, 2)]
        inputs = 8
        for factor, channels, count, stride in (
            (1, 8, 1, 1), (6, 12, 2, 2), (6, 16, 2, 2), (6, 24, 1, 1),
        ):  # fmt: skip
            for place in range(count):
                layers.append(Inverted(inputs, channels, stride if place == 0 else 1, factor))
                inputs = channels
        self.features = nn.Sequential(*layers, unit(inputs, 64, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of images."""
        return self.classifier(self.features(x).mean([2, 3]))


class UNet(nn.Module):
    """Ronneberger et al., 2015, padded, one way up learned and one bilinear."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = self._twice(3, width)
        self.second = self._twice(width, 2 * width)
        self.bottom = self._twice(2 * width, 4 * width)
        self.up = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.third = self._twice(4 * width, 2 * width)
        self.last = self._twice(3 * width, width)
        self.head = nn.Conv2d(width, 2, 1)

    @staticmethod
    def _twice(inputs: int, channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, channels, 3, padding=1), nn.GroupNorm(4, channels), nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.InstanceNorm2d(channels), nn.ELU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and probabilities of each pixel."""
        first = self.first(x)
        second = self.second(functional.max_pool2d(first, 2))
        y = self.up(self.bottom(functional.max_pool2d(second, 2)))
        y = self.third(torch.cat([second, y], 1))
        y = functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        scores = self.head(self.last(torch.cat([first, y], 1)))
        return scores, scores.softmax(1)


class Line(nn.Module):
    """Dilated convolutions of a signal, gated, with a layer norm."""

    def __init__(self, width: int = 12, steps: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv1d(2, width, 5, padding="same")
        self.gates = nn.ModuleList(
            nn.Conv1d(width, 2 * width, 3, padding=2**n, dilation=2**n) for n in range(3)
        )
        self.norm = nn.LayerNorm([width, steps])
        self.pool = nn.AvgPool1d(4)
        self.head = nn.Linear(width * steps // 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logarithms of probabilities of three classes."""
        x = functional.leaky_relu(self.stem(x))
        for gate in self.gates:
            value, control = gate(x).chunk(2, dim=1)
            x = x + torch.tanh(value) * torch.sigmoid(control)
        x = self.pool(functional.gelu(self.norm(x)))
        return functional.log_softmax(self.head(x.view(x.shape[0], -1)), dim=-1)


class Odd(nn.Module):
    """A network with a part that no static network has: the largest elements, sorted."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.fc = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Scores from the five largest elements."""
        y = functional.relu(self.conv(x))
        return self.fc(torch.sort(y.flatten(1), dim=1, descending=True).values[:, :5])


NETS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "resnet18": (ResNet18, (2, 3, 48, 48)),
    "mobilenet_v2": (MobileNetV2, (2, 3, 48, 48)),
    "unet": (UNet, (2, 3, 16, 16)),
    "line": (Line, (2, 2, 32)),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    """A network in inference whose batchnorms have seen something, and samples for it."""
    torch.manual_seed(1)
    kind, shape = NETS[name]
    module = kind()
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.uniform_(each.weight, 0.5, 1.5)
            nn.init.normal_(each.bias, std=0.1)
            nn.init.normal_(each.running_mean, std=0.1)
            nn.init.uniform_(each.running_var, 0.5, 1.5)
    return module.eval(), torch.randn(shape)
