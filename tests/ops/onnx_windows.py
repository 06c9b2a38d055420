"""ONNX's counterparts of windows and normalisations."""

from collections.abc import Mapping, Sequence

import numpy as np

from cnnc.ir.types import TensorType
from cnnc.ops.conv import Conv
from cnnc.ops.conv_transpose import ConvTranspose
from cnnc.ops.normalisation.group_norm import GroupNorm
from cnnc.ops.normalisation.instance_norm import InstanceNorm
from cnnc.ops.normalisation.layer_norm import LayerNorm
from cnnc.ops.normalisation.lrn import Lrn
from cnnc.ops.normalisation.moments import Normalisation
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum, Norm
from cnnc.ops.transposed import TransposedWindow
from cnnc.ops.window import Window
from tests.ops.cases import Case, Real
from tests.ops.onnx_model import Attribute

OnnxCall = tuple[str, Sequence[Real], Mapping[str, Attribute]]


def translate_window(case: Case) -> OnnxCall | None:
    """The ONNX operator that computes the same, its operands and attributes, if there is one."""
    x = case.operands[0]
    match case.op:
        case Conv() as op:
            attributes = _window(op.window(TensorType.plain(x.shape)))
            return "Conv", case.operands, {**attributes, "group": op.groups}
        case ConvTranspose() as op:
            attributes = _transposed(op.window(TensorType.plain(x.shape)), x.shape[2:])
            return "ConvTranspose", case.operands, {**attributes, "group": op.groups}
        case Pool() as op:
            return _pool(op, x)
        case Lrn() as op if x.ndim == 4 and op.size % 2:  # ONNX Runtime refuses even sizes
            factors = {"alpha": op.alpha, "beta": op.beta, "bias": op.k}
            return "LRN", [x], {**factors, "size": op.size}
        case Normalisation() as op:
            return _normalisation(op, case.operands)
    return None


def _normalisation(op: Normalisation, operands: Sequence[Real]) -> OnnxCall | None:
    """ONNX always wants a weight and a bias."""
    x, rank = operands[0], operands[0].ndim
    axes = op.parameter_axes(rank)
    shape = [x.shape[axis] for axis in axes]
    given = operands if op.affine else (x, np.ones(shape), np.zeros(shape))
    attributes: dict[str, Attribute] = {"epsilon": op.eps}
    match op:
        case InstanceNorm():
            return "InstanceNormalization", given, attributes
        case GroupNorm(groups=groups):
            return "GroupNormalization", given, {**attributes, "num_groups": groups}
        case LayerNorm() if axes == tuple(range(axes[0], rank)):
            return "LayerNormalization", given, {**attributes, "axis": axes[0]}
    return None


def _window(window: Window) -> dict[str, Attribute]:
    return {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "dilations": window.dilation,
        "pads": [ends[side] for side in (0, 1) for ends in window.pads],
    }


def _transposed(window: TransposedWindow, spatial: Sequence[int]) -> dict[str, Attribute]:
    extra = [
        out + sum(ends) - (extent - 1) * stride - window.span(axis)
        for axis, (out, ends, extent, stride) in enumerate(
            zip(window.out, window.crop, spatial, window.stride, strict=True)
        )
    ]
    return {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "dilations": window.dilation,
        "pads": [ends[side] for side in (0, 1) for ends in window.crop],
        "output_padding": extra,
    }


def _pool(op: Pool, x: Real) -> OnnxCall | None:
    window = op.window(TensorType.plain(x.shape))
    attributes = {**_window(window), "ceil_mode": int(op.ceil)}
    if any(max(ends) >= k for ends, k in zip(window.pads, window.kernel, strict=True)):
        return None  # ONNX Runtime refuses padding as wide as the kernel, dilated or not
    match op.kind:
        case Maximum():
            return "MaxPool", [x], attributes
        case Average():
            return "AveragePool", [x], {**attributes, "count_include_pad": int(op.count_pad)}
        case Norm(p=p) if p == int(p):
            return "LpPool", [x], {**attributes, "p": int(p)}
    return None
