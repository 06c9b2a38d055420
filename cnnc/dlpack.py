"""DLPack capsules, written and read: https://dmlc.github.io/dlpack/latest/c_api.html."""

import ctypes
from typing import Any

import numpy as np

from cnnc.base.record import record

CUDA = 2
"""kDLCUDA."""
VERSION = 1, 0
"""The newest version that is read here."""
_NAME = b"dltensor"
_VERSIONED = b"dltensor_versioned"
_READ_ONLY, _IS_COPIED = 1, 2
"""Flags of a capsule with a version."""
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
Shape = tuple[int, ...]


class _Tensor(ctypes.Structure):
    """DLTensor: an array, the device it lies on, its element type, and its axes."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    """DLManagedTensor: the array, and what to call when it is not needed any more."""

    _fields_ = (
        ("tensor", _Tensor),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class _Versioned(ctypes.Structure):
    """DLManagedTensorVersioned, which also says what may be done with the array."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


@record
class Seen:
    """An array in a capsule: address, shape, strides in elements (None: row-major), type.

    What is not `writable` is read-only, or a copy that nobody else would see.
    """

    pointer: int
    shape: Shape
    strides: Shape | None
    dtype: np.dtype[Any]
    writable: bool


_api = ctypes.pythonapi
_new = _api.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", _api)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)
_held: dict[int, tuple[object, ...]] = {}
"""What each capsule that is out keeps alive, by the address of its structure."""


def _delete(managed: int) -> None:
    """The consumer needs it no longer."""
    _held.pop(managed, None)


def _destroy(capsule: int) -> None:
    """Nobody consumed it: those who do give it another name."""
    if _is_valid(capsule, _NAME):
        _held.pop(_pointer(capsule, _NAME), None)


# called by C, so they live as long as the module
_delete_by_c = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_delete)
_destroy_by_c = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(_destroy)


def make_capsule(
    owner: object, pointer: int, shape: Shape, dtype: np.dtype[Any], device: int
) -> object:
    """A capsule of a row-major array on a GPU; `owner` lives as long as it is used."""
    extents = (ctypes.c_int64 * max(1, len(shape)))(*shape)
    tensor = _Tensor(pointer, CUDA, device, len(shape), _CODES[dtype.kind], 8 * dtype.itemsize, 1)
    tensor.shape = ctypes.cast(extents, ctypes.POINTER(ctypes.c_int64))
    managed = _Managed(tensor, None, ctypes.cast(_delete_by_c, ctypes.c_void_p))
    address = ctypes.addressof(managed)
    _held[address] = owner, extents, managed
    made: object = _new(address, _NAME, ctypes.cast(_destroy_by_c, ctypes.c_void_p))
    return made


def read_capsule(capsule: object) -> Seen:
    """What is in a capsule, which is not consumed: the array lives as long as the capsule.

    TypeError for element types that NumPy does not know, and for versions that are not known here.
    """
    writable = True
    if _is_valid(id(capsule), _VERSIONED):
        place = _pointer(id(capsule), _VERSIONED)
        versioned = ctypes.cast(place, ctypes.POINTER(_Versioned)).contents
        if versioned.major != VERSION[0]:
            raise TypeError(f"an array of DLPack {versioned.major}.{versioned.minor}")
        tensor = versioned.tensor
        writable = not versioned.flags & (_READ_ONLY | _IS_COPIED)
    else:
        place = _pointer(id(capsule), _NAME)
        tensor = ctypes.cast(place, ctypes.POINTER(_Managed)).contents.tensor
    kinds = {code: kind for kind, code in _CODES.items()}
    if tensor.code not in kinds or tensor.lanes != 1:
        raise TypeError(f"an array of DLPack's type {tensor.code} with {tensor.bits} bits")
    dtype = np.dtype(f"{kinds[tensor.code]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    strides = tuple(tensor.strides[a] for a in range(tensor.ndim)) if tensor.strides else None
    return Seen((tensor.data or 0) + tensor.byte_offset, shape, strides, dtype, writable)
