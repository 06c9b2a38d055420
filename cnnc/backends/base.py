"""What the driver asks of a backend."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.loop.kernel import Program

Array = NDArray[np.generic]


class Runner(Protocol):
    """Something that runs whole programs. Calls from several threads at once are allowed."""

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Run the whole program once.

        Arrays are in the order of the program's ports, C-contiguous, of exactly their shapes and
        dtypes; `outputs` are written. Where the program has `most_samples`, all of them may have
        less of these, at least one.
        """
        ...

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> Callable[[], None]:
        """What `run` would do with these arrays, to be done many times over, one at a time.

        Backends that can prepare something have a way of their own.
        """
        return partial(self.run, inputs, outputs)


class Executable(Runner, Protocol):
    """A program that runs, whole or kernel by kernel."""

    @property
    def program(self) -> Program:
        """The program."""
        ...

    def run_kernel(self, kernel: int, buffers: Sequence[Array]) -> None:
        """Run one distinct kernel on buffers as they lie in memory, one-dimensional, aligned.

        Those the kernel names as outputs are written.
        """
        ...

    def bind_kernel(self, kernel: int, buffers: Sequence[Array]) -> Callable[[], None]:
        """What `run_kernel` would do with these buffers, to be done many times over."""
        ...


class Backend(Protocol):
    """Turns programs into executables."""

    name: str

    def compile(
        self, program: Program, target: Target, threads: int, store: Store | None = None
    ) -> Executable:
        """An executable for this machine running on so many threads.

        Code that the store has is not made again, and what is made is put there.
        """
        ...
