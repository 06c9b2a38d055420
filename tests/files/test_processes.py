"""Compiled networks in other processes: plain workers, joblib and Dask; one worker dies midway."""

import os
import pickle
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import distributed
import joblib
import numpy as np
import pytest
from numpy.typing import NDArray

import cnnc
from cnnc.backends.native import keys, objects
from tests.cli.helpers import DIGITS

F32 = NDArray[np.float32]
PARTS = 12


@pytest.fixture(scope="module")
def digits() -> cnnc.Compiled:
    """The digits network for batches of four."""
    return cnnc.load(DIGITS / "digits.cnn", batch=4).compile()


@pytest.fixture(scope="module")
def parts() -> list[F32]:
    """Samples in parts of different lengths."""
    random = np.random.default_rng(5)
    return [random.random((3 + place % 4, 1, 8, 8)).astype(np.float32) for place in range(PARTS)]


@pytest.fixture(scope="module")
def expected(digits: cnnc.Compiled, parts: list[F32]) -> list[F32]:
    """What this process computes for them."""
    return [digits(part)["prob"].astype(np.float32) for part in parts]


def prob(network: cnnc.Network, part: F32) -> F32:
    """Probabilities of some samples."""
    return network(part)["prob"].astype(np.float32)


def prob_without_llvm(pickled: bytes, part: F32) -> F32:
    """The same from a pickle, where compiling anything is an error."""

    def refuse(*_: object, **how: object) -> bytes:
        raise AssertionError("a worker compiles")

    objects.compile_module = refuse
    return prob(pickle.loads(pickled), part)


def prob_or_die(network: cnnc.Network, part: F32, place: int, marks: str) -> F32:
    """The same, but the process that is the first to come to part 5 dies without a word."""
    if place == 5:
        try:
            Path(marks, "dead").touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    Path(marks, str(place)).touch()
    return prob(network, part)


def test_workers_compile_nothing(
    digits: cnnc.Compiled, parts: list[F32], expected: list[F32], tmp_path: Path
) -> None:
    """A pickle carries the machine code, whether compiled here or loaded from a file."""
    digits.save(tmp_path / "digits.cnnc")
    pickles = [pickle.dumps(digits), pickle.dumps(cnnc.load_compiled(tmp_path / "digits.cnnc"))]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for pickled in pickles:
            found = pool.submit(prob_without_llvm, pickled, parts[0]).result(timeout=120)
            np.testing.assert_array_equal(found, expected[0])


def test_a_worker_makes_a_network_once(digits: cnnc.Compiled, parts: list[F32]) -> None:
    """Every task brings it along, and another network is another one."""
    pickled = pickle.dumps(digits)
    copy = pickle.loads(pickled)
    assert copy is not digits
    assert pickle.loads(pickled) is copy
    assert pickle.dumps(copy) == pickled
    other = pickle.loads(pickle.dumps(cnnc.load(DIGITS / "digits.cnn", batch=2).compile()))
    assert (copy.batch, other.batch) == (4, 2)
    np.testing.assert_array_equal(copy(parts[0])["prob"], other(parts[0])["prob"])


def test_code_that_does_not_fit_is_left_alone(
    parts: list[F32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where this machine lowers to other loops, it compiles."""
    network = cnnc.load(DIGITS / "digits.cnn", batch=3).compile()
    pickled = pickle.dumps(network)
    # what a machine with another compiler would ask for
    monkeypatch.setattr(keys, "compiler", lambda: "another one")
    compiled: list[object] = []
    compile_module = objects.compile_module
    monkeypatch.setattr(
        objects, "compile_module", lambda *a, **k: compiled.append(a) or compile_module(*a, **k)
    )
    copy = pickle.loads(pickled)
    assert compiled
    np.testing.assert_array_equal(copy(parts[0])["prob"], network(parts[0])["prob"])


def test_joblib(digits: cnnc.Compiled, parts: list[F32], expected: list[F32]) -> None:
    """Its own worker processes, which import cnnc anew."""
    try:
        with joblib.parallel_config(backend="loky", n_jobs=2, inner_max_num_threads=1):
            found = joblib.Parallel()(joblib.delayed(prob)(digits, part) for part in parts)
    finally:
        joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[object]:
    """Two Dask workers in processes of their own, on this machine."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            host="127.0.0.1",
            local_directory=str(tmp_path / "dask"),
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_dask_loses_nothing_with_a_worker(
    client: object, digits: cnnc.Compiled, parts: list[F32], expected: list[F32], tmp_path: Path
) -> None:
    """A worker is killed midway: its work is done again by others, and all results are right."""
    marks = tmp_path / "marks"
    marks.mkdir()
    futures = client.map(  # type: ignore[attr-defined]
        prob_or_die, [digits] * PARTS, parts, range(PARTS), [str(marks)] * PARTS, pure=False
    )
    found = client.gather(futures)  # type: ignore[attr-defined]
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    done = {path.name for path in marks.iterdir()}
    assert done == {"dead", *map(str, range(PARTS))}
