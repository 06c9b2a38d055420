"""Networks of PyTorch as their papers have them, narrow."""

import torch
from torch import Tensor, nn
from torch.nn import functional

C = 8
"""Channels of parts."""


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


def normed(inputs: int, channels: int, size: int = 3, groups: int = 1) -> nn.Sequential:
    """Convolution, batchnorm, silu."""
    conv = nn.Conv2d(inputs, channels, size, padding=size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.SiLU(inplace=True))


class Excited(nn.Module):
    """The block of EfficientNet: inverted, with squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.deep = normed(C, 3 * C, 1), normed(3 * C, 3 * C, 5, 3 * C)
        self.fc1, self.fc2 = nn.Linear(3 * C, C), nn.Linear(C, 3 * C)
        self.last = nn.Conv2d(3 * C, C, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Channels are scaled by what all of them say."""
        y = self.deep(self.wide(x))
        b, c, _, _ = y.size()
        scale = torch.sigmoid(self.fc2(functional.relu(self.fc1(y.mean((2, 3))))))
        return x + self.last(y * scale.view(b, c, 1, 1).expand_as(y))


class Shuffled(nn.Module):
    """The block of ShuffleNet V2."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = normed(C // 2, C // 2)

    def forward(self, x: Tensor) -> Tensor:
        """One half, and the other, channels in turn."""
        first, second = x.chunk(2, dim=1)
        y = torch.cat([first, self.branch(second)], 1)
        b, c, h, w = y.size()
        return y.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)


class Last(nn.Module):
    """The block of ConvNeXt: channels last, a layer norm there, and a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Conv2d(C, C, 7, padding=3, groups=C)
        self.norm = nn.LayerNorm(C, eps=1e-6)
        self.wide, self.narrow = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)
        self.scale = nn.Parameter(torch.full((C, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """As torchvision has it."""
        y = self.norm(self.deep(x).permute(0, 2, 3, 1))
        y = self.narrow(functional.gelu(self.wide(y)))
        return x + self.scale * y.permute(0, 3, 1, 2)


class Pyramid(nn.Module):
    """The pools of PSPNet, whose windows are not all equal."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(C, 2, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Four views of the image, one beside the other."""
        found = [x]
        for bins, conv in zip((1, 2, 3, 6), self.convs, strict=True):
            y = conv(functional.adaptive_avg_pool2d(x, bins))
            size = x.shape[2:]
            found.append(functional.interpolate(y, size, mode="bilinear", align_corners=True))
        return torch.cat(found, 1)


class Boxes(nn.Module):
    """The head of YOLOv5: a grid, anchors, and parts of a tensor written over."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(C, 3 * 9, 1)
        self.register_buffer("anchors", torch.tensor([[10.0, 13], [16, 30], [33, 23]]))

    def forward(self, x: Tensor) -> Tensor:
        """Boxes and scores, one for each place and anchor."""
        b, _, h, w = x.shape
        y = self.conv(x).view(b, 3, 9, h, w).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid = torch.stack((columns, rows), 2).view(1, 1, h, w, 2).float()
        y[..., 0:2] = (y[..., 0:2] * 2 - 0.5 + grid) * 8
        y[..., 2:4] = (y[..., 2:4] * 2) ** 2 * self.anchors.view(1, 3, 1, 1, 2)
        return y.view(b, -1, 9)


class Peaks(nn.Module):
    """The end of CenterNet: only what is largest around itself stays; and the best class."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Heat, and the scores and places of the largest."""
        heat = torch.clamp(x.sigmoid(), 1e-4, 1 - 1e-4)
        heat = heat * (functional.max_pool2d(heat, 3, 1, 1) == heat).float()
        best, place = heat.max(1)
        return heat, best, place


class Statistics(nn.Module):
    """The pool of speaker networks: means and deviations, weighted by attention."""

    def __init__(self) -> None:
        super().__init__()
        weight_norm = nn.utils.parametrizations.weight_norm
        self.score = nn.Sequential(weight_norm(nn.Conv1d(C, 4, 1)), nn.Tanh(), nn.Conv1d(4, C, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Three pools of a signal."""
        weight = self.score(x).softmax(2)
        mean = (weight * x).sum(2)
        deviation = ((weight * x**2).sum(2) - mean**2).clamp(min=1e-4).sqrt()
        return torch.cat([mean, deviation, x.std(-1)], 1)


class Attended(nn.Module):
    """The pool of CLIP's ResNets: multi-head attention of the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(C, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """One vector for each image."""
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], 1)
        return self.attention(x[:, :1], x, x, need_weights=False)[0].flatten(1)


class Shifted(nn.Module):
    """The shift of TSM: some channels come from the sample before, some from the next."""

    def forward(self, x: Tensor) -> Tensor:
        """Parts of zeros are written over."""
        made = torch.zeros_like(x)
        made[:-1, :2] = x[1:, :2]
        made[1:, 2:4] = x[:-1, 2:4]
        made[:, 4:] = x[:, 4:]
        return made


class Involved(nn.Module):
    """Involution: kernels that are computed at every place."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(C, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Each window weighted by its kernel."""
        b, c, h, w = x.shape
        columns = functional.unfold(x, 3, padding=1).view(b, c, 9, h, w)
        return (self.kernel(x).view(b, 1, 9, h, w) * columns).sum(2)


IMAGE, SIGNAL = (2, C, 16, 16), (2, C, 20)
PARTS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "excited": (Excited, IMAGE), "shuffled": (Shuffled, IMAGE), "last": (Last, IMAGE),
    "pyramid": (Pyramid, IMAGE), "boxes": (Boxes, IMAGE), "peaks": (Peaks, IMAGE),
    "statistics": (Statistics, SIGNAL), "attended": (Attended, IMAGE),
    "shifted": (Shifted, IMAGE), "involved": (Involved, IMAGE),
}  # fmt: skip
"""Parts of well-known networks, as these are written, and shapes for them."""
