"""A network bound to the arrays it reads and writes, to be called over and over."""

import os
from collections.abc import Callable, Mapping
from threading import RLock
from types import MappingProxyType
from typing import NoReturn
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from cnnc.base.errors import UserError, fail

Array = NDArray[np.generic]


class BoundCall:
    """Each call computes the outputs of what the inputs hold at that moment; see `Network.bind`.

    `inputs` and `outputs` are its arrays by name, the same ones all the time: new values are
    written into them. `name` is the net's.
    """

    __slots__ = ("__weakref__", "_inputs", "_lock", "_outputs", "_run", "name")

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        run: Callable[[], None],
    ) -> None:
        self.name = name
        self._inputs: Mapping[str, Array] = MappingProxyType({**inputs})
        self._outputs: Mapping[str, Array] = MappingProxyType({**outputs})
        self._run = run
        self._lock = RLock()
        _CALLS.add(self)

    def __call__(self) -> Mapping[str, Array]:
        """Write the outputs, and return them by name.

        The interpreter lock is released meanwhile; another thread that calls it waits.
        """
        with self._lock:
            self._run()
        return self._outputs

    @property
    def inputs(self) -> Mapping[str, Array]:
        """The arrays it reads, by name: write new values into them."""
        return self._inputs

    @inputs.setter
    def inputs(self, value: object) -> NoReturn:
        """UserError: others would not be read."""
        raise self._fixed("inputs")

    @property
    def outputs(self) -> Mapping[str, Array]:
        """The arrays it writes, by name."""
        return self._outputs

    @outputs.setter
    def outputs(self, value: object) -> NoReturn:
        """UserError: others would not be written."""
        raise self._fixed("outputs")

    def _fixed(self, what: str) -> UserError:
        """A bound call reads and writes where it was told to, whatever names are given later."""
        name = next(iter(getattr(self, what)), "x")
        help = "bind the network again"
        if what == "inputs":
            help = f'write into its arrays: `call.inputs["{name}"][...] = {name}`'
        return fail("E0605", f"the {what} of a bound call of {self.name} are fixed", help=help)

    def __reduce__(self) -> NoReturn:
        raise fail(
            "E0605",
            f"a bound call of {self.name} cannot be copied or pickled",
            help="copy or pickle its network, and bind that",
        )

    def __repr__(self) -> str:
        ends = ", ".join(self.inputs), ", ".join(self.outputs)
        return f"<cnnc.{type(self).__name__} {self.name}: {' → '.join(ends)}>"


_CALLS: WeakSet[BoundCall] = WeakSet()


def _renew_locks() -> None:
    """In a forked child nobody is in a call: threads that were are the parent's."""
    for call in _CALLS:
        call._lock = RLock()


os.register_at_fork(after_in_child=_renew_locks)
