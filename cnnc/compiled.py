"""A compiled network: call it with arrays."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnc import driver
from cnnc.backends.base import Executable
from cnnc.base.errors import UserError, fail
from cnnc.base.target import Target
from cnnc.binding import Binding, Bound, Given
from cnnc.ir.evaluate import evaluate
from cnnc.ir.graph import Graph
from cnnc.layers import Layers, graph_layers, lowered_layers
from cnnc.lowering.lowered import Lowered
from cnnc.options import Options
from cnnc.snapshot import Snapshot

Array = NDArray[np.generic]
REFERENCE = "reference"


class Compiled:
    """A network ready to run. Calls from several threads at once are allowed; it pickles.

    `graph` is the network as built; `lowered` what the compiler made of it, None for the
    reference.
    """

    def __init__(self, graph: Graph, options: Options) -> None:
        self.graph = graph
        self.options = options
        self._binding = Binding(graph)
        self._lowered: Lowered | None = None
        self._executable: Executable | None = None
        if options.backend != REFERENCE:
            self.target = _runnable_target(options)
            optimised = driver.optimise(graph, driver.pipeline(self.target))
            self._lowered = driver.lower_graph(optimised, self.target)
            self._executable = driver.compile_lowered(self._lowered, self.target, options)

    def __call__(
        self,
        inputs: Given | None = None,
        /,
        *,
        out: Mapping[str, Array] | None = None,
        **named: ArrayLike,
    ) -> dict[str, Array]:
        """The outputs by name, for arrays by name, a mapping of them, or the only input itself.

        Axis 0 of every array is the samples, any number of them: they run in batches of the
        compiled size, the last one filled up with zeros. Arrays of the declared element type are
        taken as they are, contiguous ones without a copy; others are converted where no value can
        change, so float64 is refused. `out` gives arrays to write outputs into. UserError where
        something does not fit.
        """
        bound = self._binding.bind(inputs, named)
        results = self._binding.results(bound, out)
        self._run_all(bound, list(results.values()))
        return results

    @property
    def batch(self) -> int:
        """Samples of one run."""
        return self.graph.batch

    @property
    def lowered(self) -> Lowered:
        """Program and layers; UserError for the reference, which has none."""
        if self._lowered is None:
            raise _nothing_compiled()
        return self._lowered

    @property
    def executable(self) -> Executable:
        """What runs the program; UserError for the reference, which has none."""
        if self._executable is None:
            raise _nothing_compiled()
        return self._executable

    @cached_property
    def layers(self) -> Layers:
        """The layers as they run, with shapes, parameters, MACs, bytes, layouts and tiles."""
        return lowered_layers(self._lowered) if self._lowered else graph_layers(self.graph)

    def _run_all(self, bound: Bound, results: Sequence[Array]) -> None:
        size = self.graph.batch
        if not self._binding.splittable or bound.samples == size:
            self._run(bound.arrays, results)
            return
        whole = bound.samples - bound.samples % size
        for start in range(0, whole, size):
            part = slice(start, start + size)
            self._run([each[part] for each in bound.arrays], [each[part] for each in results])
        if rest := bound.samples - whole:
            staged = [_padded(each[whole:], size) for each in bound.arrays]
            filled = [np.empty((size, *each.shape[1:]), each.dtype) for each in results]
            self._run(staged, filled)
            for result, source in zip(results, filled, strict=True):
                result[whole:] = source[:rest]

    def _run(self, inputs: Sequence[Array], results: Sequence[Array]) -> None:
        if self._executable is not None:
            self._executable.run(inputs, results)
            return
        names = (node.name for node in self.graph.inputs)
        values = evaluate(self.graph, dict(zip(names, inputs, strict=True)))
        for result, value in zip(results, values.values(), strict=True):
            result[...] = value

    def __reduce__(self) -> tuple[object, tuple[Snapshot, Options]]:
        return _restore, (Snapshot.take(self.graph), self.options)

    def __repr__(self) -> str:
        ends = chain(self.graph.inputs, self.graph.outputs.values())
        shapes = ", ".join(str(node.type) for node in ends)
        return f"<cnnc.Compiled {self.graph.name} for {self.options.backend}: {shapes}>"


def _restore(snapshot: Snapshot, options: Options) -> Compiled:
    return Compiled(snapshot.restore(), options)


def _runnable_target(options: Options) -> Target:
    target = driver.find_target(options.target)
    if options.backend == "native" and not driver.can_run(target):
        raise fail(
            "E0801",
            f"code for `{options.target}` does not run on this machine",
            help="leave the target at `native`, or look at the code with `cnnc show`",
        )
    return target


def _padded(array: Array, size: int) -> Array:
    """The samples and zeros up to a whole batch."""
    batch = np.zeros((size, *array.shape[1:]), array.dtype)
    batch[: len(array)] = array
    return batch


def _nothing_compiled() -> UserError:
    return fail(
        "E0801",
        "the reference has no compiled program",
        help="compile with the backend `native` or `interp`",
    )
