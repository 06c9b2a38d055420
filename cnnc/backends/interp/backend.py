"""Programs run in Python: slow, and the plainest example of a backend."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from cnnc.backends.base import Array, Executable, Runner
from cnnc.backends.interp.evaluate import run_kernel
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.loop.expr import Buffer
from cnnc.loop.kernel import Place, Program, Region

UNDEFINED = 255
"""What fresh memory is filled with: floats made of such bytes are NaN."""


class InterpExecutable(Runner):
    """See Executable."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._weights = np.full(program.weights_bytes, UNDEFINED, np.uint8)
        for blob in program.weights:
            memory = self._weights[blob.offset : blob.end]
            memory[:] = 0
            blob.contents.pack_into(memory)
        self._weights.flags.writeable = False

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See Executable."""
        if not self.program.apart:
            self._run_steps(inputs, outputs)
            return
        for sample in range(len(inputs[0])):
            part = slice(sample, sample + 1)
            self._run_steps([each[part] for each in inputs], [each[part] for each in outputs])

    def _run_steps(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        arena = np.full(self.program.arena_bytes, UNDEFINED, np.uint8)
        regions: Mapping[Region, Sequence[Array]] = {
            Region.INPUT: inputs,
            Region.OUTPUT: outputs,
            Region.WEIGHTS: [self._weights],
            Region.ARENA: [arena],
        }
        for step in self.program.steps:
            kernel = self.program.kernels[step.kernel]
            buffers = [
                view(regions[place.region], place, param)
                for place, param in zip(step.places, kernel.params, strict=True)
            ]
            samples = len(inputs[0]) if kernel.takes_samples else None
            run_kernel(kernel, buffers, samples=samples)

    def run_kernel(self, kernel: int, buffers: Sequence[Array]) -> None:
        """See Executable."""
        run_kernel(self.program.kernels[kernel], buffers)

    def bind_kernel(self, kernel: int, buffers: Sequence[Array]) -> Callable[[], None]:
        """See Executable."""
        return partial(self.run_kernel, kernel, buffers)


def view(region: Sequence[Array], place: Place, param: Buffer) -> Array:
    """The part of a region that a kernel's parameter stands for, one-dimensional.

    It is shorter where an input or output has fewer samples than there is room for.
    """
    octets = region[place.index].reshape(-1).view(np.uint8)
    end = place.offset + param.size * param.dtype.bytes
    return octets[place.offset : end].view(param.dtype.numpy)


class InterpBackend:
    """See Backend."""

    name = "interp"

    def compile(
        self, program: Program, target: Target, threads: int, store: Store | None = None
    ) -> Executable:
        """See Backend; there is no code to keep, and target and threads make no difference."""
        return InterpExecutable(program)


BACKEND = InterpBackend()
