"""Arrays of other libraries as NumPy arrays, where possible without a copy.

The protocols, in the order they are tried: DLPack (https://dmlc.github.io/dlpack/latest/), then
NumPy's own (the buffer protocol, `__array_interface__`, `__array__`).
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

DEVICES = {
    1: "CPU",
    2: "CUDA",
    3: "CUDA host",
    4: "OpenCL",
    7: "Vulkan",
    8: "Metal",
    9: "VPI",
    10: "ROCm",
    11: "ROCm host",
    13: "CUDA managed",
    14: "oneAPI",
    15: "WebGPU",
    16: "Hexagon",
}
"""Kinds of devices by DLPack's numbers (DLDeviceType in dlpack.h)."""
_ADDRESSABLE = (1, 3, 11, 13)


class DeviceError(Exception):
    """An array's memory cannot be reached by the processor."""


def as_array(given: object) -> Array:
    """The values as an array; DeviceError, or whatever the object's own conversion raises."""
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError("masked arrays are not understood, fill the gaps first")
    if isinstance(given, np.ndarray):
        return given
    shared = _from_dlpack(given)
    return np.asarray(given) if shared is None else shared


def as_writable(given: object) -> Array | None:
    """The object's own memory to write into; None where it has none, or hands out copies."""
    if isinstance(given, np.ndarray):
        return given
    shared = _from_dlpack(given)
    if shared is None:
        return np.asarray(given) if _shows_memory(given) else None
    if not shared.flags.writeable and hasattr(given, "__array__"):
        # Exporters of old forget to say whether one may write; the other protocol may say more.
        other = np.asarray(given)
        is_same = other.__array_interface__["data"][0] == shared.__array_interface__["data"][0]
        if is_same and (other.shape, other.dtype) == (shared.shape, shared.dtype):
            return other
    return shared


def _from_dlpack(given: object) -> Array | None:
    """A view through DLPack; None for what has none to offer."""
    if not (hasattr(given, "__dlpack__") and hasattr(given, "__dlpack_device__")):
        return None
    kind, number = given.__dlpack_device__()
    if int(kind) not in _ADDRESSABLE:
        name = DEVICES.get(int(kind), f"of kind {int(kind)}")
        raise DeviceError(f"it lies on the device {name} {number}")
    try:
        made: Array = np.from_dlpack(given)
    except Exception:  # such as a tensor that records gradients; its other protocol says it better
        return None
    return made


def _shows_memory(given: object) -> bool:
    if hasattr(given, "__array_interface__") or hasattr(given, "__array_struct__"):
        return True
    try:
        memoryview(given)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True
