"""Random operators that move or resize, for both kinds of random graphs."""

from collections.abc import Callable

from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Symbol, Value
from cnnc.ops.spec import Operator, find_operator

NAMES = ("slice", "slice", "pad", "pad", "resize", "resize", "transpose", "depth", "space")


def draw_movement(integer: Callable[[int, int], int], x: TensorType) -> Operator:
    """An operator that often fits the operand; `integer` draws from low to high."""

    def one_of(*values: Value) -> Value:
        return values[integer(0, len(values) - 1)]

    kind = NAMES[integer(0, len(NAMES) - 1)]
    name = {"depth": "depth_to_space", "space": "space_to_depth"}.get(kind, kind)
    found = find_operator(name)
    assert found is not None
    match kind:
        case "slice":
            return found.make(_slice(integer, x))
        case "pad":
            modes = [Symbol(mode) for mode in ("reflect", "edge", "wrap")]
            mode = one_of(*modes, Symbol("constant", (one_of(0, 0, 1.5),)))
            ends = (integer(0, 2), integer(0, 1))
            return found.make({"pad": one_of(1, (ends,)), "mode": mode})
        case "resize":
            return found.make(_resize(one_of))
        case "transpose":
            last = list(range(2, x.rank))[:: integer(0, 1) * 2 - 1]
            swapped = (0, *range(2, x.rank), 1)
            # a number has no axes, and no order is one of none: it refuses this one
            return found.make({"order": one_of((0, 1, *last), swapped[: x.rank or 1])})
    return found.make({"block": 2, "mode": one_of(Symbol("dcr"), Symbol("crd"))})


def _slice(integer: Callable[[int, int], int], x: TensorType) -> dict[str, Value]:
    axis = integer(1, max(1, x.rank - 1))
    extent = x.shape[axis] if axis < x.rank else 1
    half = extent // 2
    match integer(0, 3):
        case 0:
            return {"axis": axis, "begin": half}
        case 1:
            return {"axis": axis, "end": max(1, half)}
        case 2:
            return {"axis": axis, "step": -1}
    return {"axis": axis, "begin": integer(-extent, half), "step": integer(1, 2)}


def _resize(one_of: Callable[..., Value]) -> dict[str, Value]:
    name = str(one_of("scale", "size"))
    extent = one_of(0.5, 1.5, 2, 2) if name == "scale" else one_of(3, 5)
    mode = one_of("nearest", "nearest", "linear", "linear", "cubic")
    places = ("half_pixel", "half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")
    place = Symbol(str(one_of(*places)))
    return {"mode": Symbol(str(mode)), name: extent, "coordinates": place}
