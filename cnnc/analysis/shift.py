"""What happens to every value of a network when its inputs are shifted along a spatial axis."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import lcm

from cnnc.analysis.dependence import Dependence, Dependences
from cnnc.analysis.inputs import Direction
from cnnc.analysis.motion import (
    CannotFollowError,
    Track,
    differs,
    find_track,
    reads_all_alike,
    stored,
)
from cnnc.analysis.region import Region
from cnnc.ir.graph import Graph, Node


@dataclass(frozen=True, slots=True)
class Still:
    """The value does not depend on what is shifted."""


@dataclass(frozen=True, slots=True)
class Moving:
    """When the inputs move by `pixels` the value moves by `positions` along `axis`; multiples do
    too."""

    axis: int
    pixels: int
    positions: int


@dataclass(frozen=True, slots=True)
class Gathered:
    """The value is made of sums, means or maxima over all positions: no shift by a multiple of
    `pixels` changes it, but for what enters and leaves at the edges."""

    pixels: int


@dataclass(frozen=True, slots=True)
class Bound:
    """The value is tied to absolute positions. `layer` is the first that is, `why` the reason."""

    layer: str
    why: str


State = Still | Moving | Gathered | Bound


class Shifts:
    """What shifts of inputs in one direction do to every value of a graph."""

    def __init__(self, graph: Graph, dependences: Dependences, direction: Direction) -> None:
        self.graph = graph
        self.direction = direction
        self._dependences = dependences
        self._axes = {
            node: direction.axes[node.name] for node in graph.inputs if node.name in direction.axes
        }
        self._changed: dict[int, Mapping[Node, Region]] = {}
        self._tracks: dict[Node, tuple[Track | None, ...]] = {}
        self.states: dict[Node, State] = {}
        for node in graph.nodes:
            self.states[node] = self._state(node)

    def _state(self, node: Node) -> State:
        if node in self._axes:
            return Moving(self._axes[node], 1, 1)
        states = [self.states[operand] for operand in node.inputs]
        bound = next((state for state in states if isinstance(state, Bound)), None)
        if bound is not None:
            return bound
        moving = _moving(states)
        gathered = [state.pixels for state in states if isinstance(state, Gathered)]
        if not moving:
            return Gathered(lcm(*gathered)) if gathered else Still()
        try:
            return self._follow(node, moving, gathered)
        except CannotFollowError as error:
            return Bound(node.name, str(error))

    def _follow(self, node: Node, moving: Mapping[int, Moving], gathered: list[int]) -> State:
        dependence = self._dependences.of(node)
        if not dependence.is_exact:
            raise CannotFollowError("how it reads its operands is not known")
        axes = {place: state.axis for place, state in moving.items()}
        tracks, refusals = _find_tracks(node, dependence, axes)
        self._tracks[node] = tracks
        found = [track for track in tracks if track is not None]
        if refusals and not found:
            raise refusals[0]
        if not found:
            if not reads_all_alike(dependence, axes):
                raise CannotFollowError("it does not treat all positions alike")
            return Gathered(lcm(*gathered, *(state.pixels for state in moving.values())))
        pixels = lcm(*gathered, *(each for track in found for each in _pixels(track, moving)))
        results = {
            (track.axis, step) for track in found for step in _results(track, moving, pixels)
        }
        if len(results) > 1:
            raise CannotFollowError("what it joins moves by different steps")
        ((axis, positions),) = results
        return Moving(axis, pixels, positions)

    def changed(self, pixels: int) -> Mapping[Node, Region]:
        """Elements that do not simply move along when the inputs move by so many pixels.

        It holds every node that a shift by `pixels` suits: those whose state asks for a divisor
        of it. An element is in the set if after the shift it may differ from the element that
        many positions before it.
        """
        if pixels not in self._changed:
            self._changed[pixels] = self._find_changed(pixels)
        return self._changed[pixels]

    def _find_changed(self, pixels: int) -> Mapping[Node, Region]:
        changed: dict[Node, Region] = {}
        for node in self.graph.nodes:
            state = self.states[node]
            if isinstance(state, Still | Bound) or pixels % state.pixels:
                continue
            shape = node.type.shape
            if node in self._axes:
                ranges = [slice(None)] * len(shape)
                ranges[self._axes[node]] = slice(0, pixels)
                changed[node] = Region.box(shape, ranges)
                continue
            made = self._differs(node, state, pixels)
            dependence = self._dependences.of(node)
            for place, operand in enumerate(node.inputs):
                if operand in changed:
                    read = changed[operand].readers(dependence.operands[place], shape)
                    made = made.union(read)
            changed[node] = made
        return changed

    def _differs(self, node: Node, state: State, pixels: int) -> Region:
        made = Region(node.type.shape)
        if not isinstance(state, Moving):
            return made
        axes = {place: each.axis for place, each in _moving_operands(self.states, node).items()}
        steps = state.positions * pixels // state.pixels
        writes = self._dependences.of(node).writes
        for track, write in zip(self._tracks[node], writes, strict=True):
            if track is None:
                made = made.union(stored(write, node.type.shape, {}))
            else:
                made = made.union(differs(node, track, axes, steps))
        return made


def _find_tracks(
    node: Node, dependence: Dependence, axes: Mapping[int, int]
) -> tuple[tuple[Track | None, ...], list[CannotFollowError]]:
    """How each store moves, None where it does not, and why not; edges may be stores too."""
    tracks: list[Track | None] = []
    refusals = []
    for write in dependence.writes:
        try:
            tracks.append(find_track(node, write, axes))
        except CannotFollowError as error:
            tracks.append(None)
            refusals.append(error)
    return tuple(tracks), refusals


def _moving(states: list[State]) -> dict[int, Moving]:
    return {place: state for place, state in enumerate(states) if isinstance(state, Moving)}


def _moving_operands(states: Mapping[Node, State], node: Node) -> dict[int, Moving]:
    return _moving([states[operand] for operand in node.inputs])


def _pixels(track: Track, moving: Mapping[int, Moving]) -> Iterator[int]:
    """How far the inputs must move for each operand to move by whole steps of the track."""
    for place, steps in track.operand_steps.items():
        state = moving[place]
        yield state.pixels * (lcm(state.positions, steps) // state.positions)


def _results(track: Track, moving: Mapping[int, Moving], pixels: int) -> Iterator[int]:
    """How far the result moves by each of the operands."""
    for place, steps in track.operand_steps.items():
        state = moving[place]
        yield state.positions * (pixels // state.pixels) // steps * track.steps
