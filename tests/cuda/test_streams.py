"""Streams, graphs, devices and memory: what a network for a GPU orders, takes and gives back."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cnnc.api import Model
from cnnc.backends.cuda.executable import MOST_STREAMS, _Step
from cnnc.base.errors import UserError
from cnnc.compiled import Compiled
from cnnc.device import DeviceArray
from cnnc.dlpack import read_capsule
from tests.cuda.nets import inputs_of, small
from tests.cuda.streams import Lying, Shim, compile_for_streams, late_streams


@pytest.fixture(scope="module", autouse=True)
def late() -> Iterator[None]:
    """For all of them."""
    with late_streams():
        yield


@pytest.fixture(scope="module")
def model() -> Model:
    """A small network."""
    return small("tcn")


@pytest.fixture(scope="module")
def network(late: None, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """It compiled."""
    return compile_for_streams(model, tmp_path_factory.mktemp("module"))


@pytest.fixture
def shim(network: Compiled) -> Shim:
    """What it runs on."""
    return Shim(network)


@pytest.fixture(scope="module")
def values(model: Model) -> np.ndarray:
    """Its only input."""
    (found,) = inputs_of(model).values()
    return found


@pytest.fixture(scope="module")
def expected(network: Compiled, values: np.ndarray) -> np.ndarray:
    """Its only output."""
    (found,) = network(values).values()
    return found


def only(results: dict[str, DeviceArray]) -> DeviceArray:
    """The only one."""
    (found,) = results.values()
    return found


def test_weights_are_there_before_any_stream_runs(model: Model, expected: np.ndarray) -> None:
    (reference,) = model.compile()(inputs_of(model)).values()
    np.testing.assert_allclose(expected, reference, rtol=1e-4, atol=1e-5)


def test_a_captured_stream_runs_after_prepare(
    network: Compiled, shim: Shim, values: np.ndarray, expected: np.ndarray
) -> None:
    stream, other = shim.stream(), shim.stream()
    network.prepare(stream)
    given = Lying(shim, values, stream)
    shim.gpu.wait()
    out = DeviceArray(shim.gpu, expected.shape, expected.dtype, stream)
    (name,) = network.outputs
    assert shim.call("begin", stream) == 0
    made = only(network.launch(given.interface(), stream=stream))
    network.launch(given.interface(), stream=stream, out={name: out})
    graph = shim.end(stream)
    assert np.isnan(out.numpy()).all()
    shim.call("replay", graph, other)
    np.testing.assert_array_equal(made.numpy(), expected)
    np.testing.assert_array_equal(out.numpy(), expected)
    # the graph still has the place of its result when Python has not
    del made
    shim.call("replay", graph, other)
    shim.gpu.wait()


def test_what_a_capture_forbids_is_said_and_does_not_end_it(
    network: Compiled, shim: Shim, values: np.ndarray
) -> None:
    stream = shim.stream()
    given = Lying(shim, values, stream).interface()
    result = only(network.launch(given, stream=0))
    shared = only(network.launch(given, stream=0))
    assert shared.__cuda_array_interface__
    shim.gpu.wait()
    assert shim.call("begin", stream) == 0
    with pytest.raises(UserError, match="is not prepared for a stream") as caught:
        network.launch(given, stream=stream)
    assert "prepare(stream)" in str(caught.value)
    with pytest.raises(UserError, match="is not prepared for a stream"):
        network.prepare(stream)
    # whatever Python gives back meanwhile
    del result, shared
    shim.end(stream)


def test_compiling_while_a_stream_is_captured_is_refused_clearly(
    model: Model, network: Compiled, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = shim.stream()
    made, weights = ctypes.c_void_p(), shim.gpu.plan.weights_file()
    place, size = ctypes.c_void_p(weights.ctypes.data), ctypes.c_size_t(weights.nbytes)
    assert shim.call("begin", stream) == 0
    with pytest.raises(UserError, match="stream is capturing") as caught:
        shim.gpu._call("device_create", place, size, ctypes.byref(made))
    assert "before the capture begins" in str(caught.value)
    assert shim.library.test_end(ctypes.c_void_p(stream), ctypes.byref(made)) == 901


@pytest.mark.parametrize("order", ["late", "together"])
def test_many_streams_share_weights_and_some_memory(
    network: Compiled,
    shim: Shim,
    values: np.ndarray,
    expected: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    order: str,
) -> None:
    monkeypatch.setenv("CNNC_SHIM_STREAMS", order)
    kept = sum(net.is_kept for net in shim.gpu._nets.values())
    streams = [shim.stream() for _ in range(MOST_STREAMS + 4)]
    given = [Lying(shim, values, stream).interface() for stream in streams]
    before = shim.allocations - len(shim.gpu._nets)
    outs = [only(network.launch(x, stream=s)) for x, s in zip(given, streams, strict=True)]
    assert len(shim.gpu._nets) == MOST_STREAMS + kept
    assert shim.allocations == before + len(shim.gpu._nets) + len(outs)
    # late ones first: those in whose memory they run come before
    for out in reversed(outs):
        np.testing.assert_array_equal(out.numpy(), expected)


def test_streams_that_are_no_single_one_are_refused(
    network: Compiled, shim: Shim, values: np.ndarray, expected: np.ndarray
) -> None:
    given = Lying(shim, values).interface()
    with pytest.raises(UserError, match="stream 2 is no single stream"):
        network.launch(given, stream=2)
    with pytest.raises(UserError, match="no single stream"):
        network.prepare(-1)
    found = only(network.launch(given, stream=1))
    assert found.stream == 0
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("protocol", ["interface", "old interface", "dlpack"])
def test_inputs_are_waited_for(
    network: Compiled, shim: Shim, values: np.ndarray, expected: np.ndarray, protocol: str
) -> None:
    writer, stream = shim.stream(), shim.stream()
    if protocol == "dlpack":
        given: object = DeviceArray(shim.gpu, values.shape, values.dtype, writer)
        place = given.pointer  # type: ignore[attr-defined]
        shim.call("write", place, values.ctypes.data, values.nbytes, writer)
    else:
        given = Lying(shim, values, writer).interface(3 if protocol == "interface" else 2)
    np.testing.assert_array_equal(only(network.launch(given, stream=stream)).numpy(), expected)


def test_dlpack_comes_first(network: Compiled, shim: Shim, values: np.ndarray) -> None:
    """As an older version of the other protocol names no stream."""

    class Both(DeviceArray):
        @property
        def __cuda_array_interface__(self) -> dict[str, object]:
            raise AssertionError

    network.launch(Both(shim.gpu, values.shape, values.dtype, 0))


def test_results_are_waited_for(network: Compiled, shim: Shim, values: np.ndarray) -> None:
    stream, reader = shim.stream(), shim.stream()
    given = Lying(shim, values, stream).interface()
    results = []  # so that none lies where another one was
    for asked in (reader, 1, None, -1):
        result = only(network.launch(given, stream=stream))
        results.append(result)
        assert read_capsule(result.__dlpack__(stream=asked)).pointer == result.pointer
        copied = np.empty(result.shape, result.dtype)
        shim.gpu.read(result.pointer, copied, reader if asked == reader else 0)
        assert np.isnan(copied).any() == (asked == -1)
        shim.gpu.wait()


def test_what_a_capsule_cannot_be_is_refused(network: Compiled, shim: Shim) -> None:
    array = DeviceArray(shim.gpu, (2,), np.dtype(np.float32), 0)
    assert array.__dlpack_device__() == (2, 0)
    assert array.__dlpack__(stream=-1, max_version=(1, 1), dl_device=(2, 0), copy=False)
    for wrong in ({"copy": True}, {"dl_device": (1, 0)}, {"dl_device": (2, 1)}, {"stream": 0}):
        with pytest.raises(BufferError):
            array.__dlpack__(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        array.__dlpack__(strange=1)  # type: ignore[call-arg]


def test_capsules_with_a_version_say_what_is_read_only() -> None:
    array = np.zeros((2, 3), np.float32)
    try:
        capsule = array.__dlpack__(max_version=(1, 0))
    except TypeError:
        pytest.skip("this NumPy makes none")
    assert read_capsule(capsule).writable
    assert read_capsule(capsule).shape == (2, 3)
    array.flags.writeable = False
    assert not read_capsule(array.__dlpack__(max_version=(1, 0))).writable


def test_outputs_have_to_be_writable_and_known(
    network: Compiled, shim: Shim, values: np.ndarray, expected: np.ndarray
) -> None:
    given, place = Lying(shim, values).interface(), Lying(shim, expected)
    (name,) = network.outputs
    with pytest.raises(UserError, match="read-only"):
        network.launch(given, out={name: place.interface(read_only=True)})
    with pytest.raises(UserError, match="has no output `other`"):
        network.launch(given, out={"other": place.interface()})


def test_arrays_of_other_devices_are_refused(
    network: Compiled, shim: Shim, values: np.ndarray
) -> None:
    with pytest.raises(UserError, match="lies on GPU 1, and the network on GPU 0"):
        network.launch(Lying(shim, values, device=1).interface())
    on_host = Lying(shim, values)
    on_host.pointer = values.ctypes.data
    with pytest.raises(UserError, match="on no GPU"):
        network.launch(on_host.interface())


def test_the_current_device_does_not_matter(
    network: Compiled, shim: Shim, values: np.ndarray, expected: np.ndarray
) -> None:
    given, stream = Lying(shim, values).interface(), shim.stream()
    assert shim.library.test_set_device(1) == 0
    try:
        np.testing.assert_array_equal(only(network.launch(given, stream=stream)).numpy(), expected)
        (found,) = network(values).values()
        np.testing.assert_array_equal(found, expected)
        shim.gpu.run_kernel(*_a_kernel(network))
        assert shim.call("device") == 1
    finally:
        shim.library.test_set_device(0)


def _a_kernel(network: Compiled) -> tuple[int, list[np.ndarray]]:
    program = network.executable.program
    params = program.kernels[program.steps[0].kernel].params
    return program.steps[0].kernel, [np.zeros(p.size, p.dtype.numpy) for p in params]


def test_memory_of_results_is_used_again(network: Compiled, shim: Shim, values: np.ndarray) -> None:
    stream = shim.stream()
    given = Lying(shim, values, stream).interface()
    first = only(network.launch(given, stream=stream))
    place, before = first.pointer, shim.allocations
    del first
    for _ in range(3):
        result = only(network.launch(given, stream=stream))
        assert result.__dlpack__(stream=stream)
        assert (result.pointer, shim.allocations) == (place, before)
        del result
    # but not where another stream may still read it
    result = only(network.launch(given, stream=stream))
    assert result.__dlpack__(stream=1)
    del result
    assert shim.allocations == before - 1


def test_idle_memory_is_there_for_whoever_needs_it(
    network: Compiled, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = DeviceArray(shim.gpu, (1000,), np.dtype(np.float32), 0)
    del array
    used = shim.allocations
    monkeypatch.setenv("CNNC_SHIM_MEMORY", "1")
    with pytest.raises(UserError, match="out of memory"):
        DeviceArray(shim.gpu, (2000,), np.dtype(np.float32), 0)
    assert shim.allocations < used


def test_layers_give_back_their_memory_when_they_fail(
    network: Compiled, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, buffers = _a_kernel(network)
    before = shim.allocations

    def fail(step: _Step) -> None:
        raise ValueError("no")

    with monkeypatch.context() as patch:
        patch.setattr(_Step, "run", fail)
        with pytest.raises(ValueError, match="no"):
            shim.gpu.run_kernel(kernel, buffers)
    assert shim.allocations == before
    size = sum(array.nbytes for array in buffers)
    device = (ctypes.c_void_p * 2)()
    sizes = (ctypes.c_size_t * 2)(size, 2**50)
    host = (ctypes.c_void_p * 2)(buffers[0].ctypes.data, buffers[0].ctypes.data)
    sizes[0] = buffers[0].nbytes
    monkeypatch.setenv("CNNC_SHIM_MEMORY", str(2**40))
    with pytest.raises(UserError, match="out of memory"):
        shim.gpu._call("steps_open", ctypes.c_size_t(2), host, sizes, device)
    assert shim.allocations == before


def test_launches_overlap_where_the_code_can_wait(
    model: Model, values: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ptx, overlapping in (("90", True), ("80", False)):
        monkeypatch.setenv("CNNC_SHIM_PTX", ptx)
        (folder := tmp_path / ptx).mkdir()
        network = compile_for_streams(model, folder)
        assert np.isfinite(next(iter(network(values).values()))).all()
        assert (Shim(network).call("overlapping") > 0) == overlapping
