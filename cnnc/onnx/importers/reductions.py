"""Reductions along axes."""

from collections.abc import Mapping, Sequence
from math import prod

from cnnc.base.dtype import DType
from cnnc.onnx.builder import Builder
from cnnc.onnx.importers.moves import MOST_PIECES, cut
from cnnc.onnx.registry import importer
from cnnc.onnx.values import Call, Flow, RefusedError, axes_of, axis_of
from cnnc.ops.attributes import Symbol
from cnnc.ops.attributes import Value as Attribute

KINDS: Mapping[str, str] = {
    "ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "max", "ReduceMin": "min",
    "ReduceL1": "l1", "ReduceL2": "l2",
}  # fmt: skip
AXES_ARE_OPERANDS: Mapping[str, int] = {"ReduceSum": 13}
"""First opset in which axes are an operand and no attribute; 18 for all others."""


@importer(*KINDS, "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
def reduce(call: Call, build: Builder) -> Flow:
    """The sums of functions are functions and sums."""
    x = build.flow(call.flow(0))
    axes = _axes(call, x)
    keep = bool(call.integer("keepdims", 1))
    if axes is None:
        return _of_single_elements(call, build, x)
    if x.dtype in (DType.U8, DType.BOOL) and call.op in ("ReduceMax", "ReduceMin"):
        wide = build.cast(x, DType.F32)
        return build.cast(_reduced(build, KINDS[call.op], wide, axes, keep=keep), x.dtype)
    match call.op:
        case "ReduceSumSquare":
            square = build.stage("mul", [x, x], shape=x.shape)
            return _reduced(build, "sum", square, axes, keep=keep)
        case "ReduceLogSum":
            total = _reduced(build, "sum", x, axes, keep=keep)
            return build.stage("log", [total], shape=total.shape)
        case "ReduceLogSumExp":
            return _log_sum_exp(build, x, axes, keep=keep)
    return _reduced(build, KINDS[call.op], x, axes, keep=keep)


def _of_single_elements(call: Call, build: Builder, x: Flow) -> Flow:
    """What is reduced along no axis: functions before and after the sum are left."""
    match call.op:
        case "ReduceSumSquare":
            return build.stage("mul", [x, x], shape=x.shape)
        case "ReduceL1" | "ReduceL2":
            return build.stage("abs", [x], shape=x.shape)
        case "ReduceLogSum":
            return build.stage("log", [x], shape=x.shape)
    return build.stage("id", [x], shape=x.shape)


def _axes(call: Call, x: Flow) -> list[int] | None:
    """The axes; None where nothing is to be done."""
    if call.opset < AXES_ARE_OPERANDS.get(call.op, 18):
        given = call.integer_list("axes")
    else:
        given = call.integers(1, "axes")
    if not given and call.integer("noop_with_empty_axes"):
        return None
    return axes_of(given, x.rank) if given else [*range(x.rank)]


def _reduced(build: Builder, kind: str, x: Flow, axes: Sequence[int], *, keep: bool) -> Flow:
    """A reduction along some axes or all of them."""
    kept = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    shape = kept if keep else [n for axis, n in enumerate(x.shape) if axis not in axes]
    if len(axes) == x.rank:
        flat = build.reshape(x, (1, prod(x.shape)))
        made = build.stage("reduce", [flat], {"kind": Symbol(kind), "axes": 1})
        return build.reshape(made, shape)
    attributes: dict[str, Attribute] = {"kind": Symbol(kind), "axes": tuple(axes)}
    attributes |= {"keep": True} if keep else {}
    return build.stage("reduce", [x], attributes)


def _log_sum_exp(build: Builder, x: Flow, axes: Sequence[int], *, keep: bool) -> Flow:
    """The largest is subtracted first: -log_softmax at it."""
    largest = _reduced(build, "max", x, axes, keep=True)
    # -inf everywhere, or inf somewhere, must not become NaN: what is subtracted stays finite.
    end = 1.7e308 if x.dtype is DType.F64 else 3e38
    offset = build.stage("clip", [largest], {"low": -end, "high": end}, shape=largest.shape)
    down = build.stage("sub", [x, offset], shape=x.shape)
    total = _reduced(build, "sum", build.stage("exp", [down], shape=x.shape), axes, keep=True)
    log = build.stage("log", [total], shape=total.shape)
    made = build.stage("add", [log, offset], shape=total.shape)
    return (
        made if keep else build.reshape(made, [n for a, n in enumerate(x.shape) if a not in axes])
    )


@importer("ReduceProd")
def product(call: Call, build: Builder) -> Flow:
    """The slices along each axis, multiplied."""
    x = build.flow(call.flow(0))
    axes = _axes(call, x)
    if axes is None:
        return build.stage("id", [x], shape=x.shape)
    if sum(x.shape[axis] for axis in axes) > MOST_PIECES:
        raise RefusedError(f"it multiplies more than {MOST_PIECES} slices")
    kept = [axis for axis in range(x.rank) if axis not in axes]
    extents = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    for axis in axes:
        parts = [cut(build, x, axis, place, place + 1) for place in range(x.shape[axis])]
        x = build.stage("mul", parts, shape=parts[0].shape) if len(parts) > 1 else parts[0]
    return build.reshape(x, extents if call.integer("keepdims", 1) else [x.shape[n] for n in kept])


@importer("ArgMax", "ArgMin")
def arg(call: Call, build: Builder) -> Flow:
    """The last of equal elements is the first of the reversed."""
    x = build.flow(call.flow(0))
    if x.rank == 0:
        raise RefusedError("its operand has no axes")
    axis = axis_of(call.integer("axis"), x.rank)
    kept = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    shape = kept if call.integer("keepdims", 1) else (*x.shape[:axis], *x.shape[axis + 1 :])
    if x.rank == 1:
        x, axis = build.reshape(x, (1, *x.shape)), 1
    op, last = call.op.lower(), bool(call.integer("select_last_index"))
    if last:
        x = build.stage("slice", [x], {"axis": axis, "step": -1})
    made = build.stage(op, [x], {"axis": axis, "keep": True})
    if last:
        count = x.shape[axis] - 1.0
        wide = build.cast(made, DType.F32)
        made = build.cast(build.stage("sub", [count, wide]), DType.I64)
    return build.reshape(made, shape)
