"""Rooms broken on purpose: the comparison names the right one, and the first bad layer."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

import cnnc
from cnnc import driver
from cnnc.backends.native import ir, values
from cnnc.compare.blame import tasks_of
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Expr
from cnnc.loop.kernel import For, Kernel, Stmt
from cnnc.loop.parse import parse_kernel
from cnnc.lowering import lower as lowering
from cnnc.lowering import program
from cnnc.lowering.plan_memory import MemoryPlan, Value
from cnnc.ops.activations.relu import Relu

TEXT = """cnn 1
net small {
  input x: f32[N, 3, 9, 8]
  a = x -> conv(20, 3, pad = same) -> batchnorm -> relu
  b = a -> conv(20, 3, pad = same) -> relu
  output y = add { b | a } -> pool(avg, 2) -> flatten -> dense(7)
  output z = b -> pool(max, global) -> flatten
  weights he(seed = 3)
}
"""


def report(backend: str = "native") -> cnnc.DiffReport:
    """The comparison of a small network on random inputs."""
    return cnnc.diff(cnnc.load_text(TEXT, name="small.cnn").compile(backend=backend))


@pytest.mark.parametrize("backend", ["native", "interp"])
def test_nothing_is_broken(backend: str) -> None:
    """All layers, passes and the program agree, and errors are not zero by accident."""
    found = report(backend)
    assert found.ok
    assert found.blames == ()
    assert all(layer.ok for layer in found.layers)
    convolution = next(layer for layer in found.layers if "conv" in layer.op)
    assert 0 < convolution.errors.max_abs < 1e-5
    assert {each.stage for each in found.outputs} == {"passes", "program"}


def shorter_reduction(kernel: Kernel) -> Kernel:
    """The kernel without the last step of its first accumulating loop: what a bad split does."""

    def change(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        for place, stmt in enumerate(body):
            if isinstance(stmt, For):
                whole = stmt.reduces and stmt.extent > 1
                inner = replace(
                    stmt,
                    extent=stmt.extent - 1 if whole else stmt.extent,
                    body=stmt.body if whole else change(stmt.body),
                )
                if inner != stmt:
                    return (*body[:place], inner, *body[place + 1 :])
        return body

    return kernel.with_body(change(kernel.body))


def test_a_broken_flattening_is_lowerings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong in the flat loops is wrong in the interpreter too, right as defined."""
    flatten = lowering.flatten
    monkeypatch.setattr(lowering, "flatten", lambda kernel: shorter_reduction(flatten(kernel)))
    found = report()
    assert not found.ok
    assert found.is_bug
    assert [blame.room for blame in found.blames] == ["lowering"]
    assert found.first_bad is not None
    assert found.first_bad.name == found.blames[0].layer == "a.conv"
    assert found.blames[0].place == "small.cnn:4:12"


def test_a_broken_schedule_is_lowerings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in the blocked schedule, before flattening."""
    schedule: Callable[..., Kernel] = lowering.schedule_blocked

    def broken(kernel: Kernel, *args: object, **options: object) -> Kernel:
        return shorter_reduction(schedule(kernel, *args, **options))

    monkeypatch.setattr(lowering, "schedule_blocked", broken)
    assert [blame.room for blame in report().blames] == ["lowering"]


def test_a_halo_left_dirty_is_lowerings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer may be right and still leave what its readers trip over."""
    monkeypatch.setattr(lowering, "clear_halo", lambda kernel, out, by_rows: kernel)
    found = report()
    assert found.blames[0].room == "lowering"
    assert "halo" in found.blames[0].why


def test_a_broken_emitter_is_the_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter gets the same loops and is right."""

    def no_addend(
        self: values.Arithmetic, builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value
    ) -> ir.Value:
        return builder.fmul(a, b)

    monkeypatch.setattr(values.Arithmetic, "fma", no_addend)
    found = report()
    assert [blame.room for blame in found.blames] == ["native backend"]
    assert found.blames[0].layer == "a.conv"
    assert report("interp").ok


def test_a_broken_definition_is_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops and reference of one operator disagree; every backend shows it."""

    def half(self: Relu, build: KernelBuilder, *args: Expr) -> Expr:
        return args[0]

    monkeypatch.setattr(Relu, "element", half)
    for backend in ("native", "interp"):
        found = report(backend)
        assert found.blames[0].room.startswith("operator definition (cnnc.ops.")
        assert "cnnc.ops.activations" in found.blames[0].room


def test_a_broken_pass_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pass after which the reference computes something else."""

    def fold_wrongly(graph: Graph) -> Graph:
        def change(node: Node) -> Node:
            if isinstance(node.op, Constant) and node.type.rank == 4:
                return replace(node, op=Constant(node.op.value * np.float32(1.001)))
            return node

        return graph.rebuild(change)

    monkeypatch.setattr(driver, "fold_batchnorm", fold_wrongly)
    found = report()
    assert [blame.room for blame in found.blames] == ["passes, fold-batchnorm"]
    assert all(layer.ok for layer in found.layers)


def test_a_pass_that_raises_is_a_bug_with_a_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    """InternalError names the pass, and the dump holds the graph before it."""

    def broken(graph: Graph) -> Graph:
        raise ZeroDivisionError("deliberate")

    monkeypatch.setattr(driver, "share_common", broken)
    with pytest.raises(cnnc.InternalError) as caught:
        report()
    assert caught.value.stage == "share-common"
    assert caught.value.dump is not None
    text = caught.value.dump.read_text()
    assert "deliberate" in text
    assert "graph small" in text


def test_a_pass_that_breaks_a_rule_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verifier runs after every pass."""

    def wrong_shape(graph: Graph) -> Graph:
        return graph.rebuild(
            lambda node: (
                replace(node, type=node.type.with_shape((1, 2)))
                if isinstance(node.op, Relu)
                else node
            )
        )

    monkeypatch.setattr(driver, "simplify", wrong_shape)
    with pytest.raises(cnnc.InternalError, match="rule `type`") as caught:
        report()
    assert caught.value.stage == "simplify"


def test_a_broken_memory_plan_is_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer alone is right; together they write over each other."""
    plan = program.plan_memory

    def everything_at_zero(values: Sequence[Value]) -> MemoryPlan:
        found = plan(values)
        return replace(found, offsets=dict.fromkeys(found.offsets, 0))

    monkeypatch.setattr(program, "plan_memory", everything_at_zero)
    found = report()
    assert [blame.room for blame in found.blames] == ["memory plan and program"]
    assert all(layer.ok for layer in found.layers)


def test_a_large_layer_is_blamed_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the iterations around one element are interpreted, of three hundred thousand."""

    def no_addend(
        self: values.Arithmetic, builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value
    ) -> ir.Value:
        return builder.fmul(a, b)

    text = """cnn 1
    net large {
      input x: f32[N, 16, 100, 100]
      output y = x -> conv(32, 3, pad = same)
      weights he(seed = 3)
    }
    """
    monkeypatch.setattr(values.Arithmetic, "fma", no_addend)
    start = time.process_time()
    found = cnnc.diff(cnnc.load_text(text))
    assert [blame.room for blame in found.blames] == ["native backend"]
    assert time.process_time() - start < 20


def test_loops_of_one_name_may_have_different_extents() -> None:
    """The shorter one behind does not hide what the longer one writes."""
    kernel = parse_kernel("""\
kernel k {
  in x: f32[2, 24]
  out y: f32[2, 24]
  for n in 2 parallel {
    for v in 16 vector {
      y[n, v] = x[n, v]
    }
    for v in 8 vector {
      y[n, v + 16] = x[n, v + 16]
    }
  }
}
""")
    assert tasks_of(kernel, (1, 12)) == {1}
    assert tasks_of(kernel, (0, 20)) == {0}
