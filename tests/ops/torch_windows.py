"""PyTorch's counterparts of windows and normalisations."""

from collections.abc import Sequence

import numpy as np
import pytest

from cnnc.ir.types import TensorType
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.normalisation.group_norm import GroupNorm
from cnnc.ops.normalisation.instance_norm import InstanceNorm
from cnnc.ops.normalisation.layer_norm import LayerNorm
from cnnc.ops.normalisation.lrn import Lrn
from cnnc.ops.unshared import Unshared
from tests.ops.cases import Case

torch = pytest.importorskip("torch")
functional = torch.nn.functional
CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
CONV_TRANSPOSE = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def run_window(case: Case) -> "torch.Tensor | None":
    """The result of the same operator in PyTorch, or None if it has none."""
    x, *rest = (torch.from_numpy(operand) for operand in case.operands)
    kind = case.types[0]
    match case.op:
        case Conv() as op:
            return _conv(op, kind, x, *rest)
        case ConvTranspose() as op:
            return _conv_transpose(op, kind, x, *rest)
        case Unshared() as op if op.groups == 1 and x.ndim == 4:
            return _unfolded(op, kind, x, *rest)
        case InstanceNorm(eps=eps) if x[0, 0].numel() > 1:  # PyTorch refuses one position
            return functional.instance_norm(x, None, None, *rest, eps=eps)
        case GroupNorm(groups=groups, eps=eps) if x[0].numel() > groups:
            # PyTorch refuses groups of one element.
            return functional.group_norm(x, groups, *rest, eps=eps)
        case LayerNorm() as op:
            return _layer_norm(op, x, *rest)
        case Lrn() as op if x.ndim > 2:
            # The odd channel of an even window lies before in PyTorch, behind in ONNX.
            even = op.size % 2 == 0
            given = x.flip(1) if even else x
            y = functional.local_response_norm(given, op.size, op.alpha, op.beta, op.k)
            return y.flip(1) if even else y
    return None


def _around(ends: Sequence[tuple[int, int]]) -> list[int]:
    """Padding as PyTorch lists it: from the last axis to the first."""
    return [end for pair in reversed(ends) for end in pair]


def _conv(op: Conv, kind: TensorType, x: "torch.Tensor", *rest: "torch.Tensor") -> "torch.Tensor":
    window = op.window(kind)
    bias = rest[1] if op.bias else None
    padded = functional.pad(x, _around(window.pads))
    run = CONV[len(window.kernel)]
    return run(padded, rest[0], bias, window.stride, 0, window.dilation, op.groups)


def _conv_transpose(
    op: ConvTranspose, kind: TensorType, x: "torch.Tensor", *rest: "torch.Tensor"
) -> "torch.Tensor":
    """Without padding, then cropped; what is added behind the result is its bias."""
    window, rank = op.window(kind), x.ndim - 2
    run = CONV_TRANSPOSE[rank]
    whole = run(x, rest[0], None, window.stride, 0, 0, op.groups, window.dilation)
    ends = [
        (-before, before + out - extent)
        for (before, _), out, extent in zip(window.crop, window.out, whole.shape[2:], strict=True)
    ]
    y = functional.pad(whole, _around(ends))
    return y + rest[1].reshape(-1, *[1] * rank) if op.bias else y


def _unfolded(
    op: Unshared, kind: TensorType, x: "torch.Tensor", *rest: "torch.Tensor"
) -> "torch.Tensor":
    """Patches of an image, each with its own matrix of weights."""
    window = op.window(kind)
    padded = functional.pad(x, _around(window.pads))
    patches = functional.unfold(padded, window.kernel, window.dilation, 0, window.stride)
    patches = patches.reshape(x.shape[0], x.shape[1], *window.kernel, *window.out)
    y = torch.einsum("ochwkl,ncklhw->nohw", rest[0], patches)
    return y + rest[1] if op.bias else y


def _layer_norm(op: LayerNorm, x: "torch.Tensor", *rest: "torch.Tensor") -> "torch.Tensor":
    """PyTorch normalises the last axes."""
    axes = op.parameter_axes(x.ndim)
    order = [axis for axis in range(x.ndim) if axis not in axes] + list(axes)
    moved = x.permute(order)
    shape = moved.shape[x.ndim - len(axes) :]
    normal = functional.layer_norm(moved, shape, *rest, eps=op.eps)
    return normal.permute(np.argsort(order).tolist())
