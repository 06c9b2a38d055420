"""Resizing."""

from collections.abc import Mapping

from cnnc.onnx.builder import Builder
from cnnc.onnx.values import Flow, shortest
from cnnc.ops.attributes import Symbol
from cnnc.ops.attributes import Value as Attribute
from cnnc.torch.call import Call
from cnnc.torch.registry import importer

MODES: Mapping[str, str] = {
    "upsample_linear1d": "linear",
    "upsample_bilinear2d": "linear",
    "upsample_trilinear3d": "linear",
    "upsample_bicubic2d": "cubic",
}
_NEAREST = ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
_EXACT = ("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d")


@importer(*_NEAREST, *_EXACT)
def nearest(call: Call, build: Builder) -> Flow:
    """Positions o / scale rounded down; `exact` ones have their centres where others have."""
    if call.op in _EXACT:
        rounding: dict[str, Attribute] = {"rounding": Symbol("round_prefer_ceil")}
        return _resized(call, build, "nearest", rounding)
    attributes = {"coordinates": Symbol("asymmetric"), "rounding": Symbol("floor")}
    return _resized(call, build, "nearest", attributes)


@importer(*MODES)
def smooth(call: Call, build: Builder) -> Flow:
    """Centres or corners are where those of the other are."""
    attributes: dict[str, Attribute] = {}
    if call.arguments.get("align_corners"):
        attributes["coordinates"] = Symbol("align_corners")
    return _resized(call, build, MODES[call.op], attributes)


def _resized(call: Call, build: Builder, mode: str, attributes: Mapping[str, Attribute]) -> Flow:
    x = build.flow(call.value("input", "self"))
    scales = call.arguments.get("scale_factors")
    if scales is None:  # the overload with an output's size has them one by one, or not
        names = ("scales_d", "scales_h", "scales_w", "scales")
        found = [call.arguments[name] for name in names if name in call.arguments]
        scales = None if None in found else found
    made: dict[str, Attribute] = {"mode": Symbol(mode)}
    if scales:
        factors = [_whole(shortest(each)) for each in scales]
        made["scale"] = factors[0] if len({*factors}) == 1 else tuple(factors)
    else:
        made["size"] = call.shape[2:]
    return build.stage("resize", [x], {**made, **attributes})


def _whole(number: float) -> int | float:
    return int(number) if number == int(number) else number
