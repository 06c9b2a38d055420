"""Arrays in a GPU's memory: those of other libraries, and those that networks return.

The protocols are `__cuda_array_interface__` (version 3, Numba's documentation) and DLPack
(https://dmlc.github.io/dlpack/latest/), both without a copy.
"""

import weakref
from collections.abc import Mapping, Sequence
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cnnc.base.errors import fail
from cnnc.base.record import record
from cnnc.binding import Given
from cnnc.dlpack import CUDA, make_capsule, read_capsule
from cnnc.interface import End, Interface
from cnnc.table import shape_text

Array = NDArray[np.generic]
_LEGACY = 1
"""The default stream in both protocols."""
ALIGNMENT = 16


class Gpu(Protocol):
    """What runs a network on pointers; `stream` is a cudaStream_t as a number, 0 the default."""

    def run_on_device(self, pointers: Sequence[int], samples: int, stream: int) -> None:
        """Have the stream run it."""
        ...

    def allocate(self, size: int) -> int:
        """Memory of the GPU."""
        ...

    def free(self, memory: int) -> None:
        """Give it back."""
        ...

    def read(self, memory: int, into: Array, stream: int) -> None:
        """Copy to the host what the stream has written."""
        ...

    def wait(self, stream: int) -> None:
        """Until all in the stream is done."""
        ...


class DeviceArray:
    """A row-major array in a GPU's memory; PyTorch, CuPy and JAX take it without a copy.

    `torch.from_dlpack(y)`, `cupy.asarray(y)`; `y.numpy()` and `np.asarray(y)` copy it to the host.
    What is in it is there when all in `stream` is done.
    """

    def __init__(self, gpu: Gpu, shape: tuple[int, ...], dtype: np.dtype, stream: int) -> None:
        self.shape = shape
        self.dtype = dtype
        self.stream = stream
        self._gpu = gpu
        self.pointer = gpu.allocate(max(1, prod(shape) * dtype.itemsize))
        weakref.finalize(self, gpu.free, self.pointer).atexit = False

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,
            "version": 3,
            "stream": self.stream or _LEGACY,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, 0

    def __dlpack__(self, *, stream: int | None = None, **asked: object) -> object:
        if stream not in (None, -1, self.stream or _LEGACY):
            self._gpu.wait(self.stream)
        return make_capsule(self, self.pointer, self.shape, self.dtype)

    def numpy(self) -> Array:
        """A copy in the host's memory."""
        made = np.empty(self.shape, self.dtype)
        self._gpu.read(self.pointer, made, self.stream)
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
    keeps: object


def is_on_gpu(given: object) -> bool:
    """Whether an array says that it lies in a GPU's memory."""
    if hasattr(given, "__cuda_array_interface__"):
        return True
    device = getattr(given, "__dlpack_device__", None)
    return device is not None and int(device()[0]) == CUDA


def find_tensor(given: object, gpu: Gpu, stream: int) -> Tensor:
    """Where the array lies, once `stream` may read it; UserError if it is not row-major."""
    device = getattr(given, "__dlpack_device__", None)
    if device is not None and (number := int(device()[1])):
        why = f"an array lies on GPU {number}, and the network on GPU 0"
        raise fail("E0602", why, help="CUDA_VISIBLE_DEVICES says which one is the first")
    shown = getattr(given, "__cuda_array_interface__", None)
    if shown is None:
        capsule = given.__dlpack__(stream=stream or _LEGACY)  # type: ignore[attr-defined]
        pointer, shape, strides, dtype = read_capsule(capsule)
        keeps: object = capsule
    else:
        other = shown.get("stream")
        if other not in (None, stream or _LEGACY):
            gpu.wait(0 if other == _LEGACY else other)
        pointer, shape, dtype = shown["data"][0], tuple(shown["shape"]), np.dtype(shown["typestr"])
        strides, keeps = shown.get("strides"), given
        if strides is not None:
            strides = tuple(each // dtype.itemsize for each in strides)
    if strides is not None and not _is_row_major(shape, strides):
        raise fail("E0601", "an array on the GPU is not contiguous", help="`.contiguous()` it")
    return Tensor(pointer, shape, dtype, keeps)


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
        arrays = {**given, **named} if isinstance(given, Mapping) else dict(named)
        names = [end.name for end in self._interface.inputs]
        if given is not None and not isinstance(given, Mapping):
            arrays[names[0]] = given
        if set(arrays) != set(names):
            help = f"its inputs are {', '.join(names)}, all of them on the GPU"
            raise fail("E0603", f"{self._interface.name} needs each of its inputs once", help=help)
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
                tensors.append(self._tensor(end, out[end.name], stream, shape))
                results[end.name] = out[end.name]  # type: ignore[assignment]
                continue
            made = DeviceArray(self._gpu, shape, end.type.dtype.numpy, stream)
            results[end.name] = made
            tensors.append(Tensor(made.pointer, shape, made.dtype, made))
        self._gpu.run_on_device([each.pointer for each in tensors], samples, stream)
        return results

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


def _is_row_major(shape: Sequence[int], strides: Sequence[int]) -> bool:
    step = 1
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent != 1 and stride != step:
            return False
        step *= extent
    return True
