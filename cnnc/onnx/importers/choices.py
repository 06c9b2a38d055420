"""Comparisons, logic, and what chooses by them."""

from collections.abc import Mapping
from math import prod

import numpy as np

from cnnc.base.dtype import DType
from cnnc.onnx.builder import Builder
from cnnc.onnx.importers.arithmetic import aligned, common_shape
from cnnc.onnx.registry import importer
from cnnc.onnx.values import Call, Flow, Known, Value, axis_of

COMPARISONS: Mapping[str, tuple[str, bool]] = {
    "Equal": ("equal", False), "Less": ("less", False), "LessOrEqual": ("less_equal", False),
    "Greater": ("less", True), "GreaterOrEqual": ("less_equal", True),
}  # fmt: skip
"""The operator, and whether its operands change places."""


@importer(*COMPARISONS)
def compare(call: Call, build: Builder) -> Flow:
    """Of equal element types."""
    op, is_turned = COMPARISONS[call.op]
    operands = [*aligned(call, build)]
    shape = common_shape([each.shape for each in operands])
    return build.stage(op, operands[::-1] if is_turned else operands, shape=shape)


@importer("Where")
def where(call: Call, build: Builder) -> Flow:
    """The same operator."""
    operands = [build.flow(call.flow(0)), call.flow(1), call.flow(2)]
    if all(isinstance(each, Known) for each in operands[1:]):
        operands[1] = build.flow(operands[1])  # of two numbers alone nothing follows the type
    shape = common_shape([each.shape for each in operands])
    return build.stage("where", operands, shape=shape)


@importer("And", "Or", "Xor")
def logic(call: Call, build: Builder) -> Flow:
    """0 and 1 multiplied, the larger of them, or their difference."""
    operands = [_as_number(build, each) for each in aligned(call, build)]
    shape = common_shape([each.shape for each in operands])
    op = {"And": "mul", "Or": "max", "Xor": "sub"}[call.op]
    return build.cast(build.stage(op, operands, shape=shape), DType.BOOL)


@importer("Not")
def negation(call: Call, build: Builder) -> Flow:
    """1 less the number."""
    x = build.flow(_as_number(build, call.flow(0)))
    return build.cast(build.stage("sub", [1.0, x], shape=x.shape), DType.BOOL)


@importer("Hardmax")
def hardmax(call: Call, build: Builder) -> Flow:
    """1 at the first of the largest elements, 0 elsewhere; before opset 13 of all axes from one."""
    x = build.flow(call.flow(0))
    axis = axis_of(call.integer("axis", -1 if call.opset >= 13 else 1), x.rank)
    shape = x.shape
    if call.opset < 13:
        x, axis = build.reshape(x, (prod(shape[:axis]), prod(shape[axis:]))), 1
    held = build.reshape(x, (1, *x.shape)) if x.rank == 1 else x
    at = axis + held.rank - x.rank
    place = build.stage("argmax", [held], {"axis": at, "keep": True})
    build.spend(held.shape[at])
    each = np.arange(held.shape[at]).reshape(-1, *(1,) * (held.rank - at - 1))
    is_first = build.stage("equal", [place, Known(each)])
    return build.reshape(build.cast(is_first, DType.F32), shape)


def _as_number(build: Builder, value: Value) -> Value:
    if isinstance(value, Known):
        return Known(value.array.astype(np.float32))
    return build.cast(value, DType.F32)


@importer("Round")
def round_half_even(call: Call, build: Builder) -> Flow:
    """The same operator."""
    x = build.flow(call.flow(0))
    return build.stage("round", [x], shape=x.shape)


@importer("Floor", "Ceil")
def floor(call: Call, build: Builder) -> Flow:
    """The nearest whole number, or the one before it."""
    x = build.flow(call.flow(0))
    near = build.stage("round", [x], shape=x.shape)
    is_floor = call.op == "Floor"
    beyond = build.stage("less", [x, near] if is_floor else [near, x], shape=x.shape)
    other = build.stage("sub" if is_floor else "add", [near, 1.0], shape=x.shape)
    return build.stage("where", [beyond, other, near], shape=x.shape)


@importer("Sign")
def sign(call: Call, build: Builder) -> Flow:
    """1, -1 or the zero itself."""
    x = build.flow(call.flow(0))
    ones = build.tensor(np.ones((1,) * max(1, x.rank), x.dtype.numpy))
    below = build.stage("less", [x, 0.0], shape=x.shape)
    lower = build.stage("where", [below, -1.0, x], shape=x.shape)
    above = build.stage("less", [0.0, x], shape=x.shape)
    return build.stage("where", [above, ones, lower], shape=x.shape)


@importer("ThresholdedRelu")
def thresholded(call: Call, build: Builder) -> Flow:
    """x above `alpha`, otherwise 0."""
    x = build.flow(call.flow(0))
    above = build.stage("less", [call.number("alpha", 1.0), x], shape=x.shape)
    return build.stage("where", [above, x, 0.0], shape=x.shape)


@importer("Shrink")
def shrink(call: Call, build: Builder) -> Flow:
    """x nearer to 0 by `bias`, and 0 where |x| is at most `lambd`."""
    x = build.flow(call.flow(0))
    limit, bias = call.number("lambd", 0.5), call.number("bias", 0.0)
    below = build.stage("less", [x, -limit], shape=x.shape)
    above = build.stage("less", [limit, x], shape=x.shape)
    higher = build.stage("sub", [x, bias], shape=x.shape)
    lower = build.stage("add", [x, bias], shape=x.shape)
    other = build.stage("where", [above, higher, 0.0], shape=x.shape)
    return build.stage("where", [below, lower, other], shape=x.shape)
