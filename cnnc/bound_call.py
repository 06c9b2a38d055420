"""A network bound to the arrays it reads and writes, to be called over and over."""

from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from cnnc.base.errors import fail

Array = NDArray[np.generic]


class BoundCall:
    """Each call computes the outputs of what the inputs hold at that moment; see `Network.bind`.

    `inputs` and `outputs` are its arrays by name: the same ones all the time. `name` is the net's.
    """

    __slots__ = ("_begin", "_end", "_run", "inputs", "name", "outputs")

    def __init__(
        self,
        name: str,
        inputs: dict[str, Array],
        outputs: dict[str, Array],
        run: Callable[[], None],
    ) -> None:
        self.name = name
        self.inputs = inputs
        self.outputs = outputs
        self._run = run
        lock = Lock()
        self._begin, self._end = lock.acquire, lock.release

    def __call__(self) -> dict[str, Array]:
        """Write the outputs, and return them by name.

        The interpreter lock is released meanwhile. UserError where another thread is in this call.
        """
        if not self._begin(False):
            raise fail(
                "E0605",
                f"a bound call of {self.name} is made by two threads at once",
                help="bind one for each thread: they share the weights",
            )
        try:
            self._run()
        finally:
            self._end()
        return self.outputs

    def __repr__(self) -> str:
        ends = ", ".join(self.inputs), ", ".join(self.outputs)
        return f"<cnnc.{type(self).__name__} {self.name}: {' → '.join(ends)}>"
