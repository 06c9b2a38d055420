"""Arrays in a GPU's memory: those of other libraries, and those that networks return.

The protocols are `__cuda_array_interface__` (version 3, Numba's documentation) and DLPack
(https://dmlc.github.io/dlpack/latest/), both without a copy.
"""

import weakref
from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cnnc.base.errors import did_you_mean, fail
from cnnc.base.record import record
from cnnc.binding import Given
from cnnc.dlpack import CUDA, VERSION, Seen, make_capsule, read_capsule
from cnnc.interface import End, Interface
from cnnc.table import shape_text

Array = NDArray[np.generic]
_LEGACY = 1
"""The default stream in both protocols."""
_PER_THREAD = 2
_SYNCHRONISED = 3
"""The version of `__cuda_array_interface__` from which on arrays say what to wait for."""
ALIGNMENT = 16


class Gpu(Protocol):
    """What runs a network on pointers; `stream` is a cudaStream_t as a number, 0 the default."""

    @property
    def device(self) -> int:
        """The number of the GPU."""
        ...

    def run_on_device(self, pointers: Sequence[int], samples: int, stream: int) -> None:
        """Have the stream run it."""
        ...

    def prepare(self, stream: int) -> None:
        """Take what runs on the stream need."""
        ...

    def is_captured(self, stream: int) -> bool:
        """Whether the stream's work goes into a graph."""
        ...

    def allocate(self, size: int, stream: int) -> int:
        """Memory of the GPU for what the stream does next."""
        ...

    def free(self, memory: int, streams: Collection[int]) -> None:
        """Give it back; these streams may still be at work on it."""
        ...

    def find_device(self, memory: int) -> int:
        """The number of the GPU that it lies on, -1 for none."""
        ...

    def read(self, memory: int, into: Array, stream: int) -> None:
        """Copy to the host what the stream has written."""
        ...

    def order(self, first: int, then: int) -> None:
        """Have one stream wait for what another one has been given so far."""
        ...

    def wait(self) -> None:
        """Until the GPU has done all that it was given."""
        ...


class DeviceArray:
    """A row-major array in a GPU's memory; PyTorch, CuPy and JAX take it without a copy.

    `torch.from_dlpack(y)`, `cupy.asarray(y)`; `y.numpy()` and `np.asarray(y)` copy it to the host.
    What is in it is there when all in `stream` is done. One that is made while a stream is captured
    is written whenever the graph runs, and stays in memory as long as the network.
    """

    def __init__(self, gpu: Gpu, shape: tuple[int, ...], dtype: np.dtype, stream: int) -> None:
        self.shape = shape
        self.dtype = dtype
        self.stream = stream
        self._gpu = gpu
        self._is_captured = gpu.is_captured(stream)
        self._streams = {stream}
        self.pointer = gpu.allocate(max(1, prod(shape) * dtype.itemsize), stream)
        weakref.finalize(self, gpu.free, self.pointer, self._streams).atexit = False

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        self._streams.add(-1)  # nobody says on which one it will be read
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,
            "version": _SYNCHRONISED,
            "stream": None if self._is_captured else self.stream or _LEGACY,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self._gpu.device

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """A capsule; BufferError where it should lie elsewhere, or be a copy.

        `stream` is the one that will read: None and 1 are the default stream, -1 waits for nothing.
        `max_version` may be any: capsules without a version are understood by all.
        """
        if dl_device is not None and tuple(map(int, dl_device)) != self.__dlpack_device__():
            raise BufferError(f"it lies on GPU {self._gpu.device}, and is copied by `numpy()` only")
        if copy:
            raise BufferError("it is not copied: ask for it without `copy`")
        if stream == 0:
            raise BufferError("no stream is called 0: the default one is 1")
        reader = 0 if stream in (None, _LEGACY) else int(stream or 0)
        self._streams.add(reader)
        if reader not in (-1, self.stream):
            self._order(reader)
        return make_capsule(self, self.pointer, self.shape, self.dtype, self._gpu.device)

    def _order(self, reader: int) -> None:
        if not self._is_captured:
            self._gpu.order(self.stream, reader)
        elif not self._gpu.is_captured(reader):
            self._gpu.wait()  # the graph ran on whatever stream

    def numpy(self) -> Array:
        """A copy in the host's memory."""
        if self._is_captured:
            self._gpu.wait()
        made = np.empty(self.shape, self.dtype)
        self._gpu.read(self.pointer, made, 0 if self._is_captured else self.stream)
        return made

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("an array on a GPU cannot be seen without a copy")
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __repr__(self) -> str:
        return f"<cnnc.DeviceArray {self.dtype} {shape_text(self.shape)}>"


@record
class Tensor:
    """Where an array of another library lies. `keeps` holds on to it."""

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype
    writable: bool
    keeps: object


def is_on_gpu(given: object) -> bool:
    """Whether an array says that it lies in a GPU's memory."""
    device = getattr(given, "__dlpack_device__", None)
    if device is not None and int(device()[0]) == CUDA:
        return True
    return hasattr(given, "__cuda_array_interface__")


def find_tensor(given: object, gpu: Gpu, stream: int) -> Tensor:
    """Where the array lies, once `stream` may use it.

    UserError if it is not row-major, or lies elsewhere. Of two protocols, DLPack is taken: there
    is an order of streams in it always.
    """
    seen, keeps = _by_dlpack(given, stream) if hasattr(given, "__dlpack__") else (None, None)
    if seen is None:
        seen, keeps = _by_interface(given, gpu, stream), given
    if seen.strides is not None and not _is_row_major(seen.shape, seen.strides):
        raise fail("E0601", "an array on the GPU is not contiguous", help="`.contiguous()` it")
    number = gpu.find_device(seen.pointer) if seen.pointer else gpu.device
    if number != gpu.device:
        where = f"on GPU {number}" if number >= 0 else "on no GPU"
        why = f"an array lies {where}, and the network on GPU {gpu.device}"
        raise fail("E0602", why, help="CUDA_VISIBLE_DEVICES says which one is the first")
    return Tensor(seen.pointer, seen.shape, seen.dtype, seen.writable, keeps)


def _by_dlpack(given: object, stream: int) -> tuple[Seen, object]:
    ask = given.__dlpack__  # type: ignore[attr-defined]
    reader = stream or _LEGACY
    try:
        try:
            capsule = ask(stream=reader, max_version=VERSION)
        except TypeError:  # of an older library
            capsule = ask(stream=reader)
        return read_capsule(capsule), capsule
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise fail("E0602", f"an array cannot be taken where it lies: {error}") from None


def _by_interface(given: object, gpu: Gpu, stream: int) -> Seen:
    shown = given.__cuda_array_interface__  # type: ignore[attr-defined]
    writer = shown.get("stream")
    if writer is not None and (other := _numbered(writer)) != stream:
        gpu.order(other, stream)
    elif shown.get("version", 0) < _SYNCHRONISED and not gpu.is_captured(stream):
        gpu.wait()
    (pointer, is_read_only), dtype = shown["data"], np.dtype(shown["typestr"])
    strides = shown.get("strides")
    if strides is not None:
        strides = tuple(each // dtype.itemsize for each in strides)
    return Seen(pointer, tuple(shown["shape"]), strides, dtype, not is_read_only)


def _numbered(stream: int) -> int:
    """The default stream has two numbers."""
    return 0 if stream == _LEGACY else stream


class OnDevice:
    """Runs a network on arrays that lie in a GPU's memory."""

    def __init__(self, interface: Interface, gpu: Gpu) -> None:
        self._interface = interface
        self._gpu = gpu

    def takes(self, given: Given | None, named: Mapping[str, object]) -> bool:
        """Whether any input lies there."""
        several = given.values() if isinstance(given, Mapping) else (given,)
        return any(map(is_on_gpu, (*several, *named.values())))

    def run(
        self,
        given: object,
        named: Mapping[str, object],
        out: Mapping[str, object] | None,
        stream: int,
    ) -> dict[str, DeviceArray]:
        """The outputs by name, which the stream will have written; see `Network.launch`."""
        stream = _own_stream(stream)
        arrays = {**given, **named} if isinstance(given, Mapping) else dict(named)
        names = [end.name for end in self._interface.inputs]
        if given is not None and not isinstance(given, Mapping):
            arrays[names[0]] = given
        if set(arrays) != set(names):
            help = f"its inputs are {', '.join(names)}, all of them on the GPU"
            raise fail("E0603", f"{self._interface.name} needs each of its inputs once", help=help)
        self._check_names(out or {})
        tensors = [self._tensor(end, arrays[end.name], stream) for end in self._interface.inputs]
        samples = tensors[0].shape[0]
        most, fewest = self._interface.batch, self._interface.fewest
        if len({each.shape[0] for each in tensors}) > 1 or not (fewest or most) <= samples <= most:
            wanted = str(most) if fewest is None else f"{fewest}..{most}"
            help = "on the GPU, batches are not split: compile for the number of samples"
            raise fail("E0601", f"{samples} samples for a batch of {wanted}", help=help)
        results: dict[str, DeviceArray] = {}
        for end in self._interface.outputs:
            shape = (samples, *end.type.shape[1:])
            if out and end.name in out:
                there = self._tensor(end, out[end.name], stream, shape)
                if not there.writable:
                    why = f"`{end.name}` is to be written into an array that is read-only"
                    raise fail("E0602", why, end.span, help="give another one, or none")
                tensors.append(there)
                results[end.name] = out[end.name]  # type: ignore[assignment]
                continue
            made = DeviceArray(self._gpu, shape, end.type.dtype.numpy, stream)
            results[end.name] = made
            tensors.append(Tensor(made.pointer, shape, made.dtype, True, made))
        self._gpu.run_on_device([each.pointer for each in tensors], samples, stream)
        return results

    def prepare(self, stream: int) -> None:
        """See `Network.prepare`."""
        self._gpu.prepare(_own_stream(stream))

    def _check_names(self, out: Mapping[str, object]) -> None:
        names = [end.name for end in self._interface.outputs]
        for name in out:
            if name not in names:
                help = did_you_mean(name, names) or f"its outputs are {', '.join(names)}"
                raise fail("E0603", f"{self._interface.name} has no output `{name}`", help=help)

    def _tensor(
        self, end: End, given: object, stream: int, shape: tuple[int, ...] | None = None
    ) -> Tensor:
        if not is_on_gpu(given):
            why = f"`{end.name}` does not lie on the GPU, and others do"
            raise fail("E0602", why, end.span, help="move all of them there, or none")
        found = find_tensor(given, self._gpu, stream)
        wanted = end.type.dtype.numpy
        if found.dtype != wanted:
            raise fail("E0602", f"`{end.name}` is {found.dtype}, expected {wanted}", end.span)
        expected = shape or (found.shape[0] if found.shape else 0, *end.type.shape[1:])
        if found.shape != expected:
            why = f"`{end.name}` has shape {shape_text(found.shape)}"
            raise fail("E0601", f"{why}, expected {shape_text(expected)}", end.span)
        if found.pointer % ALIGNMENT:
            why = f"`{end.name}` begins at no multiple of {ALIGNMENT} bytes"
            raise fail("E0601", why, end.span, help="copy it: it is a part of another array")
        return found


def _own_stream(stream: int) -> int:
    """The number of a stream; UserError for the one that is another in each thread."""
    if stream == _PER_THREAD or stream < 0:
        why = f"stream {stream} is no single stream"
        help = "give one that was created, or 0 for the default stream"
        raise fail("E0803", why, help=help)
    return _numbered(stream)


def _is_row_major(shape: Sequence[int], strides: Sequence[int]) -> bool:
    step = 1
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent != 1 and stride != step:
            return False
        step *= extent
    return True
