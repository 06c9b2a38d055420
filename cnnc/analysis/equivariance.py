"""Equivariance: which shifts of the input only shift the result; derived, then measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cnnc.analysis.probe import Change, Probe, stretch, turn
from cnnc.analysis.region import Mask
from cnnc.analysis.shift import Bound, Gathered, Moving, Shifts, Still
from cnnc.base.report import Json
from cnnc.ir.graph import Array, Node, Real

HOLDS = 1e-9
"""Largest deviation, relative to the largest value, that counts as rounding in float64."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Largest deviations relative to the layer's largest value.

    `inside` is that of the positions which must only shift, None if there are none; `anywhere`
    takes in the margins, for all positions that have a counterpart.
    """

    inside: float | None
    anywhere: float

    @property
    def holds(self) -> bool:
        """Whether the positions inside deviate by rounding at most."""
        return self.inside is None or self.inside <= HOLDS


@dataclass(frozen=True, slots=True)
class AxisShift:
    """What a shift of `inputs` along one spatial axis does to one layer.

    A shift by `pixels`, or a multiple, moves an "equivariant" result by `positions`. The margins
    count positions before and after that do not follow exactly; `free` is how many do, out of
    `extent`, after a shift by `pixels`: the first `positions` show what has entered. An
    "invariant" result stays, but for what enters and leaves. "none" says why in `reason`.
    """

    layer: str
    inputs: tuple[str, ...]
    axis: int
    letter: str
    kind: str
    pixels: int | None = None
    positions: int | None = None
    margin: tuple[int, int] | None = None
    free: int | None = None
    extent: int | None = None
    reason: str | None = None
    measured: Measured | None = None

    def to_json(self) -> dict[str, Json]:
        """The shift as plain data."""
        measured: Json = None
        if self.measured:
            measured = {
                "inside": number_json(self.measured.inside),
                "anywhere": number_json(self.measured.anywhere),
                "holds": self.measured.holds,
            }
        return {
            "layer": self.layer,
            "inputs": [*self.inputs],
            "axis": self.axis,
            "kind": self.kind,
            "pixels": self.pixels,
            "positions": self.positions,
            "margin": [*self.margin] if self.margin else None,
            "free": self.free,
            "extent": self.extent,
            "reason": self.reason,
            "measured": measured,
        }


@dataclass(frozen=True, slots=True)
class Others:
    """How far a layer is from following a rotation and a scaling of the input.

    Largest deviation relative to the layer's largest value; None where the transformation does not
    fit the layer's or the input's shape.
    """

    layer: str
    rotation: float | None
    scaling: float | None

    def to_json(self) -> dict[str, Json]:
        """The deviations as plain data."""
        rotation, scaling = number_json(self.rotation), number_json(self.scaling)
        return {"layer": self.layer, "rotation": rotation, "scaling": scaling}


def find_shifts(
    shifts: Sequence[Shifts], layers: Sequence[Node], probe: Probe | None
) -> tuple[AxisShift, ...]:
    """Every layer under shifts in every direction that it notices, measured if there is a probe."""
    rows, free = dict[_Place, AxisShift](), dict[_Place, Mask | None]()
    for node in layers:
        for each in shifts:
            if not isinstance(each.states[node], Still):
                rows[node, each], free[node, each] = _describe(node, each)
    if probe is None:
        return tuple(rows.values())
    plain = probe.values(layers)
    # one shift at a time: all layers' values under all shifts may be too large for memory
    runs = dict.fromkeys((each, row.pixels) for (_, each), row in rows.items() if row.pixels)
    for each, pixels in runs:
        here = [place for place in rows if (place[1], rows[place].pixels) == (each, pixels)]
        moved = probe.shifted([node for node, _ in here], each.direction, pixels or 0)
        for place in here:
            node, row = place[0], rows[place]
            state = each.states[node]
            along = state.axis if isinstance(state, Moving) else 0
            steps = row.positions or 0
            measured = _measure(plain[node], moved[node], along, steps, free[place])
            rows[place] = replace(row, measured=measured)
    return tuple(rows.values())


_Place = tuple[Node, Shifts]
"""A layer and a direction."""


def _describe(node: Node, shifts: Shifts) -> tuple[AxisShift, Mask | None]:
    """The row without measurements, and the elements that only shift."""
    direction = shifts.direction
    head = (node.name, tuple(direction.axes), direction.axis, direction.letter)
    match shifts.states[node]:
        case Moving(along, pixels, positions):
            free = ~shifts.changed(pixels)[node].mask()
            others = tuple(place for place in range(free.ndim) if place != along)
            places = np.flatnonzero(free.all(axis=others))
            extent = node.type.shape[along]
            margin = None
            if len(places):
                margin = (int(places[0]) - positions, extent - 1 - int(places[-1]))
            row = AxisShift(*head, "equivariant", pixels, positions, margin, len(places), extent)
            return row, free
        case Gathered(pixels):
            return AxisShift(*head, "invariant", pixels, 0), None
        case Bound(layer, why):
            return AxisShift(*head, "none", reason=f"`{layer}`: {why}"), None
    return AxisShift(*head, "none", reason=f"`{node.name}`: it does not move"), None


def _measure(before: Real, after: Real, along: int, steps: int, free: Mask | None) -> Measured:
    expected = np.roll(before, steps, along)
    deviation = relative(expected, after)
    counterpart = [slice(None)] * before.ndim
    counterpart[along] = slice(steps, None)
    inside = None
    if free is not None and free.any():
        inside = float(deviation[free].max())
    return Measured(inside, float(deviation[tuple(counterpart)].max(initial=0.0)))


def relative(expected: Real, found: Real) -> Real:
    """Deviations relative to the largest expected value; NaN and infinities alike deviate by 0."""
    with np.errstate(invalid="ignore"):
        same = (expected == found) | (np.isnan(expected) & np.isnan(found))
        finite = np.abs(expected[np.isfinite(expected)])
        scale = float(finite.max(initial=0.0)) or 1.0
        deviation = np.where(same, 0.0, np.abs(expected - found) / scale)
    return np.where(np.isnan(deviation), np.inf, deviation)


def number_json(number: float | None) -> float | None:
    """A number as JSON can say it: infinity and NaN become null."""
    return number if number is not None and np.isfinite(number) else None


def find_others(layers: Sequence[Node], probe: Probe) -> tuple[Others, ...]:
    """Rotation by 90 degrees and scaling by two, measured."""
    inputs = [
        [probe.arrays[name].shape[axis] for axis in axes] for name, axes in probe.moved.items()
    ]
    plain = probe.values(layers)
    turned = probe.turned(layers) if all(map(_is_square, inputs)) else None
    stretched = probe.stretched(layers) if all(min(each) > 1 for each in inputs) else None
    rows = []
    for node in layers:
        spatial = node.type.spatial
        rotation = scaling = None
        if turned and (_is_square(spatial) or not spatial):
            rotation = _deviation(plain[node], turned[node], turn if spatial else _same)
        if stretched and (not spatial or min(spatial) > 1):
            scaling = _deviation(plain[node], stretched[node], stretch if spatial else _same)
        rows.append(Others(node.name, rotation, scaling))
    return tuple(rows)


def _deviation(before: Real, after: Real, change: Change) -> float:
    expected = np.asarray(change(before, range(2, before.ndim)), np.float64)
    return float(relative(expected, after).max(initial=0.0))


def _same(x: Array, axes: Sequence[int]) -> Array:
    return x


def _is_square(extents: Sequence[int]) -> bool:
    return len(extents) >= 2 and extents[-1] == extents[-2]
