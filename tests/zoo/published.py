"""What has been published about the networks of the zoo, with its source."""

from dataclasses import dataclass

TORCHVISION = "torchvision documentation, table of classification weights: num_params, GFLOPS"
UNET_3X3 = (
    *((1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)),
    *((512, 1024), (1024, 1024), (1024, 512), (512, 512), (512, 256), (256, 256)),
    *((256, 128), (128, 128), (128, 64), (64, 64)),
)
"""Input and output channels of the 3×3 convolutions of U-Net."""
UNET_UP = sum(4 * channels * channels // 2 + channels // 2 for channels in (1024, 512, 256, 128))
"""Weights and biases of its four 2×2 up-convolutions, which halve the channels."""


@dataclass(frozen=True, slots=True)
class Printed:
    """A figure as its source prints it: exact up to half of the last digit's unit."""

    value: float
    unit: float = 1

    def agrees(self, exact: float) -> bool:
        """Whether an exact count rounds to what is printed."""
        return abs(exact - self.value) <= self.unit / 2


@dataclass(frozen=True, slots=True)
class Published:
    """Trained parameters and multiply-accumulates of one sample, and who says so.

    `counts` is what the source counts: `trained` values, `weights` without biases and the like, or
    `all` values, statistics of batchnorm among them. Macs are left out where no source has them
    for this size.
    """

    source: str
    parameters: Printed
    macs: Printed | None = None
    counts: str = "trained"


K, M, G = 1e3, 1e6, 1e9
PUBLISHED = {
    "densenet121": Published(TORCHVISION, Printed(7_978_856), Printed(2.83 * G, 0.01 * G)),
    "ds_cnn": Published(
        "arXiv:1711.07128, table 5: 5.4 million operations, which are two for each "
        "multiply-accumulate and one for each bias; parameters from the layers of its figure 6",
        Printed(23_180),
        Printed((5.4 * M - 9 * 125 * 64) / 2, 0.1 * M / 2),
    ),
    "efficientnet_b0": Published(TORCHVISION, Printed(5_288_548), Printed(0.39 * G, 0.01 * G)),
    "fsrcnn": Published(
        "arXiv:1608.00367, section 3.3: 12,464 parameters of FSRCNN(56,12,4), biases and the "
        "slopes of PReLU not counted",
        Printed(12_464),
        counts="weights",
    ),
    "inception_v1": Published(
        "arXiv:1409.4842, table 1: the rows sum up to 6,798 K parameters, K being 1,024; 1.5 "
        "billion multiply-adds (section 1)",
        Printed(6_798 * 1024, 0.1 * M),
        Printed(1.5 * G, 0.2 * G),
    ),
    "lenet5": Published(
        "LeCun et al. 1998, section II: 60,000 trainable free parameters", Printed(60_000)
    ),
    "mobilenet_v1": Published(
        "arXiv:1704.04861, tables 4 and 8: 1.0 MobileNet-224",
        Printed(4.2 * M, 0.1 * M),
        Printed(569 * M, M),
    ),
    "mobilenet_v2": Published(TORCHVISION, Printed(3_504_872), Printed(0.30 * G, 0.01 * G)),
    "mobilenet_v3": Published(TORCHVISION, Printed(5_483_032), Printed(0.22 * G, 0.01 * G)),
    "resnet18": Published(TORCHVISION, Printed(11_689_512), Printed(1.81 * G, 0.01 * G)),
    "resnet50": Published(TORCHVISION, Printed(25_557_032), Printed(4.09 * G, 0.01 * G)),
    "shufflenet_v2": Published(TORCHVISION, Printed(2_278_604), Printed(0.14 * G, 0.01 * G)),
    "squeezenet": Published(TORCHVISION, Printed(1_235_496), Printed(0.35 * G, 0.01 * G)),
    "tcn": Published(
        "arXiv:1803.01271, table 1: about 70K for sequential MNIST, 8 levels of kernel 7 and 25 "
        "channels in its table 2",
        Printed(70 * K, 10 * K),
    ),
    "tiny_yolo_v2": Published(
        "pjreddie.com/darknet/yolov2: 6.97 billion operations of Tiny YOLO for VOC, two for each "
        "multiply-accumulate; its weights file has 63,471,556 bytes, 16 of them before the values",
        Printed((63_471_556 - 16) / 4),
        Printed(6.97 * G / 2, 0.01 * G / 2),
        counts="all",
    ),
    "unet": Published(
        "arXiv:1505.04597, figure 1: the channels of its 23 convolutions",
        Printed(sum(9 * i * o + o for i, o in UNET_3X3) + UNET_UP + 2 * 64 + 2),
    ),
    "vgg16": Published(TORCHVISION, Printed(138_357_544), Printed(15.47 * G, 0.01 * G)),
}
UNPUBLISHED = {"pooling", "two_inputs", "wavenet"}
"""Showcases; and the paper on WaveNet leaves the widths open."""
