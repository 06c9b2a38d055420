"""Memory of the GPU for results."""

import ctypes
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain

from cnnc.base.errors import UserError

HELD_BYTES = 256 * 2**20
"""How much may lie idle for the next results."""
_STEP = 512
Call = Callable[..., None]


class Memory:
    """What one stream gave back is used on it again, which takes no call and waits for nothing.

    `free` is the library's. Arrays are given back by whichever thread, at any time, also within
    another call of this: nothing here is changed in more than one step.
    """

    def __init__(self, call: Call, free: Callable[..., object]) -> None:
        self._call = call
        self._sizes: dict[int, int] = {}
        self._idle: dict[tuple[int, int], list[int]] = {}
        self._late: deque[int] = deque()
        self._kept: list[int] = []
        parts = self._idle, self._late, self._kept
        weakref.finalize(self, _free_all, free, *parts).atexit = False

    def allocate(self, size: int, stream: int, *, keep: bool) -> int:
        """So many bytes, for what the stream does from now on.

        With `keep` they stay as long as the network does: a graph writes there whenever it runs.
        UserError where there is none left.
        """
        size = max(1, -(-size // _STEP)) * _STEP
        for _ in range(0 if keep else len(self._late)):
            self._free(self._late.popleft())
        if not keep and (idle := self._idle.get((stream, size))):
            return idle.pop()
        try:
            found = self._malloc(size)
        except UserError:
            if keep:
                raise
            self._drop_idle()
            found = self._malloc(size)
        if keep:
            self._kept.append(found)
        else:
            self._sizes[found] = size
        return found

    def give_back(self, memory: int, streams: Iterable[int]) -> None:
        """The array is not needed any more, which these streams may be at work on."""
        size, streams = self._sizes.get(memory), set(streams)
        if size is None:
            return
        held = sum(size * len(idle) for (_, size), idle in self._idle.copy().items())
        if len(streams) == 1 and held + size <= HELD_BYTES:
            self._idle.setdefault((streams.pop(), size), []).append(memory)
        else:
            self._free(memory)

    def _malloc(self, size: int) -> int:
        made = ctypes.c_void_p()
        self._call("device_malloc", ctypes.c_size_t(size), ctypes.byref(made))
        return made.value or 0

    def _free(self, memory: int) -> None:
        size = self._sizes.pop(memory)  # before another thread gets the same address
        try:
            self._call("device_free", ctypes.c_void_p(memory))
        except UserError:
            # not while a stream is being captured, for one
            self._sizes[memory] = size
            self._late.append(memory)

    def _drop_idle(self) -> None:
        for idle in self._idle.copy().values():
            while idle:
                self._free(idle.pop())


def _free_all(
    free: Callable[..., object],
    idle: dict[tuple[int, int], list[int]],
    late: Iterable[int],
    kept: Iterable[int],
) -> None:
    for memory in chain(*idle.values(), late, kept):
        free(ctypes.c_void_p(memory))
