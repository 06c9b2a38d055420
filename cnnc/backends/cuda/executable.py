"""A compiled library of a network on a GPU, called through its C interface."""

import ctypes
import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from cnnc.backends.base import Array, Runner
from cnnc.backends.cuda.kernel import COUNTERS, WORKSPACE
from cnnc.backends.cuda.memory import Memory
from cnnc.backends.cuda.plan import Launch, Plan
from cnnc.backends.cuda.source import CUDA
from cnnc.base.errors import InternalError, fail
from cnnc.base.half import HALVES
from cnnc.loop.kernel import Program

HOST = 0
"""Tensors of the host are run on by the network of the default stream."""
MOST_STREAMS = 8
"""How many streams have working memory of their own, beside those it was asked for."""
_CAPTURING = CUDA + 900
"""What the library returns for a call that the capture of a stream forbids."""


@dataclass
class _Net:
    """A network in the GPU's memory; it is kept for its stream if a graph may have it."""

    handle: ctypes.c_void_p
    lock: Lock
    is_kept: bool = False


class CudaExecutable(Runner):
    """See Executable. Weights lie once on the GPU, working memory for each of some streams."""

    device = 0

    def __init__(self, program: Program, plan: Plan, library: ctypes.CDLL) -> None:
        self.program = program
        self.plan = plan
        self._library = library
        self._lock = Lock()
        self._strerror = self._function("strerror")
        self._strerror.restype = ctypes.c_char_p
        self._memory = Memory(self._call, self._function("device_free"))
        self._handles: list[ctypes.c_void_p] = []
        destroy = self._function("destroy")
        weakref.finalize(self, _destroy, destroy, self._handles).atexit = False
        # the weights' place on the GPU is taken, or refused, here and not in the first run
        weights = plan.weights_file()
        place, size = ctypes.c_void_p(weights.ctypes.data), ctypes.c_size_t(weights.nbytes)
        self._nets = {HOST: self._made("device_create", place, size)}
        self._nets[HOST].is_kept = True

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See Runner: copies to the GPU and back."""
        net = self._net(HOST)
        arguments = [ctypes.c_void_p(each.ctypes.data) for each in (*inputs, *outputs)]
        with net.lock:
            self._call("use_graph", net.handle, 1)
            self._call("run_host", net.handle, *self._samples(len(inputs[0])), *arguments)

    def run_on_device(self, pointers: Sequence[int], samples: int, stream: int) -> None:
        """Have the stream run on inputs and outputs that lie in the GPU's memory.

        UserError where the stream is being captured and nobody prepared for it.
        """
        net = self._net(stream, captured=self.is_captured(stream))
        arguments = [ctypes.c_void_p(each) for each in (*pointers, stream)]
        with net.lock:
            self._call("use_graph", net.handle, 0)
            self._call("run", net.handle, *self._samples(samples), *arguments)

    def prepare(self, stream: int) -> None:
        """Working memory for the stream, that stays its own. UserError while it is captured."""
        self._net(stream, captured=self.is_captured(stream)).is_kept = True

    def is_captured(self, stream: int) -> bool:
        """Whether the stream's work goes into a graph."""
        found = ctypes.c_int()
        self._call("device_is_captured", ctypes.c_void_p(stream), ctypes.byref(found))
        return bool(found.value)

    def allocate(self, size: int, stream: int) -> int:
        """Memory of the GPU for what the stream does next; UserError where there is none left."""
        return self._memory.allocate(size, stream, keep=self.is_captured(stream))

    def free(self, memory: int, streams: Collection[int]) -> None:
        """Give it back, where these streams may still be at work."""
        self._memory.give_back(memory, streams)

    def find_device(self, memory: int) -> int:
        """On which GPU it lies; -1 is on none."""
        found = ctypes.c_int()
        self._call("device_of", ctypes.c_void_p(memory), ctypes.byref(found))
        return found.value

    def read(self, memory: int, into: Array, stream: int) -> None:
        """Copy to the host what the stream has written."""
        place, size = ctypes.c_void_p(into.ctypes.data), ctypes.c_size_t(into.nbytes)
        arguments = (place, ctypes.c_void_p(memory), size, ctypes.c_void_p(stream))
        self._call("device_read", *arguments)

    def order(self, first: int, then: int) -> None:
        """What a stream gets from now on waits for what the first one has."""
        self._call("device_order", ctypes.c_void_p(first), ctypes.c_void_p(then))

    def wait(self) -> None:
        """Until the GPU has done all that it was given."""
        self._call("device_wait")

    def run_kernel(self, kernel: int, buffers: Sequence[Array]) -> None:
        """See Executable."""
        step, is_done = _Step(self, kernel, buffers), False
        try:
            step.run()
            is_done = True
        finally:
            step.close(write=is_done)

    def bind_kernel(self, kernel: int, buffers: Sequence[Array]) -> Callable[[], None]:
        """See Executable: buffers stay in the GPU's memory as long as the call is kept."""
        step = _Step(self, kernel, buffers)
        weakref.finalize(step, _close, step.call, step.device, step.sizes).atexit = False
        return step.run

    def call(self, verb: str, *arguments: object) -> None:
        """A function of the library; UserError where it reports an error of the GPU."""
        self._call(verb, *arguments)

    def _samples(self, samples: int) -> list[ctypes.c_size_t]:
        return [] if self.plan.abi.most_samples is None else [ctypes.c_size_t(samples)]

    def _net(self, stream: int, *, captured: bool = False) -> _Net:
        """The network of a stream: of many streams, the one that has not run for longest.

        It orders its own runs, so that it may go from a stream to another one.
        """
        with self._lock:
            found = self._nets.pop(stream, None)
            if found is None and captured:
                why = f"`{self.program.name}` is not prepared for a stream that is being captured"
                raise fail("E0803", why, help="call `prepare(stream)` before the capture begins")
            if found is None:
                others = [each for each, net in self._nets.items() if not net.is_kept]
                free = len(others) < MOST_STREAMS
                found = self._shared() if free else self._nets.pop(others[0])
            found.is_kept |= captured
            self._nets[stream] = found
            return found

    def _shared(self) -> _Net:
        return self._made("share", self._handles[0])

    def _made(self, verb: str, *arguments: object) -> _Net:
        made = ctypes.c_void_p()
        self._call(verb, *arguments, ctypes.byref(made))
        self._handles.append(made)
        return _Net(made, Lock())

    def _function(self, verb: str) -> "ctypes._FuncPointer":
        found: ctypes._FuncPointer = getattr(self._library, f"{self.plan.abi.name}_{verb}")
        return found

    def _call(self, verb: str, *arguments: object) -> None:
        status = int(self._function(verb)(*arguments))
        if status:
            text = self._strerror(status).decode()
            if status < 7:
                raise InternalError(f"{verb}: {text}", stage="cuda")
            help = None
            if status == _CAPTURING:
                help = "compile and `prepare(stream)` before the capture begins"
            raise fail("E0802", f"the GPU cannot run `{self.program.name}`: {text}", help=help)


def _destroy(destroy: Callable[..., object], handles: Sequence[ctypes.c_void_p]) -> None:
    """The first one has the weights of all."""
    for handle in reversed(handles):
        destroy(handle)


class _Step:
    """One distinct kernel with its buffers in the GPU's memory."""

    def __init__(self, owner: CudaExecutable, kernel: int, buffers: Sequence[Array]) -> None:
        position, launch = _launch_of(owner.plan, kernel)
        self.call = owner.call
        self.position = position
        names = [param.name for param in launch.loops.params]
        by_name = dict(zip(names, buffers, strict=True))
        self.half = HALVES.get(owner.plan.precision)
        self.host = [self._operand(name, launch, by_name) for name in launch.kernel.arguments]
        self.given = [by_name.get(name) for name in launch.kernel.arguments]
        self.sizes = (ctypes.c_size_t * len(self.host))(*(max(1, e.nbytes) for e in self.host))
        self.device = (ctypes.c_void_p * len(self.host))()
        self.writes = [name in launch.loops.outputs for name in launch.kernel.arguments]
        self.call("steps_open", self._count, _pointers(self.host), self.sizes, self.device)

    @property
    def _count(self) -> ctypes.c_size_t:
        return ctypes.c_size_t(len(self.host))

    def run(self) -> None:
        """Run it, and wait."""
        self.call("steps_run", self.position, self.device)

    def close(self, *, write: bool) -> None:
        """Copy results back and free the memory."""
        kept = [e if w and write else None for e, w in zip(self.host, self.writes, strict=True)]
        self.call("steps_close", self._count, _pointers(kept), self.sizes, self.device)
        for memory, given in zip(kept, self.given, strict=True):
            if self.half and memory is not None and given is not None and memory is not given:
                given[:] = self.half.widen(memory)

    def _operand(self, name: str, launch: Launch, buffers: dict[str, Array]) -> Array:
        kernel = launch.kernel
        if name == WORKSPACE:
            return np.zeros(kernel.workspace_bytes, np.uint8)
        if name == COUNTERS:
            return np.zeros(kernel.counters, np.uint32)
        for packing in kernel.packings:
            if packing.argument == name and launch.loops.task:
                param = launch.loops.task.param(name)
                return packing.pack(param.layout.unpack(buffers[name], param.shape))
        if self.half and name in launch.narrow:
            return self.half.narrow(buffers[name])
        return buffers[name]


def _close(
    call: Callable[..., None], device: "ctypes.Array[ctypes.c_void_p]", sizes: object
) -> None:
    count = len(device)
    call("steps_close", ctypes.c_size_t(count), (ctypes.c_void_p * count)(), sizes, device)


def _pointers(arrays: Sequence[Array | None]) -> "ctypes.Array[ctypes.c_void_p]":
    places = [None if each is None else each.ctypes.data for each in arrays]
    return (ctypes.c_void_p * len(places))(*places)


def _launch_of(plan: Plan, kernel: int) -> tuple[int, Launch]:
    """A function that computes a kernel, and its number among the functions."""
    wanted = plan.launch_of(kernel)
    for position, launch in enumerate(plan.singles):
        if launch.kernel.name == wanted.kernel.name:
            return position, launch
    raise InternalError("a step without a function", stage="cuda")
