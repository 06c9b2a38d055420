"""Threads take from what others have left: every iteration runs once, whoever runs it."""

from dataclasses import replace

import numpy as np
import pytest

import cnnc
from cnnc.backends.abi import Abi
from cnnc.backends.native.pool import Pool
from cnnc.backends.native.standalone import Version, standalone_source
from cnnc.base.source import SourceFile
from cnnc.driver import find_target, lower_graph, optimise, pipeline
from cnnc.frontend.load import load_text
from cnnc.lowering import taking
from tests.backends.nets import SIGNATURE, Net, Words, compile_net

NEST = """
  store i64 -1, ptr %further.at
  br label %take.{number}
take.{number}:
  %some.{number} = call i1 @cnnc_take(ptr %barrier, ptr %taken, i64 %thread, i64 %threads,
                                      i64 %total, i64 %grain, i1 {turned})
  br i1 %some.{number}, label %begin.{number}, label %done.{number}
begin.{number}:
  %first.{number} = load i64, ptr %taken
  %stop.{number} = load i64, ptr %stop.at
  %takes.before.{number} = load i64, ptr %takes.at
  %takes.{number} = add i64 %takes.before.{number}, 1
  store i64 %takes.{number}, ptr %takes.at
  br label %task.{number}
task.{number}:
  %i.{number} = phi i64 [ %first.{number}, %begin.{number} ], [ %next.{number}, %task.{number} ]
  call void @work(ptr %arena, ptr %in, i64 %thread, i64 %i.{number})
  %next.{number} = add i64 %i.{number}, 1
  %more.{number} = icmp ult i64 %next.{number}, %stop.{number}
  br i1 %more.{number}, label %task.{number}, label %take.{number}
done.{number}:
"""

# A task counts in its word of the arena, and in that of all tasks at %in.
COUNT = """
define void @work(ptr %arena, ptr %in, i64 %thread, i64 %task) {
  %at = getelementptr i64, ptr %arena, i64 %task
  %before = atomicrmw add ptr %at, i64 1 seq_cst
  %all = atomicrmw add ptr %in, i64 1 seq_cst
  ret void
}
"""

# The same, but one of the first thread waits until as many tasks are done as %in's second word
# says, and one of another thread until the first one is at a task, which the fourth word says; who
# waits gives up after some seconds, and says so in the third one.
WAIT = """
define void @work(ptr %arena, ptr %in, i64 %thread, i64 %task) {
  %wanted.at = getelementptr i64, ptr %in, i64 1
  %late.at = getelementptr i64, ptr %in, i64 2
  %here.at = getelementptr i64, ptr %in, i64 3
  %late = load atomic i64, ptr %late.at monotonic, align 8
  %hopeless = icmp ne i64 %late, 0
  %first = icmp eq i64 %thread, 0
  br i1 %first, label %come, label %wait
come:
  store atomic i64 1, ptr %here.at release, align 8
  br label %wait
wait:
  %wanted.tasks = load i64, ptr %wanted.at
  %wanted = select i1 %first, i64 %wanted.tasks, i64 1
  %watched = select i1 %first, ptr %in, ptr %here.at
  br label %look
look:
  %turn = phi i64 [ 0, %wait ], [ %next, %again ]
  %done = load atomic i64, ptr %watched acquire, align 8
  %enough = icmp uge i64 %done, %wanted
  %met = or i1 %enough, %hopeless
  br i1 %met, label %count, label %again
again:
  %next = add i64 %turn, 1
  %patient = icmp ult i64 %next, 5000000000
  br i1 %patient, label %look, label %give.up
give.up:
  store atomic i64 1, ptr %late.at monotonic, align 8
  br label %count
count:
  %at = getelementptr i64, ptr %arena, i64 %task
  %before = atomicrmw add ptr %at, i64 1 seq_cst
  %all = atomicrmw add ptr %in, i64 1 seq_cst
  ret void
}
"""


def nests_net(total: int, grain: int, turned: list[bool], work: str = COUNT) -> Net:
    """Nests of so many tasks, one after the other with no barrier between them.

    Each thread counts at %out, eight words apart, how often it was given tasks.
    """
    nests = "".join(NEST.format(number=n, turned=str(t).lower()) for n, t in enumerate(turned))
    text = f"""
declare i1 @cnnc_take(ptr, ptr, i64, i64, i64, i64, i1)
{work}
define void @net({SIGNATURE}) {{
  %taken = alloca [3 x i64]
  %stop.at = getelementptr i64, ptr %taken, i64 1
  %further.at = getelementptr i64, ptr %taken, i64 2
  %total = load i64, ptr %w
  %grain.at = getelementptr i64, ptr %w, i64 1
  %grain = load i64, ptr %grain.at
  %slot = mul i64 %thread, 8
  %takes.at = getelementptr i64, ptr %out, i64 %slot
{nests}
  ret void
}}
"""
    net = compile_net(text)
    net.arena, net.weights[0], net.weights[1] = Words(total), total, grain
    return net


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [1, 2, 5, 64, 1000])
@pytest.mark.parametrize("grain", [1, 3, 100])
def test_every_task_runs_once(threads: int, total: int, grain: int) -> None:
    """Fewer tasks than threads, too, and again and again: threads are at different nests then."""
    turned = [False, True, True, False, False]
    net = nests_net(total, grain, turned)
    with Pool(threads) as pool:
        for _ in range(20):
            net.run(pool)
    assert [net.arena[task] for task in range(total)] == [20 * len(turned)] * total


def test_one_thread_takes_all_at_once() -> None:
    net = nests_net(1000, 1, [False, True])
    with Pool(1) as pool:
        net.run(pool)
    assert net.outputs[0] == 2


def test_parts_are_taken_in_few_pieces() -> None:
    """A quarter of what is left each time: some twenty pieces rather than five hundred."""
    net = nests_net(1000, 1, [False])
    with Pool(2) as pool:
        net.run(pool)
    assert 20 < net.outputs[0] + net.outputs[8] < 60


@pytest.mark.parametrize("turned", [False, True])
def test_others_do_what_a_late_thread_has_not_begun(turned: bool) -> None:
    """The first thread's first piece, 125 of its 500, waits until the other 875 are done."""
    net = nests_net(1000, 1, [turned], WAIT)
    net.inputs[1] = 875
    with Pool(2) as pool:
        net.run(pool)
    assert net.inputs[2] == 0
    assert [net.arena[task] for task in range(1000)] == [1] * 1000


TEXT = """cnn 1
net n {{
  input x: f32[{samples}, 32, 37, 29]
  y = x -> conv(48, 3) -> relu -> conv(33, 1) -> conv(20, 5) -> {last}
  output y
  weights he
}}
"""


@pytest.fixture
def _mixed_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores of several kinds, and nothing too short to be handed out."""
    monkeypatch.setattr(taking, "hands_out", lambda target: target.cores > 1)
    monkeypatch.setattr(taking, "SHORTEST_PART", 0)
    monkeypatch.setattr(taking, "SHORTEST_TAKEN", 1)
    monkeypatch.setenv("CNNC_CACHE", "off")


@pytest.mark.usefixtures("_mixed_cores")
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("declared", "given"), [("1", 1), ("3", 3), ("1..8", 5), ("1..8", 1), ("50", 50)]
)
@pytest.mark.parametrize("last", ["pool(max, 2)", "conv(16, 3, groups=4) -> softmax"])
def test_results_are_those_of_one_thread(declared: str, given: int, last: str, exact: bool) -> None:
    """Winograd's tiles and direct ones, samples together, apart and as many as are asked for."""
    text = TEXT.format(samples="N", last=last)
    text = text.replace("net n", f"param N = {declared}\nnet n")
    x = np.random.default_rng(0).standard_normal((given, 32, 37, 29), np.float32)
    model = cnnc.load_text(text)
    expected = model.compile(threads=1, exact=exact)(x)["y"]
    for threads in (2, 3):
        net = model.compile(threads=threads, exact=exact)
        handed_out = [kernel.is_handed_out for kernel in net.lowered.program.kernels]
        assert any(handed_out) or net.lowered.program.apart
        for _ in range(5 if given < 10 else 1):
            np.testing.assert_array_equal(net(x)["y"], expected)


@pytest.mark.usefixtures("_mixed_cores")
@pytest.mark.parametrize("samples", ["1", "1..8"])
def test_kernels_run_one_by_one(samples: str) -> None:
    """As bench and the comparison of layers call them, with the number of samples, too."""
    text = TEXT.format(samples="N", last="softmax").replace("32, 37, 29", "3, 8, 8")
    text = text.replace("net n", f"param N = {samples}\nnet n")
    net = cnnc.load_text(text).compile(threads=2)
    program = net.lowered.program
    handed_out = [kernel for kernel in program.kernels if kernel.is_handed_out]
    assert handed_out
    assert all(kernel.takes_samples == (samples == "1..8") for kernel in handed_out)
    random = np.random.default_rng(0)
    for number, kernel in enumerate(program.kernels):
        buffers = [
            random.standard_normal(param.size).astype(param.dtype.numpy) for param in kernel.params
        ]
        results = []
        for _ in range(2):
            buffers[-1] = np.full_like(buffers[-1], np.nan)
            net.executable.run_kernel(number, buffers)
            results.append(buffers[-1])
        np.testing.assert_array_equal(*results)
        assert np.isfinite(results[0]).all()


def lowered(cores: int, *, mixed: bool) -> dict[str, bool]:
    """Which layers of a net are handed out on so many cores."""
    target = replace(find_target("x86-64-v4"), cores=cores, mixed_cores=mixed)
    text = TEXT.format(samples=1, last="conv(1, 1)").replace("37, 29", "112, 112")
    text = text.replace("-> conv(33, 1) ", "")
    graph = optimise(load_text(SourceFile("n.cnn", text), None).graph, pipeline(target))
    layers = lower_graph(graph, target).layers
    return {getattr(layer.node.op, "name", ""): layer.kernel.is_handed_out for layer in layers}


def test_only_long_nests_are_handed_out_and_only_on_mixed_cores() -> None:
    long = {"fused": True, "winograd": True}  # a large convolution and relu, another one
    short = {"repack": False, "conv": False}  # the last one is to one channel
    assert lowered(2, mixed=True) == long | short
    assert not any(lowered(2, mixed=False).values())
    assert not any(lowered(1, mixed=True).values())


def test_what_stands_alone_leaves_each_thread_its_part() -> None:
    """Its threads have a barrier in common, and nothing to take from each other by."""
    target = replace(find_target("x86-64-v4"), cores=2, mixed_cores=True)
    text = TEXT.format(samples=1, last="conv(64, 3)").replace("37, 29", "112, 112")
    graph = optimise(load_text(SourceFile("n.cnn", text), None).graph, pipeline(target))
    program = lower_graph(graph, target).program
    assert any(kernel.is_handed_out for kernel in program.kernels)
    source = standalone_source([Version(program, target)], Abi.of(program), has_weights=False)
    assert "cnnc_take" not in source
