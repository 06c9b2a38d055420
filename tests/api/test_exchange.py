"""Arrays of other libraries: DLPack and NumPy's protocols, in and out."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cnnc

F32 = NDArray[np.float32]
TEXT = """cnn 1
net two { input a: f32[N, 4]  input b: f32[N, 4]  output s = a + b  output d = a - b }
"""


@pytest.fixture(scope="module")
def two() -> cnnc.Compiled:
    """A sum and a difference."""
    return cnnc.load_text(TEXT, batch=3).compile()


class Tensor:
    """What a library without NumPy's protocols exports; remembers how often it was asked."""

    def __init__(self, array: F32, device: tuple[int, int] = (1, 0)) -> None:
        self.array, self.device, self.asked = array, device, 0

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, **options: Any) -> object:
        self.asked += 1
        return self.array.__dlpack__(**options)


class Recording(Tensor):
    """One that refuses, like a tensor with a gradient, and explains it elsewhere."""

    def __dlpack__(self, **options: Any) -> object:
        raise BufferError("no")

    def __array__(self, dtype: object = None, copy: object = None) -> F32:
        raise RuntimeError("detach it first")


class Interface:
    """What exports an address."""

    def __init__(self, array: F32) -> None:
        self.array = array

    @property
    def __array_interface__(self) -> object:
        return self.array.__array_interface__


class Copying:
    """What hands out copies only."""

    def __array__(self, dtype: object = None, copy: object = None) -> F32:
        return np.zeros((3, 4), np.float32)


def ones(samples: int = 3, value: float = 1.0) -> F32:
    """An input."""
    return np.full((samples, 4), value, np.float32)


@pytest.mark.parametrize("wrap", [Tensor, Interface, memoryview])
def test_inputs(two: cnnc.Compiled, wrap: Any) -> None:
    """Any number of samples, beside plain arrays."""
    for samples in (1, 3, 5):
        results = two(a=wrap(ones(samples, 2.0)), b=ones(samples))
        np.testing.assert_array_equal(results["s"], ones(samples, 3.0))


def test_inputs_are_not_copied(two: cnnc.Compiled) -> None:
    """What fits is read where it lies."""
    a = ones()
    bound = two._binding.bind({"a": Tensor(a), "b": Interface(a)}, {})  # type: ignore[dict-item]
    assert all(np.shares_memory(array, a) for array in bound.arrays)


def test_memory_that_is_not_plain(two: cnnc.Compiled) -> None:
    """Transposed and strided tensors are put in order, small types are widened."""
    a = np.arange(24, dtype=np.float32).reshape(4, 6)
    for view in (a.T[:3], np.arange(12, dtype=np.int16).reshape(3, 4)):
        results = two(a=Tensor(view), b=ones())  # type: ignore[arg-type]
        np.testing.assert_array_equal(results["s"], view + ones())


@pytest.mark.parametrize(("kind", "name"), [(2, "CUDA 1"), (8, "Metal 1"), (99, "of kind 99")])
def test_other_devices_are_refused(two: cnnc.Compiled, kind: int, name: str) -> None:
    """Before the data is asked for, and with what to do."""
    far = Tensor(ones(), (kind, 1))
    with pytest.raises(cnnc.UserError, match=name) as caught:
        two(a=far, b=far)  # type: ignore[arg-type]
    assert [each.code for each in caught.value.diagnostics] == ["E0602", "E0602"]
    assert ".cpu()" in str(caught.value.diagnostics[0].help)
    with pytest.raises(cnnc.UserError, match=rf"`out` for `s` is out of reach.*{name}"):
        two(a=ones(), b=ones(), out={"s": far})  # type: ignore[dict-item]
    assert far.asked == 0


def test_tensors_that_refuse(two: cnnc.Compiled) -> None:
    """The object's own explanation reaches the user."""
    with pytest.raises(cnnc.UserError, match="detach it first"):
        two(a=Recording(ones()), b=ones())  # type: ignore[arg-type]
    with pytest.raises(cnnc.UserError, match="no memory to write to"):
        two(a=ones(), b=ones(), out={"s": Recording(ones())})  # type: ignore[dict-item]


@pytest.mark.parametrize("wrap", [Tensor, Interface, memoryview])
def test_outputs(two: cnnc.Compiled, wrap: Any) -> None:
    """Results are written into the tensor's memory, and the tensor itself comes back."""
    for samples in (2, 3, 7):
        memory = np.full((samples, 4), np.nan, np.float32)
        out = wrap(memory)
        results = two(a=ones(samples, 5.0), b=ones(samples), out={"d": out})
        assert results["d"] is out
        assert list(results) == ["s", "d"]
        np.testing.assert_array_equal(memory, ones(samples, 4.0))


def test_outputs_are_checked(two: cnnc.Compiled) -> None:
    """Copies, wrong types and shapes, read-only memory, and memory that is in use."""
    a, frozen = ones(), ones()
    frozen.flags.writeable = False
    wrong: list[tuple[Any, str]] = [
        (Copying(), "no memory to write to"),
        (Tensor(np.zeros((3, 4))), "float64"),  # type: ignore[arg-type]
        (Tensor(ones(2)), "has shape"),
        (Interface(frozen), "writable"),
        (Tensor(a), "memory of an input"),
    ]
    for out, part in wrong:
        with pytest.raises(cnnc.UserError, match=part):
            two(a=a, b=ones(), out={"s": out})
    shared = ones()
    with pytest.raises(cnnc.UserError, match="another output"):
        two(a=a, b=a, out={"s": Tensor(shared), "d": Interface(shared)})  # type: ignore[dict-item]


def test_results_export_dlpack(two: cnnc.Compiled) -> None:
    """NumPy's arrays do."""
    result = two(a=ones(), b=ones())["s"]
    np.testing.assert_array_equal(np.from_dlpack(result), result)


@pytest.mark.torch
def test_torch(two: cnnc.Compiled) -> None:
    """CPU tensors in and out without a copy; gradients and half precision are explained."""
    torch = pytest.importorskip("torch")
    a, b, out = torch.full((3, 4), 2.0), torch.ones(3, 4), torch.zeros(3, 4)
    bound = two._binding.bind({"a": a, "b": b}, {})
    assert [array.ctypes.data for array in bound.arrays] == [a.data_ptr(), b.data_ptr()]
    results = two(a=a, b=b, out={"s": out})
    assert results["s"] is out
    assert bool((out == 3).all())
    assert bool((torch.from_dlpack(results["d"]) == 1).all())
    with pytest.raises(cnnc.UserError, match="detach"):
        two(a=a.requires_grad_(), b=b)
    with pytest.raises(cnnc.UserError, match="E0602"):
        two(a=b.to(torch.bfloat16), b=b)
    with pytest.raises(cnnc.UserError, match="E0602"):
        two(a=torch.zeros(3, 4, device="meta"), b=b)
