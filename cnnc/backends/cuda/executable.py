"""A compiled library of a network on a GPU, called through its C interface."""

import ctypes
import weakref
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np

from cnnc.backends.base import Array
from cnnc.backends.cuda.kernel import COUNTERS, WORKSPACE
from cnnc.backends.cuda.plan import Launch, Plan
from cnnc.base.errors import InternalError, fail
from cnnc.base.half import HALVES
from cnnc.loop.kernel import Program

HOST = 0
"""Tensors of the host are run on by the network of the default stream."""


class CudaExecutable:
    """See Executable. There is a network in the GPU's memory for each stream that is run on."""

    def __init__(self, program: Program, plan: Plan, library: ctypes.CDLL) -> None:
        self.program = program
        self.plan = plan
        self._library = library
        self._nets: dict[int, tuple[ctypes.c_void_p, Lock]] = {}
        self._lock = Lock()
        self._strerror = library[f"{plan.abi.name}_strerror"]
        self._strerror.restype = ctypes.c_char_p
        # the weights' place on the GPU is taken, or refused, here and not in the first run
        self._net(HOST)

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See Runner: copies to the GPU and back."""
        net, lock = self._net(HOST)
        arguments = [ctypes.c_void_p(each.ctypes.data) for each in (*inputs, *outputs)]
        with lock:
            # it may still be at work for a caller who does not wait
            self.wait(HOST)
            self._call("use_graph", net, 1)
            self._call("run_host", net, *self._samples(len(inputs[0])), *arguments)

    def run_on_device(self, pointers: Sequence[int], samples: int, stream: int) -> None:
        """Have the stream run on inputs and outputs that lie in the GPU's memory."""
        net, lock = self._net(stream)
        arguments = [ctypes.c_void_p(each) for each in (*pointers, stream)]
        with lock:
            self._call("use_graph", net, 0)
            self._call("run", net, *self._samples(samples), *arguments)

    def allocate(self, size: int) -> int:
        """Memory of the GPU, in bytes; UserError where there is none left."""
        made = ctypes.c_void_p()
        self._call("device_malloc", ctypes.c_size_t(size), ctypes.byref(made))
        return made.value or 0

    def free(self, memory: int) -> None:
        """Give it back."""
        self._call("device_free", ctypes.c_void_p(memory))

    def read(self, memory: int, into: Array, stream: int) -> None:
        """Copy to the host what the stream has written."""
        place, size = ctypes.c_void_p(into.ctypes.data), ctypes.c_size_t(into.nbytes)
        arguments = (place, ctypes.c_void_p(memory), size, ctypes.c_void_p(stream))
        self._call("device_read", *arguments)

    def wait(self, stream: int) -> None:
        """Until all in the stream is done."""
        self._call("device_wait", ctypes.c_void_p(stream))

    def run_kernel(self, kernel: int, buffers: Sequence[Array]) -> None:
        """See Executable."""
        step = _Step(self, kernel, buffers)
        step.run()
        step.close(write=True)

    def bind_kernel(self, kernel: int, buffers: Sequence[Array]) -> Callable[[], None]:
        """See Executable: buffers stay in the GPU's memory as long as the call is kept."""
        step = _Step(self, kernel, buffers)
        weakref.finalize(step, _close, step.call, step.device, step.sizes)
        return step.run

    def call(self, verb: str, *arguments: object) -> None:
        """A function of the library; UserError where it reports an error of the GPU."""
        self._call(verb, *arguments)

    def _samples(self, samples: int) -> list[ctypes.c_size_t]:
        return [] if self.plan.abi.most_samples is None else [ctypes.c_size_t(samples)]

    def _net(self, stream: int) -> tuple[ctypes.c_void_p, Lock]:
        with self._lock:
            if stream not in self._nets:
                made, weights = ctypes.c_void_p(), self.plan.weights_file()
                size = ctypes.c_size_t(weights.nbytes)
                place = ctypes.c_void_p(weights.ctypes.data)
                self._call("create", place, size, ctypes.byref(made))
                destroy = self._library[f"{self.plan.abi.name}_destroy"]
                weakref.finalize(self, destroy, made).atexit = False
                self._nets[stream] = made, Lock()
            return self._nets[stream]

    def _call(self, verb: str, *arguments: object) -> None:
        status = int(self._library[f"{self.plan.abi.name}_{verb}"](*arguments))
        if status:
            text = self._strerror(status).decode()
            if status < 7:
                raise InternalError(f"{verb}: {text}", stage="cuda")
            raise fail("E0802", f"the GPU cannot run `{self.program.name}`: {text}")


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
