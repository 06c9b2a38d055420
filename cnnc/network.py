"""A network ready to run: call it with arrays."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnc.backends.base import Runner
from cnnc.base.errors import fail
from cnnc.binding import Binding, Given
from cnnc.bound_call import BoundCall
from cnnc.device import DeviceArray, OnDevice
from cnnc.html import heading_html, table_html
from cnnc.interface import Interface
from cnnc.layers import Layers
from cnnc.options import Options

Array = NDArray[np.generic]


class Network(ABC):
    """What can be called, however it came to be. Calls from several threads at once are allowed.

    `interface` has the inputs and outputs, `options` what it was compiled for.
    """

    def __init__(self, interface: Interface, options: Options, runner: Runner) -> None:
        self.interface = interface
        self.options = options
        self._binding = Binding(interface)
        self._runner = runner
        self._device: OnDevice | None = None
        self._fewest, self._most = interface.fewest or interface.batch, interface.batch

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
        compiled size, the last one filled up with zeros, or left short where the batch is a range.
        Arrays of the declared element type are taken as they are, contiguous ones without a copy;
        others are converted where no value can change, so float64 is refused. What has
        `__dlpack__`, `__array_interface__` or `__array__` is an array too, and must lie where the
        processor reaches it. `out` gives arrays to write outputs into. UserError where something
        does not fit. A network compiled for a GPU takes arrays that lie there too: see `launch`.
        """
        if self._device and self._device.takes(inputs, named):
            return self._device.run(inputs, named, out, 0)  # type: ignore[return-value]
        arrays = self._binding.arrays(inputs, named)
        results = self._binding.results(arrays, out)
        if self._fewest <= len(arrays[0]) <= self._most:
            self._runner.run(arrays, [*results.values()])
        else:
            self._run_all(arrays, [*results.values()])
        if out:
            results.update(out)  # what was given comes back as it was
        return results

    def bind(
        self,
        inputs: Given | None = None,
        /,
        *,
        out: Mapping[str, Array] | None = None,
        **named: ArrayLike,
    ) -> BoundCall:
        """A call to be made over and over, on arrays that stay where they are.

        What has to be checked or prepared is so now: of native code a call then costs a fifth of
        what it otherwise costs beyond the work. Inputs are as in `__call__`, but of one run
        (`batch` samples, or any number of its range), contiguous and of the declared type, as they
        are read where they lie; without any, arrays of zeros are made, to be written to:
        `call.inputs["x"][...] = x`, for as many samples as `out` has, else the most of a run.
        `out` gives arrays for outputs, others are made. Each bound
        call has working memory of its own: threads bind one each, and wait for each other where
        they share one. UserError where something does not fit.
        """
        given = inputs is not None or bool(named)
        arrays = self._binding.in_place(inputs, named) if given else self._binding.made(out)
        results = self._binding.results(arrays, out)
        run = self._runner.bind(arrays, [*results.values()])
        names = [end.name for end in self.interface.inputs]
        outputs = {**results, **(out or {})}  # what was given comes back as it was
        return BoundCall(self.name, dict(zip(names, arrays, strict=True)), outputs, run)

    def launch(
        self,
        inputs: object = None,
        /,
        *,
        stream: int = 0,
        out: Mapping[str, object] | None = None,
        **named: object,
    ) -> dict[str, DeviceArray]:
        """Have a stream of the GPU run the network on arrays in its memory; nothing is copied.

        Arrays are what has `__cuda_array_interface__` or `__dlpack__`, row-major, of exactly the
        compiled batch, or any number of samples of its range. `stream` is a cudaStream_t as a
        number, such as `torch.cuda.current_stream().cuda_stream`, 0 for the default stream; runs
        on different streams may overlap, for which streams get working memory of their own.
        Results are there when the stream has done all that it was given before. A stream that is
        being captured takes the run into its graph, after `prepare`. UserError for what does not
        fit, and for a network that is not compiled for a GPU.
        """
        return self._on_device().run(inputs, named, out, stream)

    def prepare(self, stream: int = 0) -> None:
        """Take working memory on the GPU for a stream, which stays its own.

        A stream that is going to be captured into a graph needs it, as nothing can be allocated
        then. The graph works in that memory: keep the network as long as the graph, and do not run
        the graph beside another run on this stream. UserError where the stream is being captured
        already, and for a network that is not compiled for a GPU.
        """
        self._on_device().prepare(stream)

    def _on_device(self) -> OnDevice:
        if self._device is None:
            help = 'compile it with `target="cuda"`'
            raise fail("E0801", f"{self.name} is not compiled for a GPU", help=help)
        return self._device

    @property
    def name(self) -> str:
        """The net's name in the text."""
        return self.interface.name

    @property
    def batch(self) -> int:
        """Samples of one run; the most where it is a range."""
        return self.interface.batch

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs by name, in declared order."""
        return {end.name: end.type.shape for end in self.interface.inputs}

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs by name, in declared order."""
        return {end.name: end.type.shape for end in self.interface.outputs}

    @property
    @abstractmethod
    def layers(self) -> Layers:
        """The layers as they run, with shapes, parameters, MACs, bytes, layouts and tiles."""

    @property
    def runner(self) -> Runner:
        """What runs one batch, of exactly the compiled size or any size of its range."""
        return self._runner

    def _run_all(self, arrays: Sequence[Array], results: Sequence[Array]) -> None:
        """Run any number of samples in whole batches and a rest."""
        size, run, samples = self.batch, self._runner.run, len(arrays[0])
        whole = samples - samples % size
        for start in range(0, whole, size):
            part = slice(start, start + size)
            run([each[part] for each in arrays], [each[part] for each in results])
        rest = samples - whole
        if rest and self.interface.fewest is not None:
            run([each[whole:] for each in arrays], [each[whole:] for each in results])
        elif rest:
            staged = [padded(each[whole:], size) for each in arrays]
            filled = [np.empty((size, *each.shape[1:]), each.dtype) for each in results]
            run(staged, filled)
            for result, source in zip(results, filled, strict=True):
                result[whole:] = source[:rest]

    def _repr_html_(self) -> str:
        return heading_html(self.name, self._ends()) + table_html(self.layers.table())

    def __repr__(self) -> str:
        return f"<cnnc.{type(self).__name__} {self.name} {self._ends()}>"

    def _ends(self) -> str:
        ends = chain(self.interface.inputs, self.interface.outputs)
        shapes = ", ".join(str(end.type) for end in ends)
        return f"for {self.options.backend}: {shapes}"


def padded(array: Array, size: int) -> Array:
    """The samples and zeros up to a whole batch."""
    if len(array) == size:
        return array
    batch = np.zeros((size, *array.shape[1:]), array.dtype)
    batch[: len(array)] = array
    return batch
