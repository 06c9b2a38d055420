"""The native backend as a whole: sharing, re-entrance, batches, memory."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cnnc
from cnnc import driver
from cnnc.backends.native.backend import BACKEND as NATIVE
from cnnc.backends.native.backend import LARGE, pack_weights
from cnnc.base.choice import Choice, Choices, Chosen
from cnnc.ir.evaluate import evaluate
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.loop.kernel import ALIGNMENT, Blob, Region
from cnnc.lowering.lower import lower
from cnnc.offers.offer import key_of
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.passes.assign_layouts import assign_layouts

RESIDUAL = """
cnn 1
block residual(channels) {
  add { conv(channels, 3, pad = same) -> relu -> conv(channels, 3, pad = same) | id } -> relu
}
net tower {
  input x: f32[N, 8, 9, 7]
  output y = x -> repeat(5) { residual(8) } -> pool(avg, global) -> flatten -> dense(3)
  weights he(seed = 3)
}
"""


@pytest.fixture(scope="module")
def tower() -> cnnc.Compiled:
    return cnnc.load_text(RESIDUAL).compile()


def test_equal_layers_share_one_kernel(tower: cnnc.Compiled) -> None:
    program = tower.lowered.program
    convolutions = [
        step for step in program.steps if "residual" in step.layer or "conv" in step.layer
    ]
    assert len(convolutions) >= 10
    assert len({step.kernel for step in convolutions}) <= 4


def test_every_place_is_aligned_and_inside_its_region(tower: cnnc.Compiled) -> None:
    program = tower.lowered.program
    sizes = {Region.ARENA: program.arena_bytes, Region.WEIGHTS: program.weights_bytes}
    for step in program.steps:
        kernel = program.kernels[step.kernel]
        for place, param in zip(step.places, kernel.params, strict=True):
            if place.region in sizes:
                assert place.offset % ALIGNMENT == 0
                end = place.offset + param.size * param.dtype.bytes
                assert end <= sizes[place.region]


def test_the_arena_is_smaller_than_all_tensors_together(tower: cnnc.Compiled) -> None:
    lowered = tower.lowered
    everything = sum(layer.node.type.bytes for layer in lowered.layers)
    assert lowered.program.arena_bytes < everything / 2


def test_many_threads_may_call_one_network(tower: cnnc.Compiled) -> None:
    random = np.random.default_rng(0)
    inputs = [random.standard_normal((1, 8, 9, 7), np.float32) for _ in range(24)]
    alone = [tower(x)["y"] for x in inputs]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda x: tower(x)["y"], inputs))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("batch", "threads"), [(1, 3), (4, 1), (4, 2)])
def test_batches_and_threads_change_nothing(tower: cnnc.Compiled, batch: int, threads: int) -> None:
    x = np.random.default_rng(1).standard_normal((6, 8, 9, 7), np.float32)
    expected = np.concatenate([tower(part[None])["y"] for part in x])
    found = cnnc.load_text(RESIDUAL, batch=batch).compile(threads=threads)(x)["y"]
    np.testing.assert_array_equal(found, expected)


def test_the_same_network_compiles_to_the_same_bytes(tower: cnnc.Compiled) -> None:
    from cnnc.backends.native.objects import compile_program

    target = driver.find_target("native")
    objects = []
    for _ in range(2):
        program = cnnc.load_text(RESIDUAL).compile().lowered.program
        objects.append(compile_program(program, target))
        assert [blob.data for blob in program.weights]
    assert objects[0] == objects[1]


CHAINS = {
    "convolutions": "repeat(5) { conv(8, 3, pad = same, bias = false) }",
    "pools": "repeat(5) { pool(avg, 3, stride = 1, pad = 1) }",
}


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("threads", [1, 3])
def test_only_pointwise_layers_write_over_what_they_read(chain: str, threads: int) -> None:
    """Equal shapes, layouts and halos invite it; neighbours would be read after they are gone."""
    text = (
        "cnn 1\nnet chain {\n  input x: f32[N, 8, 12, 12]\n"
        f"  output y = x -> {CHAINS[chain]} -> conv(8, 3, pad = same)\n  weights he(seed = 5)\n}}\n"
    )
    model = cnnc.load_text(text)
    network = model.compile(threads=threads, exact=True)
    x = np.random.default_rng(3).standard_normal((1, 8, 12, 12), np.float32)
    exact = model.reference(x)["y"]
    np.testing.assert_allclose(network(x)["y"], exact, rtol=1e-4, atol=1e-5)


def test_nothing_is_read_that_was_not_written(tower: cnnc.Compiled) -> None:
    """An arena full of NaN changes no result: every run writes all it reads, halos included."""
    lowered = tower.lowered
    target = driver.find_target("native")
    executable = NATIVE.compile(lowered.program, target, 1)
    x = np.random.default_rng(2).standard_normal((1, 8, 9, 7), np.float32)
    first, second = (np.empty((1, 3), np.float32) for _ in range(2))
    executable.run([x], [first])
    for context in executable._contexts:
        context.arena.view(np.float32)[:] = np.nan
    executable.run([x], [second])
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()


def test_one_weight_in_two_layouts_is_packed_twice() -> None:
    """Both convolutions read the same constant; only one of them reads blocked channels."""
    random = np.random.default_rng(4)
    kind = TensorType.plain((4, 4, 3, 3))
    weight = Node(Constant(random.standard_normal(kind.shape, np.float32)), (), kind, "w")
    x = Node(Input("x"), (), TensorType.plain((1, 4, 6, 6)), "x")
    conv = Conv(4, (3,), pad=Padding("same"), bias=False)
    first = Node(conv, (x, weight), x.type, "first")
    second = Node(conv, (first, weight), x.type, "second")
    graph = Graph("g", (x,), {"y": second})
    target = driver.find_target("native")
    in_blocks = Choices({key_of(first, Choices()): Chosen(Choice("direct"))})
    program = lower(assign_layouts(graph, target, in_blocks), target).program
    assert len(program.weights) == 2
    value = random.standard_normal((1, 4, 6, 6), np.float32)
    out = np.empty((1, 4, 6, 6), np.float32)
    NATIVE.compile(program, target, 1).run([value], [out])
    np.testing.assert_allclose(out, evaluate(graph, {"x": value})["y"], rtol=1e-4, atol=1e-4)


class Filled:
    """Contents that are all the same byte; 0 cannot be packed."""

    def __init__(self, byte: int) -> None:
        self.byte, self.bytes = byte, LARGE // 8

    def pack_into(self, memory: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
        if not self.byte:
            raise ValueError("no such byte")
        memory[:] = self.byte


@pytest.mark.parametrize("count", [3, 11])
def test_weights_lie_where_they_belong_and_errors_are_raised(count: int) -> None:
    """Few are packed one after the other, many by several threads."""
    size = LARGE // 8
    blobs = [Blob(f"w{i}", i * size, Filled(i + 1)) for i in range(count)]
    weights = np.zeros(count * size, np.uint8)
    pack_weights(blobs, weights)
    assert [set(weights[i * size :][:size].tolist()) for i in range(count)] == [
        {i + 1} for i in range(count)
    ]
    with pytest.raises(ValueError, match="no such byte"):
        pack_weights([*blobs[1:], Blob("w", 0, Filled(0))], weights)
