"""A batch that is a range: one program for any number of samples, the same to the last bit."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cnnc
from cnnc import driver
from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.interface import is_splittable
from cnnc.ir.graph import Array, Graph
from cnnc.loop.kernel import For, Program
from cnnc.loop.parse import parse_kernel
from cnnc.loop.text import print_kernel
from cnnc.lowering.loops import ScheduleError
from cnnc.lowering.samples import take_samples
from tests.backends.compilers import NATIVE, C
from tests.backends.support import lowered, single
from tests.backends.wide_graphs import wide_graph
from tests.ops.cases import CASES, Case, stored

pytestmark = pytest.mark.usefixtures("code_is_kept")

NET = """cnn 1
block residual(channels) {
  add { conv(channels, 3, pad = same) -> relu -> conv(channels, 3, pad = same) | id } -> relu
}
net ranged {
  input x: f32[N, 3, 12, 13]
  h = x -> conv(20, 3, pad = same, stride = 2) -> batchnorm -> relu -> residual(20)
  g = h * (h -> pool(avg, global) -> conv(20, 1) -> sigmoid)
  output y = g -> flatten -> dense(10) -> softmax
  output z = g -> concat(axis = 1) { in | pool(max, 3, stride = 1, pad = 1) } -> reshape([N, 4, -1])
  weights he
}
"""
MOST = 5
IMAGES = np.random.default_rng(3).standard_normal((2 * MOST + 3, 3, 12, 13)).astype(np.float32)


def run(program: Program, backend: Backend, inputs: list[Array], threads: int = 1) -> list[Array]:
    """The outputs for as many samples as the inputs have."""
    executable = backend.compile(program, driver.find_target("native"), threads)
    count = len(inputs[0])
    outputs = [np.full((count, *port.shape[1:]), 99, port.dtype.numpy) for port in program.outputs]
    executable.run(inputs, outputs)
    return outputs


@pytest.fixture(scope="module", params=[1, 2])
def ranged(request: pytest.FixtureRequest) -> cnnc.Compiled:
    """The net for 1 to MOST samples, on one thread and on two."""
    return cnnc.load_text(NET, batch=(1, MOST)).compile(threads=request.param)


@pytest.mark.parametrize("count", [1, 2, MOST])
def test_any_number_is_as_a_batch_of_it(ranged: cnnc.Compiled, count: int) -> None:
    """One program gives what a program for just so many samples gives."""
    fixed = cnnc.load_text(NET, batch=count).compile(threads=ranged.options.threads)
    expected, found = fixed(IMAGES[:count]), ranged(IMAGES[:count])
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_each_call_is_one_run(ranged: cnnc.Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    """More samples than the most run in parts, the last one short; nothing is filled up."""
    sizes: list[int] = []
    kept = ranged.executable.run

    def counting(inputs: list[Array], outputs: list[Array]) -> None:
        sizes.append(len(inputs[0]))
        kept(inputs, outputs)

    monkeypatch.setattr(ranged.executable, "run", counting)
    whole = ranged(IMAGES)
    assert sizes == [MOST, MOST, 3]
    sizes.clear()
    assert np.array_equal(ranged(IMAGES[:3])["z"], whole["z"][:3])
    assert sizes == [3]
    assert ranged(IMAGES[:0])["y"].shape == (0, 10)


def test_backends_agree(ranged: cnnc.Compiled) -> None:
    """The interpreter runs the same loops; the reference is close."""
    x = IMAGES[:2]
    native = ranged(x)
    model = cnnc.load_text(NET, batch=(1, MOST))
    interp, reference = model.compile(backend="interp")(x), model.reference(x)
    for name, value in native.items():
        np.testing.assert_array_equal(interp[name], value)
        np.testing.assert_allclose(value, reference[name], rtol=1e-4, atol=1e-5)
    assert cnnc.diff(model).ok


def test_files_and_pickles_keep_the_range(ranged: cnnc.Compiled, tmp_path: Path) -> None:
    """A compiled network in a file takes any number of samples too, and no fewer than the least."""
    path = tmp_path / "net.cnnc"
    ranged.save(path)
    for network in (cnnc.load_compiled(path), pickle.loads(pickle.dumps(ranged))):
        assert network.interface.fewest == 1
        np.testing.assert_array_equal(network(IMAGES[:3])["z"], ranged(IMAGES[:3])["z"])
    some = cnnc.load_text(NET, batch=(2, MOST)).compile(backend="reference")
    with pytest.raises(cnnc.UserError, match=r"1 sample for a batch of 2\.\.5"):
        some(IMAGES[:1])


def _is_fit(case: Case) -> bool:
    data = case.types[: len(case.operands) - len(case.parameters)]
    batches = {each.shape[0] for each in data}
    return batches != {1} and len(batches) == 1 and not case.op.mixes_batch(*case.types)


@pytest.mark.parametrize("case", [case for case in CASES if _is_fit(case)], ids=str)
def test_every_operator(case: Case) -> None:
    """Fewer samples give the first results of all, from memory that ends with them."""
    split = len(case.operands) - len(case.parameters)
    data = [stored(value) for value in case.operands[:split]]
    graph = single(case.op, case.operands[:split], case.operands[split:])
    graph = replace(graph, batch=len(data[0]), fewest=1)
    program = lowered(graph, driver.find_target("native")).program
    assert program.most_samples == graph.batch
    for kernel in program.kernels:
        assert parse_kernel(print_kernel(kernel)) == kernel
    (whole,) = run(program, INTERP, data)
    for backend in (INTERP, NATIVE):
        (found,) = run(program, backend, [value[:1].copy() for value in data])
        np.testing.assert_array_equal(found, whole[:1])


def _random_graph(number: int) -> Graph:
    """A random network with several independent samples."""
    while True:
        graph = wide_graph(number)
        if graph.batch > 1 and is_splittable(graph):
            return replace(graph, fewest=1)
        number += 1000


@pytest.mark.parametrize(
    ("number", "backend"), [*((number, NATIVE) for number in range(6)), (1, C), (2, C)]
)
def test_random_networks(number: int, backend: Backend) -> None:
    """After all passes, on one thread and on three."""
    graph = _random_graph(number)
    target = driver.find_target("native")
    optimised = driver.optimise(graph, driver.pipeline(target))
    program = driver.lower_graph(optimised, target).program
    rng = np.random.default_rng(number)
    data = [rng.normal(size=node.type.shape).astype(np.float32) for node in graph.inputs]
    whole = run(program, backend, data)
    for count in range(1, graph.batch):
        for threads in (1, 3):
            found = run(program, backend, [value[:count].copy() for value in data], threads)
            for one, other in zip(found, whole, strict=True):
                np.testing.assert_array_equal(one, other[:count])


def test_a_fixed_batch_has_fixed_loops() -> None:
    """A number costs nothing."""
    program = cnnc.load_text(NET, batch=MOST).compile(backend="interp").lowered.program
    assert program.most_samples is None
    assert not any(kernel.takes_samples for kernel in program.kernels)


def test_samples_must_be_outermost() -> None:
    """A kernel whose outermost loop is another one is refused."""
    program = cnnc.load_text(NET, batch=MOST).compile(backend="interp").lowered
    kernel = program.layers[0].kernel
    nest = kernel.body[0]
    assert isinstance(nest, For)
    turned = kernel.with_body((replace(nest, extent=MOST + 1),))
    with pytest.raises(ScheduleError, match="begin with its samples"):
        take_samples(turned, kernel.params[-1])
    renamed = kernel.with_body((For("m", MOST, (replace(nest, extent=1),)),))
    with pytest.raises(ScheduleError, match="does not count"):
        take_samples(renamed, kernel.params[-1])


@pytest.mark.parametrize(
    "body", ["flatten -> dense(1) -> reshape([0]) -> tanh", "reduce(sum, axes = [1, 2])"]
)
def test_samples_that_are_the_only_axis(body: str) -> None:
    """No vector holds several samples where their number may be less than a vector's."""
    text = f"cnn 1\nnet n {{\n  input x: f32[N, 3, 8]\n  output y = x -> conv(4, 3) -> {body}\n"
    model = cnnc.load_text(f"{text}  weights he\n}}\n", batch=(1, 40))
    x = np.random.default_rng(1).standard_normal((40, 3, 8)).astype(np.float32)
    network, exact = model.compile(threads=2), model.reference(x)["y"]
    whole = network(x)["y"]
    np.testing.assert_allclose(whole, exact, rtol=1e-4, atol=1e-5)
    for count in (1, 17, 39):
        np.testing.assert_array_equal(network(x[:count])["y"], whole[:count])
    fixed = model.with_batch(17).compile()(x[:17])["y"]
    np.testing.assert_allclose(fixed, exact[:17], rtol=1e-4, atol=1e-5)
