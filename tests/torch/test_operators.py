"""Every operator that has an importer computes what torch computes."""

from collections.abc import Callable

import numpy as np
import pytest

import cnnc.torch
from cnnc.torch.registry import IMPORTERS

torch = pytest.importorskip("torch")
functional = torch.nn.functional
aten = torch.ops.aten
pytestmark = pytest.mark.torch

Function = Callable[..., object]
C = 8
"""Channels of all operands."""


def drawn(*shape: int) -> "torch.Tensor":
    """Numbers of a fixed seed."""
    return torch.from_numpy(np.random.default_rng(sum(shape)).normal(size=shape).astype("float32"))


def set_positions(x: "torch.Tensor") -> "torch.Tensor":
    """Parts of a copy, one after the other."""
    made = x.clone()
    made[:, 0] = 0
    made[:, 2:4] = x[:, 4:6] * 2
    made[..., -1:] += 1
    made[x > 1] = 0.5
    return made


POINTWISE: dict[str, Function] = {
    "relu": functional.relu, "relu6": functional.relu6, "sigmoid": torch.sigmoid,
    "tanh": torch.tanh, "silu": functional.silu, "hardswish": functional.hardswish,
    "mish": functional.mish, "abs": torch.abs, "neg": torch.neg, "exp": torch.exp,
    "softsign": functional.softsign, "selu": functional.selu, "celu": functional.celu,
    "log": lambda x: torch.log(x.abs()), "sqrt": lambda x: torch.sqrt(x.abs()),
    "round": torch.round, "rsqrt": lambda x: torch.rsqrt(x * x + 1),
    "reciprocal": lambda x: torch.reciprocal(x.abs() + 1), "square": torch.square,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.2),
    "gelu": functional.gelu, "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "hardsigmoid": functional.hardsigmoid, "hardtanh": functional.hardtanh,
    "elu": lambda x: functional.elu(x, 0.5), "celu_wide": lambda x: functional.celu(x, 2.0),
    "softplus": functional.softplus, "softplus_3": lambda x: functional.softplus(x, 3.0),
    "clamp": lambda x: x.clamp(-0.5, 0.25), "clamp_min": lambda x: x.clamp_min(0.1),
    "clamp_max": lambda x: x.clamp(max=0.1), "clamp_tensor": lambda x: x.clamp(min=x.abs() / 2),
    "prelu": lambda x: functional.prelu(x, drawn(C)),
    "prelu_one": lambda x: functional.prelu(x, drawn(1)),
    "softmax": lambda x: functional.softmax(x, 1),
    "log_softmax": lambda x: functional.log_softmax(x, -1),
    "dropout": lambda x: functional.dropout(x, training=False),
    "dropout2d": lambda x: functional.dropout2d(x, training=False),
    "logsigmoid": functional.logsigmoid, "softshrink": functional.softshrink,
    "rrelu": lambda x: functional.rrelu(x, 0.1, 0.4), "log2": lambda x: x.abs().log2(),
    "log10": lambda x: x.abs().log10(), "floor": torch.floor, "ceil": torch.ceil,
    "trunc": torch.trunc, "sign": torch.sign,
    "cut_off": lambda x: torch.div(x, 0.3, rounding_mode="trunc"),
    "glu": lambda x: functional.glu(x, 1), "isnan": lambda x: torch.isnan(x / x.relu()),
    "nan_to_num": lambda x: torch.nan_to_num(x / x.relu()),
    "in_place": lambda x: functional.relu_(x + 1).mul_(2.0).add_(x, alpha=0.5),
}  # fmt: skip
ARITHMETIC: dict[str, Function] = {
    "add": lambda x: x + x, "add_alpha": lambda x: torch.add(x, x.abs(), alpha=0.5),
    "number": lambda x: 2 - x, "sub": lambda x: x - drawn(C, 1, 1), "mul": lambda x: x * 3.0,
    "div": lambda x: x / (x.abs() + 1), "pow": lambda x: x**2, "cube": lambda x: x**3,
    "maximum": lambda x: torch.maximum(x, -x), "minimum": lambda x: torch.minimum(x, x * 2),
    "broadcast": lambda x: x * x.mean((2, 3), keepdim=True), "rsub": lambda x: torch.rsub(x, 1.5),
    "mean": lambda x: x.mean(), "sum": lambda x: x.sum(1), "amax": lambda x: x.amax((1, 2)),
    "amin": lambda x: x.amin(-1, keepdim=True), "mean_dims": lambda x: x.mean([-1, -2]),
    "max": lambda x: x.max(), "min": lambda x: x.min(2).values,
    "max_of": lambda x: torch.max(x, -x),
    "norm": lambda x: functional.normalize(x), "norm_1": lambda x: torch.norm(x, 1, (1, 2)),
    "argmax": lambda x: x.argmax(1), "argmin": lambda x: x.argmin(-1, keepdim=True),
    "gt": lambda x: x > 0.5, "ge": lambda x: x >= x.abs(), "le": lambda x: x <= 0,
    "lt": lambda x: x < drawn(6), "eq": lambda x: x.round() == 1, "ne": lambda x: x.round() != 1,
    "not": lambda x: ~(x > 0), "and": lambda x: (x > 0) & (x < 1),
    "or": lambda x: (x > 1) | (x < 0),
    "xor": lambda x: (x > 0) ^ (x > 1), "logical": lambda x: torch.logical_and(x > 0, x),
    "logical_not": torch.logical_not, "any": lambda x: (x > 1).any(1),
    "any_of_all": lambda x: x.any(),
    "all": lambda x: (x > -1).all(2, keepdim=True),
    "mixed": lambda x: x * (x > 0) + torch.arange(6),
    "mixed_comparison": lambda x: x.argmax(1) < x[:, 0], "truth": lambda x: (x > 0).float(),
    "bytes": lambda x: (x.abs() * 10).to(torch.uint8).float() / 255,
    "ints": lambda x: (x * 9).long(),
    "put": lambda x: x.clone().index_put_((x > 0,), torch.tensor(0.5)),
    "var": lambda x: x.var(1), "var_all": lambda x: x.var(), "std": lambda x: x.std((2, 3)),
    "var_biased": lambda x: x.var((2, 3), unbiased=False, keepdim=True),
    "var_mean": lambda x: torch.var_mean(x, (1,), keepdim=True), "argmax_of_all": torch.argmax,
    "std_mean": lambda x: torch.std_mean(x, 1, correction=2), "max_places": lambda x: x.max(1),
    "min_places": lambda x: x.min(-1, keepdim=True).indices,
    "aminmax": lambda x: torch.aminmax(x, dim=1),
    "prod": lambda x: x.prod(1), "logsumexp": lambda x: x.logsumexp((2, 3)),
    "norm_inf": lambda x: torch.linalg.vector_norm(x, float("inf"), 1),
    "norm_3": lambda x: torch.linalg.vector_norm(x, 3, (2, 3), keepdim=True),
    "attention": lambda x: functional.scaled_dot_product_attention(x, x * 2, x + 1),
    "attention_mask": lambda x: functional.scaled_dot_product_attention(
        x, x, x, drawn(6, 6), scale=0.3
    ),
    "attention_causal": lambda x: functional.scaled_dot_product_attention(x, x, x, is_causal=True),
    "einsum": lambda x: torch.einsum("bchw,oc->bohw", x, drawn(5, C)),
    "cosine": lambda x: functional.cosine_similarity(x, x.flip(1), 1),
    "where": lambda x: torch.where(x > 0, x, 0.0), "masked": lambda x: x.masked_fill(x < 0, -1.0),
    "linear": lambda x: functional.linear(x, drawn(5, 6), drawn(5)),
    "linear_flat": lambda x: functional.linear(x.flatten(1), drawn(5, C * 36)),
    "addmm": lambda x: torch.addmm(drawn(5), x.flatten(1), drawn(C * 36, 5), beta=2, alpha=0.5),
    "mm": lambda x: torch.mm(x.flatten(1), drawn(C * 36, 5)),
    "bmm": lambda x: torch.bmm(x.flatten(2), x.flatten(2).transpose(1, 2)),
    "matmul": lambda x: x @ drawn(6, 3), "matmul_vector": lambda x: x @ drawn(6),
}  # fmt: skip
MOVES: dict[str, Function] = {
    "view": lambda x: x.view(2, -1), "reshape": lambda x: x.reshape(2, 2, 4, 36),
    "flatten": lambda x: x.flatten(2), "unflatten": lambda x: x.unflatten(1, (2, 4)),
    "permute": lambda x: x.permute(0, 2, 3, 1), "transpose": lambda x: x.transpose(1, 3),
    "t": lambda x: x.flatten(1).t(), "unsqueeze": lambda x: x.unsqueeze(1),
    "squeeze": lambda x: x[:, :1].squeeze(1), "cat": lambda x: torch.cat([x, x * 2], 1),
    "cat_first": lambda x: torch.cat([x, x], 0), "stack": lambda x: torch.stack([x, -x], 2),
    "slice": lambda x: x[:, 1:7:2, :-1], "select": lambda x: x[:, 3], "last": lambda x: x[..., -1],
    "split": lambda x: torch.cat(x.split(3, 1)[::-1], 1),
    "split_sizes": lambda x: x.split([2, 6], 1)[1], "chunk": lambda x: x.chunk(2, 1),
    "unbind": lambda x: x.unbind(3)[2], "expand": lambda x: x[:, :1].expand(-1, 4, -1, -1),
    "repeat": lambda x: x.repeat(1, 2, 1, 3), "clone": lambda x: x.clone(),
    "contiguous": lambda x: x.permute(0, 2, 1, 3).contiguous(),
    "flip": lambda x: x.flip(1, 3), "roll": lambda x: x.roll((1, -2), (2, 3)),
    "index_select": lambda x: x.index_select(1, torch.tensor([3, 0, 1])),
    "index": lambda x: x[:, [5, 5, 2]],
    "index_matrix": lambda x: x[:, :, torch.tensor([[0, 3], [1, 1]])],
    "windows": lambda x: x.unfold(2, 3, 2),
    "columns": lambda x: functional.unfold(x, (2, 3), 2, 1, 2),
    "zeros": lambda x: torch.cat([x, torch.zeros_like(x)], 1), "set": set_positions,
    "select_scatter": lambda x: torch.select_scatter(x, x[:, 0], 1, 2),
    "shift": lambda x: torch.cat([x[:, 4:], x[:, :4] > 0], 1),
    "groups": lambda x: x.view(2, 2, C // 2, 6, 6).transpose(1, 2).reshape(2, C, 6, 6),
    "shuffle": lambda x: functional.pixel_shuffle(x, 2),
    "unshuffle": lambda x: functional.pixel_unshuffle(x, 2),
    "channel_shuffle": lambda x: functional.channel_shuffle(x, 4),
    "pad": lambda x: functional.pad(x, (1, 2, 0, 3), value=0.5),
    "crop": lambda x: functional.pad(x, (-1, 1)),
    "pad_channels": lambda x: functional.pad(x, (0, 0, 0, 0, 1, 1)),
    "reflect": lambda x: functional.pad(x, (1, 2, 0, 3), mode="reflect"),
    "replicate": lambda x: functional.pad(x, (1, 2, 0, 3), mode="replicate"),
    "circular": lambda x: functional.pad(x, (1, 2, 0, 3), mode="circular"),
    "nearest": lambda x: functional.interpolate(x, scale_factor=2),
    "nearest_size": lambda x: functional.interpolate(x, (9, 4)),
    "exact": lambda x: functional.interpolate(x, (9, 4), mode="nearest-exact"),
    "bilinear": lambda x: functional.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "corners": lambda x: functional.interpolate(x, (9, 4), mode="bilinear", align_corners=True),
    "bicubic": lambda x: functional.interpolate(x, (9, 12), mode="bicubic"),
}  # fmt: skip
WINDOWS: dict[str, Function] = {
    "conv": lambda x: functional.conv2d(x, drawn(4, C, 3, 3), drawn(4), (2, 1), (1, 0)),
    "groups": lambda x: functional.conv2d(x, drawn(8, 2, 3, 3), padding=2, dilation=2, groups=4),
    "same": lambda x: functional.conv2d(x, drawn(4, C, 2, 3), padding="same"),
    "valid": lambda x: functional.conv2d(x, drawn(4, C, 2, 3), padding="valid"),
    "transposed": lambda x: functional.conv_transpose2d(
        x, drawn(C, 4, 3, 3), drawn(4), stride=2, padding=1, output_padding=1
    ),
    "transposed_groups": lambda x: functional.conv_transpose2d(x, drawn(C, 2, 2, 2), groups=2),
    "convolution": lambda x: aten.convolution(
        x, drawn(4, C, 1, 1), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1
    ),
    "max": lambda x: functional.max_pool2d(x, 3, 2, 1),
    "max_2": lambda x: functional.max_pool2d(x, 2),
    "max_ceil": lambda x: functional.max_pool2d(x, 3, 2, ceil_mode=True),
    "max_indices": lambda x: aten.max_pool2d_with_indices(x, [2, 2])[0],
    "avg": lambda x: functional.avg_pool2d(x, 3, 2, 1),
    "avg_inside": lambda x: functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    "adaptive": lambda x: functional.adaptive_avg_pool2d(x, 1),
    "adaptive_3": lambda x: functional.adaptive_avg_pool2d(x, (3, 6)),
    "adaptive_max": lambda x: functional.adaptive_max_pool2d(x, 2),
    "adaptive_uneven": lambda x: functional.adaptive_avg_pool2d(x, (4, 5)),
    "adaptive_wide": lambda x: functional.adaptive_avg_pool2d(x, (9, None)),
    "adaptive_max_uneven": lambda x: functional.adaptive_max_pool2d(x, (4, 1)),
    "adaptive_steps": lambda x: functional.adaptive_max_pool2d(x[:, :, :5], 2),
    "area": lambda x: functional.interpolate(x, (4, 5), mode="area"),
    "adaptive_one": lambda x: functional.adaptive_avg_pool2d(x[0], 4),
    "pool_one": lambda x: functional.max_pool2d(x[0], 2),
    "divisor": lambda x: functional.avg_pool2d(x, 2, padding=1, divisor_override=3),
    "power": lambda x: functional.lp_pool2d(x.abs(), 3, 2),
    "batch_norm": lambda x: functional.batch_norm(x, drawn(C), drawn(C).abs(), drawn(C), drawn(C)),
    "batch_norm_bare": lambda x: functional.batch_norm(x, drawn(C), drawn(C).abs(), eps=1e-3),
    "instance_norm": lambda x: functional.instance_norm(x, weight=drawn(C), bias=drawn(C)),
    "instance_norm_bare": functional.instance_norm,
    "group_norm": lambda x: functional.group_norm(x, 4, drawn(C), drawn(C)),
    "layer_norm": lambda x: functional.layer_norm(x, (6, 6), drawn(6, 6), drawn(6, 6)),
    "layer_norm_bare": lambda x: functional.layer_norm(x, (6,)),
    "layer_norm_scale": lambda x: functional.layer_norm(x, (6,), drawn(6)),
}  # fmt: skip
LINES: dict[str, Function] = {
    "conv": lambda x: functional.conv1d(x, drawn(4, C, 3), padding=1),
    "transposed": lambda x: functional.conv_transpose1d(x, drawn(C, 4, 3), stride=2),
    "max": lambda x: functional.max_pool1d(x, 3, 2), "avg": lambda x: functional.avg_pool1d(x, 2),
    "adaptive": lambda x: functional.adaptive_avg_pool1d(x, 4),
    "adaptive_uneven": lambda x: functional.adaptive_max_pool1d(x, 3),
    "adaptive_max": lambda x: functional.adaptive_max_pool1d(x, 1),
    "batch_norm": lambda x: functional.batch_norm(x, drawn(C), drawn(C).abs()),
    "reflect": lambda x: functional.pad(x, (2, 1), mode="reflect"),
    "replicate": lambda x: functional.pad(x, (2, 1), mode="replicate"),
    "nearest": lambda x: functional.interpolate(x, scale_factor=3),
    "linear": lambda x: functional.interpolate(x, 15, mode="linear"),
}  # fmt: skip
VOLUMES: dict[str, Function] = {
    "conv": lambda x: functional.conv3d(x, drawn(4, C, 3, 2, 1), padding=(1, 0, 0)),
    "transposed": lambda x: functional.conv_transpose3d(x, drawn(C, 4, 2, 2, 2), stride=2),
    "max": lambda x: functional.max_pool3d(x, 2), "avg": lambda x: functional.avg_pool3d(x, 2),
    "adaptive": lambda x: functional.adaptive_avg_pool3d(x, 2),
    "adaptive_uneven": lambda x: functional.adaptive_avg_pool3d(x, (3, 4, 2)),
    "adaptive_max": lambda x: functional.adaptive_max_pool3d(x, 1),
    "nearest": lambda x: functional.interpolate(x, scale_factor=2),
    "trilinear": lambda x: functional.interpolate(x, (6, 8, 3), mode="trilinear"),
    "replicate": lambda x: functional.pad(x, (1, 1, 0, 2, 1, 0), mode="replicate"),
}  # fmt: skip


class Several(torch.nn.Module):
    """The results of functions of one tensor, by name."""

    def __init__(self, functions: dict[str, Function]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: "torch.Tensor") -> dict[str, object]:
        """All of them."""
        return {name: function(x) for name, function in self.functions.items()}


@pytest.mark.parametrize(
    ("functions", "shape"),
    [
        pytest.param(POINTWISE, (2, C, 6, 6), id="pointwise"),
        pytest.param(ARITHMETIC, (2, C, 6, 6), id="arithmetic"),
        pytest.param(MOVES, (2, C, 6, 6), id="moves"),
        pytest.param(WINDOWS, (2, C, 6, 6), id="windows"),
        pytest.param(LINES, (2, C, 8), id="lines"),
        pytest.param(VOLUMES, (2, C, 4, 4, 4), id="volumes"),
    ],
)
def test_results_are_those_of_torch(functions: dict[str, Function], shape: tuple[int, ...]) -> None:
    """One net has all of them, and none falls back."""
    x = drawn(*shape)
    module = Several(functions)
    compiled = cnnc.torch.compile_module(module, x, fallback=False)
    made, expected = compiled(x), module(x)
    for name in functions:
        torch.testing.assert_close(
            made[name],
            expected[name],
            rtol=1e-4,
            atol=1e-5,
            msg=lambda text, n=name: f"{n}: {text}",
        )


def test_importers_are_for_operators_that_are_there() -> None:
    """Their names are ATen's."""
    assert [name for name in IMPORTERS.names if not hasattr(aten, name)] == []
