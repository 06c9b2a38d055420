"""Samples that run one after the other: on any number of threads the bits of a batch of one."""

from pathlib import Path

import numpy as np
import pytest

import cnnc
from cnnc import bench as times
from cnnc.compare.compare import diff
from cnnc.compiled import Compiled
from cnnc.ir.graph import Array
from cnnc.lowering import sharing

pytestmark = pytest.mark.usefixtures("code_is_kept")

NET = """cnn 1
net n {
  input x: f32[N, 3, 80, 80]
  input z: f32[N, 8, 40, 40]
  a = x -> conv(8, 3, stride = 2, pad = 1) -> relu
  b = a + z -> conv(16, 3, pad = 1) -> relu -> conv(16, 3, pad = 1, groups = 16)
  output y = b -> pool(avg, global) -> flatten -> dense(5) -> softmax
  output map = b -> conv(4, 1)
  weights he(seed = 2)
}
"""
SHORT = """cnn 1
net n {
  input x: f32[N, 8, 10, 10]
  output y = x -> repeat(24) { conv(8, 3, pad = same) -> relu }
  weights he(seed = 3)
}
"""
"""Apart, though no step of it is worth sharing."""


def drawn(model: cnnc.Model, samples: int) -> dict[str, Array]:
    """Inputs for so many samples."""
    random = np.random.default_rng(samples)
    return {
        name: random.normal(0, 1, (samples, *shape[1:])).astype(np.float32)
        for name, shape in model.inputs.items()
    }


def compiled(text: str, batch: int | tuple[int, int], threads: int, backend: str) -> Compiled:
    made = cnnc.load_text(text).compile(batch=batch, threads=threads, backend=backend)
    program = made.lowered.program
    assert program.apart
    assert program.shares_samples
    return made


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("backend", ["native", "c"])
@pytest.mark.parametrize("text", [NET, SHORT], ids=["shared", "short"])
def test_every_sample_has_the_bits_of_a_batch_of_one(
    text: str, backend: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer samples than threads, as many, more, with and without some left over."""
    monkeypatch.setattr(sharing, "SHORTEST_STEP", 0 if text is NET else 1 << 40)
    model = cnnc.load_text(text)
    alone = model.compile(batch=1, threads=1, backend=backend)
    ranged = compiled(text, (1, 7), threads, backend)
    assert ranged.lowered.program.shares_steps is (text is NET)
    for samples in (1, 2, 3, 6, 7):
        inputs = drawn(model, samples)
        fixed = compiled(text, samples, threads, backend) if samples > 1 else alone
        for found in (ranged(inputs), fixed(inputs)):
            for sample in range(samples):
                wanted = alone({each: x[sample : sample + 1] for each, x in inputs.items()})
                for name, value in wanted.items():
                    assert np.array_equal(found[name][sample], value[0]), (name, sample)


def test_the_loops_in_python_run_them_too() -> None:
    model = cnnc.load_text(SHORT)
    inputs = drawn(model, 2)
    found = compiled(SHORT, 2, 1, "interp")(inputs)["y"]
    wanted = model.compile(batch=2, backend="reference")(inputs)["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_every_thread_has_memory_for_one_sample() -> None:
    one = cnnc.load_text(NET).compile(batch=1).lowered.program
    many = compiled(NET, 7, 3, "native").lowered.program
    assert many.arena_bytes == one.arena_bytes
    assert (many.shared_bytes, many.own_bytes) == (0, one.shared_bytes + one.own_bytes)


def test_layers_are_listed_for_the_whole_batch() -> None:
    one, many = (cnnc.load_text(NET).compile(batch=batch) for batch in (1, 4))
    for alone, row in zip(one.layers, many.layers, strict=True):
        assert row.shape == (4, *alone.shape[1:])
        assert (row.macs, row.bytes) == (4 * alone.macs, 4 * alone.bytes)
        assert row.weight_bytes == alone.weight_bytes
    assert many.layers.macs == cnnc.load_text(NET, batch=4).macs


@pytest.mark.parametrize("backend", ["native", "c"])
def test_diff_holds_every_sample_against_the_reference(backend: str) -> None:
    made, seen = compiled(NET, 3, 2, backend), list[tuple[int, int]]()
    report = diff(made, progress=lambda done, total: seen.append((done, total)))
    assert report.ok
    # alone, and once more in the program
    runs = 2 * 3 * len(made.lowered.layers)
    assert seen[-1] == (runs, runs)
    assert len(seen) > 3 * len(made.lowered.layers)
    assert all(row.shape[0] == 3 for row in report.layers)


def test_times_are_those_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer's time is that of all samples, though its kernel is measured on one."""
    monkeypatch.setattr(times, "_measure", lambda calls, *_: [[0.5, 0.25]] * len(calls))
    made = compiled(NET, 6, 1, "native")
    report = times.bench(made)
    assert sum(row.macs for row in report.layers) == made.layers.macs
    assert all((row.timing.seconds, row.timing.best) == (2.25, 1.5) for row in report.layers)
    assert report.total.best == 0.25


def test_a_compiled_file_runs_them(tmp_path: Path) -> None:
    model = cnnc.load_text(NET)
    made = compiled(NET, (1, 5), 2, "native")
    made.save(tmp_path / "n.cnnc")
    loaded = cnnc.load_compiled(tmp_path / "n.cnnc")
    inputs = drawn(model, 5)
    for name, value in made(inputs).items():
        assert np.array_equal(loaded(inputs)[name], value)
