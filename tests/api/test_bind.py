"""Networks bound to arrays: one call after the other on what they hold then."""

import gc
import threading
import weakref

import numpy as np
import pytest
from numpy.typing import NDArray

import cnnc
from cnnc.bound_call import BoundCall

F32 = NDArray[np.float32]
TEXT = """cnn 1
net one {
  input x: f32[N, 3, 6, 5]
  h = x -> conv(8, 3, pad = same) -> relu
  output y = h -> pool(avg, global) -> flatten -> dense(4)
  output h2 = h * 2
  weights he(seed = 5)
}
"""
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
    return cnnc.load_text(TEXT, batch=2).compile()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_bound_call_computes_what_its_inputs_hold(backend: str, threads: int) -> None:
    net = cnnc.load_text(TEXT, batch=2).compile(backend=backend, threads=threads)
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
    net = cnnc.load_text(TEXT, batch=(2, 5)).compile()
    for count in (2, 3, 5):
        x = images(count)
        np.testing.assert_array_equal(net.bind(x)()["y"], net(x)["y"])
    assert net.bind().inputs["x"].shape[0] == 5
    for count in (6, 1):
        with pytest.raises(cnnc.UserError, match="sample"):
            net.bind(images(count))


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_samples_of_one_run_only(net: cnnc.Compiled, count: int) -> None:
    with pytest.raises(cnnc.UserError, match=r"E0601.*for a run of 2"):
        net.bind(images(count))


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
    net = cnnc.load_text(TEXT, batch=2).compile()
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


def test_one_thread_at_a_time() -> None:
    """A second one is refused, and the call can be made again afterwards."""
    inside, leave = threading.Event(), threading.Event()

    def run() -> None:
        inside.set()
        assert leave.wait(60)

    call = BoundCall("n", {}, {}, run)
    thread = threading.Thread(target=call)
    thread.start()
    assert inside.wait(60)
    with pytest.raises(cnnc.UserError, match=r"E0605.*two threads at once"):
        call()
    leave.set()
    thread.join()
    call()


def test_a_call_that_fails_can_be_repeated() -> None:
    outcomes = iter([KeyboardInterrupt, None])

    def run() -> None:
        if error := next(outcomes):
            raise error

    call = BoundCall("n", {}, {}, run)
    with pytest.raises(KeyboardInterrupt):
        call()
    call()


def test_it_says_what_it_is(net: cnnc.Compiled) -> None:
    assert repr(net.bind()) == "<cnnc.BoundCall one: x → y, h2>"
