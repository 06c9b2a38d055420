"""Convolutions and pooling."""

from collections.abc import Mapping, Sequence
from math import prod

from cnnc.base.dtype import DType
from cnnc.onnx.builder import Builder
from cnnc.onnx.flat import Array
from cnnc.onnx.registry import importer
from cnnc.onnx.values import Call, Flow, Known, RefusedError
from cnnc.ops.attributes import Symbol
from cnnc.ops.attributes import Value as Attribute

_AUTO = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}


@importer("Conv")
def conv(call: Call, build: Builder) -> Flow:
    """Weights must be known; a bias computed at run time is added."""
    x, weight = build.flow(call.flow(0)), _weights(call, build)
    kernel = _kernel(call, weight.shape[2:])
    attributes = {
        "channels": weight.shape[0],
        "kernel": short(kernel),
        **window(call, len(kernel)),
    }
    groups = call.integer("group", 1)
    if groups != 1:
        attributes["groups"] = groups
    return _biased(call, build, x, weight, ("conv", attributes))


@importer("ConvTranspose")
def conv_transpose(call: Call, build: Builder) -> Flow:
    """`output_shape` says how much is cropped."""
    x, weight = build.flow(call.flow(0)), _weights(call, build)
    kernel = _kernel(call, weight.shape[2:])
    groups = call.integer("group", 1)
    if groups < 1:
        raise RefusedError("it has no groups")
    attributes = {"channels": weight.shape[1] * groups, "kernel": short(kernel)}
    attributes |= _transposed(call, x, kernel)
    if groups != 1:
        attributes["groups"] = groups
    return _biased(call, build, x, weight, ("conv_transpose", attributes))


def _weights(call: Call, build: Builder) -> Array:
    weight = call.needed(1, "weight")
    if weight.ndim < 3 or 0 in weight.shape:
        raise RefusedError(f"its weights have shape {list(weight.shape)}")
    if build.flow(call.flow(0)).rank != weight.ndim:
        raise RefusedError("operand and weights differ in rank")
    return weight


def _kernel(call: Call, shape: Sequence[int]) -> tuple[int, ...]:
    given = call.integer_list("kernel_shape")
    if given is not None and tuple(given) != tuple(shape):
        raise RefusedError(f"`kernel_shape` is {given}, the weights have {list(shape)}")
    return tuple(shape)


def _biased(
    call: Call, build: Builder, x: Flow, weight: Array, made: tuple[str, dict[str, Attribute]]
) -> Flow:
    op, attributes = made
    bias = call.operand(2)
    if isinstance(bias, Known):
        return build.stage(op, [x], attributes, {"weight": weight, "bias": bias.array})
    result = build.stage(op, [x], attributes | {"bias": False}, {"weight": weight})
    if bias is None:
        return result
    channels = build.reshape(bias, (result.shape[1], *(1,) * (x.rank - 2)))
    return build.stage("add", [result, channels])


def window(call: Call, rank: int) -> dict[str, Attribute]:
    """Stride, padding and dilation where they are not 1, 0 and 1."""
    found: dict[str, Attribute] = {}
    for name, attribute in (("strides", "stride"), ("dilations", "dilation")):
        values = call.integer_list(name)
        if values is not None and len(values) != rank:
            raise RefusedError(f"`{name}` has {len(values)} numbers for {rank} axes")
        if values is None or {*values} == {1}:
            continue
        found[attribute] = short(values)
    if (pad := _padding(call, rank)) is not None:
        found["pad"] = pad
    return found


def short(values: Sequence[int]) -> Attribute:
    """One number where all are equal."""
    return values[0] if len({*values}) == 1 else tuple(values)


def _padding(call: Call, rank: int) -> Attribute | None:
    rule = call.word("auto_pad", "NOTSET")
    if rule in _AUTO:
        return Symbol(_AUTO[rule]) if rule != "VALID" else None
    if rule != "NOTSET":
        raise RefusedError(f"`auto_pad` is {rule}")
    pads = call.integer_list("pads")
    if pads is not None and len(pads) != 2 * rank:
        raise RefusedError(f"`pads` has {len(pads)} numbers for {rank} axes")
    if pads is None or not any(pads):
        return None
    return pairs(list(zip(pads[:rank], pads[rank:], strict=True)))


def pairs(ends: Sequence[tuple[int, int]]) -> Attribute:
    """Padding as short as the language has it."""
    parts = tuple(low if low == high else (low, high) for low, high in ends)
    return parts[0] if isinstance(parts[0], int) and len({*parts}) == 1 else parts


def _transposed(call: Call, x: Flow, kernel: Sequence[int]) -> dict[str, Attribute]:
    """Attributes of the window of a transposed convolution, all of them explicit."""
    rank = len(kernel)
    strides = call.integer_list("strides") or [1] * rank
    dilations = call.integer_list("dilations") or [1] * rank
    extra = call.integer_list("output_padding") or [0] * rank
    pads = call.integer_list("pads") or [0] * (2 * rank)
    if {len(strides), len(dilations), len(extra)} != {rank} or len(pads) != 2 * rank:
        raise RefusedError(f"its attributes are not for {rank} axes")
    rule = call.word("auto_pad", "NOTSET")
    if rule not in (*_AUTO, "NOTSET"):
        raise RefusedError(f"`auto_pad` is {rule}")
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    reach = [span + more for span, more in zip(spans, extra, strict=True)]
    wanted = _wanted(call, x, strides, reach)
    ends = list(zip(pads[:rank], pads[rank:], strict=True))
    if rule == "VALID":
        ends = [(0, 0)] * rank
    for axis, extent in enumerate(wanted):
        total = (x.shape[2 + axis] - 1) * strides[axis] + reach[axis] - extent
        extra[axis] += max(0, -total)
        ends[axis] = _halves(max(0, total), is_upper=rule == "SAME_UPPER")
    found: dict[str, Attribute] = {}
    if {*strides} != {1}:
        found["stride"] = short(strides)
    if any(map(any, ends)):
        found["pad"] = pairs(ends)
    if any(extra):
        found["output_pad"] = short(extra)
    if {*dilations} != {1}:
        found["dilation"] = short(dilations)
    return found


def _wanted(call: Call, x: Flow, strides: Sequence[int], reach: Sequence[int]) -> Sequence[int]:
    """The spatial extents that the result is padded or cropped to; none where pads say it."""
    given = call.integer_list("output_shape")
    if given is not None:
        if len(given) < len(strides):
            raise RefusedError(f"`output_shape` is not for {len(strides)} axes")
        return given[-len(strides) :]
    if not call.word("auto_pad", "NOTSET").startswith("SAME"):
        return ()
    if any(n < stride for n, stride in zip(reach, strides, strict=True)):
        raise RefusedError("`auto_pad` would pad its result, which implementations disagree on")
    return [n * stride for n, stride in zip(x.shape[2:], strides, strict=True)]


def _halves(total: int, *, is_upper: bool) -> tuple[int, int]:
    small, large = total // 2, total - total // 2
    return (small, large) if is_upper else (large, small)


@importer("MaxPool", "AveragePool", "LpPool")
def pool(call: Call, build: Builder) -> list[Flow]:
    """Bytes are pooled as f32, which holds them exactly; places where somebody asks for them."""
    x = build.flow(call.flow(0))
    call.only(2 if call.op == "MaxPool" else 1)
    kernel = call.integer_list("kernel_shape")
    if not kernel or len(kernel) != x.rank - 2:
        raise RefusedError(f"`kernel_shape` is {kernel} for {max(0, x.rank - 2)} spatial axes")
    attributes: dict[str, Attribute] = {"size": short(kernel), **window(call, len(kernel))}
    attributes.setdefault("stride", 1)
    if attributes["stride"] == attributes["size"]:
        del attributes["stride"]
    if "dilation" in attributes and call.word("auto_pad", "NOTSET").startswith("SAME"):
        raise RefusedError("it has `auto_pad` and dilations, which implementations disagree on")
    if call.integer("ceil_mode"):
        attributes["ceil"] = True
    wide = build.cast(x, DType.F32) if call.op == "MaxPool" and x.dtype is DType.U8 else x
    kind: dict[str, Attribute] = {"kind": _kind(call)}
    if call.op == "AveragePool" and call.integer("count_include_pad"):
        kind["count_pad"] = True
    made = build.cast(build.stage("pool", [wide], kind | attributes), x.dtype)
    return [made, _places(call, build, wide, attributes)] if any(call.used[1:]) else [made]


def _places(call: Call, build: Builder, x: Flow, attributes: Mapping[str, Attribute]) -> Flow:
    """Where the largest elements are, counted through the whole tensor."""
    order: dict[str, Attribute] = {"order": Symbol("column_major")}
    columns = order if call.integer("storage_order") else {}
    return build.stage("pool_argmax", [x], {**attributes, **columns, "whole": True})


@importer("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")
def global_pool(call: Call, build: Builder) -> Flow:
    """A window as large as the input."""
    x = build.flow(call.flow(0))
    if x.rank < 3 or (prod(x.shape[2:]) == 1 and call.op != "GlobalLpPool"):
        return build.stage("id", [x], shape=x.shape)
    return build.stage("pool", [x], {"kind": _kind(call), "size": Symbol("global")})


def _kind(call: Call) -> Symbol:
    match call.op.removeprefix("Global"):
        case "MaxPool":
            return Symbol("max")
        case "AveragePool":
            return Symbol("avg")
    p = call.number("p", 2.0)
    return Symbol("l2") if p == 2 else Symbol("lp", (int(p) if p == int(p) else p,))
