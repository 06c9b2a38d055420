"""Operators that only change shapes, and shapes as values."""

from math import prod

import numpy as np

from cnnc.base.dtype import DType
from cnnc.onnx.builder import Builder
from cnnc.onnx.folding import MOST, cut_shape
from cnnc.onnx.registry import importer
from cnnc.onnx.values import Call, Flow, Known, RefusedError, Value, axes_of, axis_of
from cnnc.ops.attributes import Symbol
from cnnc.ops.cast import ElementType

CASTABLE = {
    1: DType.F32, 2: DType.U8, 6: DType.I32, 7: DType.I64, 9: DType.BOOL, 11: DType.F64,
}  # fmt: skip
"""Element types by ONNX's numbers."""
ROUNDED = {10: "f16", 16: "bf16"}
"""Those that are held as f32."""


@importer("Identity")
def identity(call: Call, build: Builder) -> Value:
    """Nothing happens."""
    return call.flow(0)


@importer("Dropout")
def dropout(call: Call, build: Builder) -> list[Value]:
    """Nothing is dropped in inference; the mask is true everywhere."""
    x = call.flow(0)
    if call.opset < 7 and not call.integer("is_test") and call.number("ratio", 0.5):
        raise RefusedError("without `is_test` it drops elements, as in training")
    training = call.known(2, "training mode")
    ratio = call.known(1, "ratio")
    if training is not None and np.any(training) and (ratio is None or np.any(ratio != 0)):
        raise RefusedError("it drops elements, as in training")
    results: list[Value] = [x]
    if any(call.used[1:]):
        if prod(x.shape) > MOST:
            raise RefusedError("its mask is too large")
        kind = np.bool_ if call.opset >= 10 else np.float32
        results.append(Known(np.ones(x.shape, kind)))
    return results


@importer("Shape")
def shape_of(call: Call, build: Builder) -> Value:
    """All shapes are known."""
    found = {name: call.integer(name) for name in call.attributes}
    return Known(cut_shape(call.flow(0).shape, found))


@importer("Size")
def size_of(call: Call, build: Builder) -> Value:
    """All shapes are known."""
    return Known(np.array(prod(call.flow(0).shape), np.int64))


@importer("Reshape")
def reshape(call: Call, build: Builder) -> Flow:
    """0 keeps an extent, -1 is whatever is left."""
    x = build.flow(call.flow(0))
    wanted = call.integer_list("shape") if call.opset < 5 else call.integers(1, "shape")
    if wanted is None:
        raise RefusedError("its shape is missing")
    if not call.integer("allowzero"):
        if any(n == 0 and axis >= x.rank for axis, n in enumerate(wanted)):
            raise RefusedError(f"{wanted} keeps an extent that {list(x.shape)} has not")
        wanted = [n or x.shape[axis] for axis, n in enumerate(wanted)]
    known = prod(n for n in wanted if n != -1)
    if wanted.count(-1) > 1 or known <= 0 or any(n < -1 for n in wanted):
        raise RefusedError(f"{wanted} is no shape")
    return build.reshape(x, [prod(x.shape) // known if n == -1 else n for n in wanted])


@importer("Flatten")
def flatten(call: Call, build: Builder) -> Flow:
    """Two axes are left."""
    x = build.flow(call.flow(0))
    axis = call.integer("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise RefusedError(f"there is no axis {axis}")
    axis = axis + x.rank if axis < 0 else axis
    return build.reshape(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


@importer("Squeeze")
def squeeze(call: Call, build: Builder) -> Flow:
    """Axes of extent 1 vanish: an attribute up to opset 12, an operand after that."""
    x = build.flow(call.flow(0))
    given = call.integer_list("axes") if call.opset < 13 else call.integers(1, "axes")
    axes = [axis for axis, n in enumerate(x.shape) if n == 1] if given is None else given
    axes = axes_of(axes, x.rank)
    if any(x.shape[axis] != 1 for axis in axes):
        raise RefusedError(f"an axis of {axes} is not 1 in {list(x.shape)}")
    return build.reshape(x, [n for axis, n in enumerate(x.shape) if axis not in axes])


@importer("Unsqueeze")
def unsqueeze(call: Call, build: Builder) -> Flow:
    """Axes of extent 1 come up, counted in the result."""
    x = build.flow(call.flow(0))
    given = call.integer_list("axes") if call.opset < 13 else call.integers(1, "axes")
    if given is None:
        raise RefusedError("its axes are missing")
    axes = axes_of(given, x.rank + len(given))
    rest = iter(x.shape)
    return build.reshape(x, [1 if n in axes else next(rest) for n in range(x.rank + len(axes))])


@importer("Transpose")
def transpose(call: Call, build: Builder) -> Flow:
    """Without an order, axes are reversed."""
    x = build.flow(call.flow(0))
    order = call.integer_list("perm") or [*range(x.rank)][::-1]
    order = [axis_of(axis, x.rank) for axis in order]
    if sorted(order) != [*range(x.rank)]:
        raise RefusedError(f"{order} is no order of {x.rank} axes")
    return build.transpose(x, order)


@importer("Cast", "CastLike")
def cast(call: Call, build: Builder) -> Value:
    """Between the element types that cnnc has; before opset 6 these are words."""
    x = call.flow(0)
    if call.op == "CastLike":
        like = call.flow(1)
        kind = like.dtype if isinstance(like, Flow) else DType.of(like.array.dtype)
    else:
        number = call.integer("to") if call.opset > 5 else _number_of(call.word("to", ""))
        if number in ROUNDED:
            x = build.flow(x)
            wide = x if x.dtype is DType.F64 else build.cast(x, DType.F32)
            made = build.stage("round_to", [wide], {"type": Symbol(ROUNDED[number])}, shape=x.shape)
            return build.cast(made, DType.F32)
        if number not in CASTABLE:
            from onnx import TensorProto

            names = {value: name for name, value in TensorProto.DataType.items()}
            raise RefusedError(f"cnnc has no tensors of {names.get(number, number)}")
        kind = CASTABLE[number]
    if kind.value not in ElementType().keywords:
        raise RefusedError(f"cnnc has no tensors of {kind}")
    if isinstance(x, Known):  # what is alike is computed at run time, but its type is known
        with np.errstate(all="ignore"):
            return Known(x.array.astype(kind.numpy))
    made = build.cast(x, kind)
    return build.stage("id", [x], shape=x.shape) if made is x else made


def _number_of(word: str) -> int:
    from onnx import TensorProto

    numbers: dict[str, int] = dict(TensorProto.DataType.items())
    return numbers.get(word.upper(), 0)
