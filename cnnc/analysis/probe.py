"""Running a network's reference on inputs that are shifted, turned and stretched."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cnnc.analysis.inputs import Direction, spatial_axes
from cnnc.ir.evaluate import round_to, trace, widen
from cnnc.ir.graph import Array, Graph, Node, Real

SMOOTHNESS = 2.0
"""Width in pixels of the bell that random inputs are blurred with."""

Arrays = Mapping[str, Array]
Values = Mapping[Node, Real]
Change = Callable[[Array, Sequence[int]], Array]
"""Of an array, given its spatial axes."""


def random_arrays(graph: Graph, seed: int) -> dict[str, Array]:
    """Inputs of smooth noise with mean 0 and variance 1; noise between 0 and 255 for integers.

    It is blurred along the spatial axes, because neighbours in pictures and series are alike.
    """
    random, arrays = np.random.default_rng(seed), {}
    for node in graph.inputs:
        noise = random.normal(0, 1, node.type.shape)
        for axis in spatial_axes(graph, node):
            frequency = np.fft.rfftfreq(noise.shape[axis])
            bell = np.exp(-2 * (np.pi * SMOOTHNESS * frequency) ** 2)
            shape = [-1 if place == axis else 1 for place in range(noise.ndim)]
            noise = np.fft.irfft(
                np.fft.rfft(noise, axis=axis) * bell.reshape(shape), noise.shape[axis], axis=axis
            )
        noise = (noise - noise.mean()) / (noise.std() or 1)
        if not node.type.dtype.is_float:
            noise = np.clip(128 + 40 * noise, 0, 255)
        arrays[node.name] = round_to(noise, node.type.dtype)
    return arrays


@dataclass(frozen=True, slots=True)
class Probe:
    """A graph, inputs for it, and the spatial axes of those that have any, by name."""

    graph: Graph
    arrays: Arrays
    moved: Mapping[str, tuple[int, ...]]

    def values(self, wanted: Sequence[Node]) -> Values:
        """The values of nodes, in float64."""
        return self._run(self.arrays, wanted)

    def shifted(self, wanted: Sequence[Node], direction: Direction, pixels: int) -> Values:
        """The same with inputs shifted around in a direction."""
        arrays = {
            name: np.roll(array, pixels, direction.axes[name]) if name in direction.axes else array
            for name, array in self.arrays.items()
        }
        return self._run(arrays, wanted)

    def turned(self, wanted: Sequence[Node]) -> Values:
        """The same with the moved inputs turned by 90 degrees in their last two spatial axes."""
        return self._changed(wanted, turn)

    def stretched(self, wanted: Sequence[Node]) -> Values:
        """The same with the middle of the moved inputs stretched to twice its size."""
        return self._changed(wanted, stretch)

    def _changed(self, wanted: Sequence[Node], change: Change) -> Values:
        arrays = {
            name: change(array, self.moved[name]) if name in self.moved else array
            for name, array in self.arrays.items()
        }
        return self._run(arrays, wanted)

    def _run(self, arrays: Arrays, wanted: Sequence[Node]) -> Values:
        chosen = set(wanted)
        return {
            step.node: widen(np.asarray(step.value))
            for step in trace(self.graph, arrays)
            if step.node in chosen
        }


def turn(x: Array, axes: Sequence[int]) -> Array:
    """Turned by 90 degrees in the last two of the axes."""
    return np.rot90(x, axes=(axes[-2], axes[-1]))


def stretch(x: Array, axes: Sequence[int]) -> Array:
    """The middle half of every one of the axes at twice its size, each element repeated."""
    for axis in axes:
        extent = x.shape[axis]
        half = -(-extent // 2)
        start = (extent - half) // 2
        middle = x.take(range(start, start + half), axis=axis)
        x = np.repeat(middle, 2, axis=axis).take(range(extent), axis=axis)
    return x
