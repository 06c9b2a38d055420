"""Reductions along axes."""

from collections.abc import Mapping, Sequence
from math import inf, prod

import numpy as np

from cnnc.base.dtype import DType
from cnnc.onnx.builder import Builder
from cnnc.onnx.importers.arithmetic import broadcast
from cnnc.onnx.values import Flow, Known, RefusedError, Value, axes_of, shortest
from cnnc.torch.call import Call, cast, through
from cnnc.torch.registry import importer

KINDS: Mapping[str, str] = {
    "mean": "ReduceMean", "sum": "ReduceSum", "amax": "ReduceMax", "amin": "ReduceMin",
    "prod": "ReduceProd",
}  # fmt: skip


@importer(*KINDS)
def reduce(call: Call, build: Builder) -> Flow:
    """Along some axes, or all of them."""
    return _along(call, build, KINDS[call.op])


NORMS: Mapping[float, str] = {1.0: "ReduceL1", 2.0: "ReduceL2"}


@importer("linalg_vector_norm")
def norm(call: Call, build: Builder) -> Flow:
    """(Σ |x|^order)^(1 / order), the largest or the smallest."""
    order = call.number("ord", 2.0)
    if order in NORMS:
        return _along(call, build, NORMS[order])
    x = build.flow(call.value("self"))
    size = build.stage("abs", [x], shape=x.shape)
    if abs(order) == inf:
        return _along(call, build, "ReduceMax" if order > 0 else "ReduceMin", size)
    if order <= 0:
        raise RefusedError(f"its order is {order}")
    power = build.stage("pow", [size, shortest(order)], shape=x.shape)
    total = _along(call, build, "ReduceSum", power)
    return build.stage("pow", [total, shortest(1 / order)], shape=total.shape)


@importer("max", "min")
def extremum(call: Call, build: Builder) -> list[Flow]:
    """Of two tensors, or along an axis, with the places where somebody reads them."""
    if "other" in call.arguments:
        operands: list[Value] = [call.promoted(build, "self"), call.promoted(build, "other")]
        return [broadcast(build, call.op, operands)]
    found = [_along(call, build, f"Reduce{call.op.capitalize()}")]
    if any(call.used[1:]):
        kept = int(bool(call.arguments.get("keepdim", False)))
        x, axis = call.value("self"), call.integer("dim")
        found.append(through(build, f"Arg{call.op.capitalize()}", [x], axis=axis, keepdims=kept))
    return found


@importer("aminmax")
def both_extremes(call: Call, build: Builder) -> list[Flow]:
    """The smallest and the largest."""
    return [_along(call, build, op) for op in ("ReduceMin", "ReduceMax")]


@importer("any", "all")
def some(call: Call, build: Builder) -> Flow:
    """The largest or smallest of 0 and 1."""
    truth = cast(build, call.value("self"), DType.BOOL)
    number = build.flow(cast(build, truth, DType.F32))
    op = "ReduceMax" if call.op == "any" else "ReduceMin"
    return build.cast(_along(call, build, op, number), DType.BOOL)


@importer("var", "var_mean")
def variance(call: Call, build: Builder) -> list[Flow]:
    """Squares of the distances from the mean, divided by `correction` less than their number."""
    x = build.flow(call.value("self"))
    count = prod(x.shape[axis] for axis in _axes(call, x))
    given = call.arguments.get("correction", call.arguments.get("unbiased"))
    divisor = count - (1.0 if given is None else float(given))
    if divisor <= 0:
        raise RefusedError(f"it divides by {divisor:g}")
    mean = _along(call, build, "ReduceMean", keep=True)
    distance = broadcast(build, "sub", [x, mean])
    square = build.stage("mul", [distance, distance], shape=x.shape)
    total = _along(call, build, "ReduceSum", square)
    made = build.stage("div", [total, shortest(divisor)], shape=total.shape)
    return [made, build.reshape(mean, made.shape)][: len(call.shapes)]


def _along(
    call: Call, build: Builder, op: str, x: Flow | None = None, *, keep: bool | None = None
) -> Flow:
    """An operator of ONNX along the call's axes; `x` is its operand unless another is given."""
    x = build.flow(call.value("self")) if x is None else x
    axes = Known(np.array(_axes(call, x), np.int64))
    kept = bool(call.arguments.get("keepdim", False)) if keep is None else keep
    return through(build, op, [x, axes], keepdims=int(kept))


def _axes(call: Call, x: Flow) -> Sequence[int]:
    """All axes where none is named."""
    given = call.arguments.get("dim")
    given = [given] if isinstance(given, int) else given or range(x.rank)
    return axes_of(list(given), x.rank)
