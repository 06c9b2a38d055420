"""Networks bound to arrays: one call after the other on what they hold then."""

import copy
import gc
import os
import pickle
import signal
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

import cnnc
from cnnc.bound_call import BoundCall
from tests.api.nets import ONE

F32 = NDArray[np.float32]
TWO = """cnn 1
net two {
  input a: f32[N, 4]
  input b: f32[N, 4]
  output d = a - b
}
"""
BACKENDS = ["native", "c", "interp", "reference"]


def images(count: int, seed: int = 0) -> F32:
    """Normally distributed samples."""
    return np.random.default_rng(seed).standard_normal((count, 3, 6, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def net() -> cnnc.Compiled:
    """For batches of two."""
    return cnnc.load_text(ONE, batch=2).compile()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_bound_call_computes_what_its_inputs_hold(backend: str, threads: int) -> None:
    net = cnnc.load_text(ONE, batch=2).compile(backend=backend, threads=threads)
    call = net.bind()
    for seed in range(3):
        x = images(2, seed)
        call.inputs["x"][...] = x
        found, expected = call(), net(x)
        assert list(found) == ["y", "h2"]
        for name, array in found.items():
            assert array is call.outputs[name]
            np.testing.assert_array_equal(array, expected[name])


def test_arrays_are_used_where_they_lie(net: cnnc.Compiled) -> None:
    x, y = images(2), np.empty((2, 4), np.float32)
    call = net.bind(x, out={"y": y})
    assert call.inputs["x"] is x
    assert call()["y"] is y
    np.testing.assert_array_equal(y, net(x)["y"])
    x *= 2
    call()
    np.testing.assert_array_equal(y, net(x)["y"])


def test_made_inputs_are_zeros(net: cnnc.Compiled) -> None:
    call = net.bind()
    assert call.inputs["x"].shape == (2, 3, 6, 5)
    assert not call.inputs["x"].any()
    np.testing.assert_array_equal(call()["h2"], net(call.inputs["x"])["h2"])


def test_inputs_by_name() -> None:
    two = cnnc.load_text(TWO).compile()
    a, b = np.full((1, 4), 3, np.float32), np.full((1, 4), 1, np.float32)
    assert two.bind(a=a, b=b)()["d"].tolist() == [[2] * 4]
    assert two.bind({"b": b, "a": a})()["d"].tolist() == [[2] * 4]
    with pytest.raises(cnnc.UserError, match="input `b` is missing"):
        two.bind(a=a)


def test_read_only_inputs(net: cnnc.Compiled) -> None:
    x = images(2)
    x.flags.writeable = False
    np.testing.assert_array_equal(net.bind(x)()["y"], net(x)["y"])


def test_any_number_of_a_range() -> None:
    net = cnnc.load_text(ONE, batch=(2, 5)).compile()
    for count in (2, 3, 5):
        x = images(count)
        np.testing.assert_array_equal(net.bind(x)()["y"], net(x)["y"])
    assert net.bind().inputs["x"].shape[0] == 5
    for count in (6, 1):
        with pytest.raises(cnnc.UserError, match="sample"):
            net.bind(images(count))


def test_inputs_are_made_for_as_many_samples_as_results_have() -> None:
    """Of a range; of one number only that fits, and what does not fit is said of the result."""
    net = cnnc.load_text(ONE, batch=(2, 5)).compile()
    y = np.empty((3, 4), np.float32)
    call = net.bind(out={"y": y})
    assert call.inputs["x"].shape[0] == 3
    call.inputs["x"][...] = images(3)
    assert call()["y"] is y
    np.testing.assert_array_equal(y, net(images(3))["y"])
    for count in (1, 6):
        with pytest.raises(cnnc.UserError, match=f"has shape {count}×4, not 5×4"):
            net.bind(out={"y": np.empty((count, 4), np.float32)})
    for wrong in ({"y": 3}, {"y": np.float32(1)}, {"z": y}, 3):
        with pytest.raises(cnnc.UserError, match=r"E060"):
            net.bind(out=wrong)  # type: ignore[arg-type]


def test_the_arrays_of_a_bound_call_stay(net: cnnc.Compiled) -> None:
    """Others given to it would not be read, which is said."""
    call = net.bind()
    x, y = call.inputs["x"], call.outputs["y"]
    with pytest.raises(cnnc.UserError, match=r"E0605.*inputs.* are fixed") as caught:
        call.inputs = {}  # type: ignore[assignment]
    assert '`call.inputs["x"][...] = x`' in str(caught.value)
    with pytest.raises(cnnc.UserError, match=r"E0605.*outputs.* are fixed"):
        call.outputs = {}  # type: ignore[assignment]
    assert call.inputs["x"] is x
    assert call()["y"] is y


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_samples_of_one_run_only(net: cnnc.Compiled, count: int) -> None:
    with pytest.raises(cnnc.UserError, match=r"E0601.*for a run of 2") as caught:
        net.bind(images(count))
    assert len(caught.value.diagnostics) == 1


def test_why_an_array_would_be_copied(net: cnnc.Compiled) -> None:
    bytes_ = np.zeros(images(2).nbytes + 1, np.uint8)
    odd = bytes_[1:].view(np.float32).reshape(2, 3, 6, 5)
    with pytest.raises(cnnc.UserError, match="`x` is not aligned, so it would be copied"):
        net.bind(odd)
    with pytest.raises(cnnc.UserError, match="`x` is not contiguous, so it would be copied"):
        net.bind(np.asfortranarray(images(2)))
    with pytest.raises(cnnc.UserError, match="`x` is float16, so it would be copied"):
        net.bind(images(2).astype(np.float16))


@pytest.mark.parametrize(
    "given",
    [
        images(2)[:, :, ::-1],
        images(2).tolist(),
        images(2).astype(np.float16),
        images(2).astype(">f4"),
    ],
    ids=["reversed", "list", "f16", "big-endian"],
)
def test_what_would_be_copied_is_refused(net: cnnc.Compiled, given: F32) -> None:
    with pytest.raises(cnnc.UserError, match=r"E060[25]"):
        net.bind(given)


def test_outputs_must_fit(net: cnnc.Compiled) -> None:
    with pytest.raises(cnnc.UserError, match="not 2×4"):
        net.bind(images(2), out={"y": np.empty((3, 4), np.float32)})
    x = images(2)
    with pytest.raises(cnnc.UserError, match="memory of an input"):
        net.bind(x, out={"y": x.reshape(-1)[:8].reshape(2, 4)})


def test_it_lives_without_its_network() -> None:
    net = cnnc.load_text(ONE, batch=2).compile()
    x = images(2)
    expected = net(x)["y"].tobytes()
    call = net.bind(x)
    gone = weakref.ref(net)
    del net, x
    gc.collect()
    assert gone() is None
    assert call()["y"].tobytes() == expected


def test_it_goes_without_the_collector(net: cnnc.Compiled) -> None:
    """Working memory of large networks must not wait for it."""
    x = images(2)
    gc.disable()
    try:
        call = net.bind(x)
        gone = weakref.ref(call.outputs["y"])
        call()
        del call
        assert gone() is None
    finally:
        gc.enable()


def test_bound_calls_of_several_threads(net: cnnc.Compiled) -> None:
    """Each with its own."""
    wrong: list[int] = []

    def work(seed: int) -> None:
        x = images(2, seed)
        expected = net(x)["y"]
        call = net.bind(x)
        for _ in range(200):
            call.outputs["y"][...] = 0
            if not np.array_equal(call()["y"], expected):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_threads_that_share_one_take_turns() -> None:
    inside = 0
    most = 0

    def run() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.0001)
        inside -= 1

    call = BoundCall("n", {}, {}, run)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(call) for _ in range(100)]:
            done.result()
    assert most == 1


def test_interrupts_leave_it_usable(net: cnnc.Compiled) -> None:
    """Signals come at any place of it, and their handlers may call it too."""
    call = net.bind(images(2))
    interrupts = 0

    class InterruptError(Exception):
        """What the handler raises."""

    def handle(_number: int, _frame: object) -> None:
        call()
        raise InterruptError

    before = signal.signal(signal.SIGALRM, handle)
    try:
        while interrupts < 300:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            try:
                while True:
                    call()
            except InterruptError:
                interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with ThreadPoolExecutor(1) as pool:  # nobody holds it
        assert pool.submit(call).result(60) is call.outputs


def test_a_fork_during_a_call() -> None:
    """The child's copy belongs to nobody."""
    inside, leave = threading.Event(), threading.Event()

    def run() -> None:
        inside.set()
        assert leave.wait(60)

    call = BoundCall("n", {}, {}, run)
    thread = threading.Thread(target=call)
    thread.start()
    assert inside.wait(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons: threads and forks
        child = os.fork()
    if child == 0:
        leave.set()
        signal.alarm(60)
        call()
        os._exit(0)
    leave.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_arrays_cannot_be_replaced(net: cnnc.Compiled) -> None:
    """A new one would be ignored: values are written into those that are there."""
    call = net.bind()
    with pytest.raises(TypeError):
        call.inputs["x"] = images(2)  # type: ignore[index]
    with pytest.raises(TypeError):
        call()["y"] = images(2)  # type: ignore[index]


@pytest.mark.parametrize("ways", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_is_not_copied(net: cnnc.Compiled, ways: Callable[[object], object]) -> None:
    with pytest.raises(cnnc.UserError, match=r"E0605.*cannot be copied or pickled"):
        ways(net.bind())


def test_it_says_what_it_is(net: cnnc.Compiled) -> None:
    assert repr(net.bind()) == "<cnnc.BoundCall one: x → y, h2>"
