"""Programs kept in the cache: what is found again, what is not, and what becomes of damage."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cnnc
from cnnc import driver, kept
from cnnc.backends.native import keys, runtime
from cnnc.base import resources
from cnnc.base.choice import Choice, Choices, Chosen
from cnnc.base.source import SourceFile
from cnnc.cache import Cache
from cnnc.frontend import grammar
from cnnc.frontend.ast import Program
from cnnc.frontend.parse import parse
from cnnc.frontend.tables import read_tables
from cnnc.ir.graph import Graph, Node
from cnnc.made import Made
from cnnc.ops.activations.relu import Relu
from cnnc.ops.fused import Earlier, Fused, TailStep
from cnnc.ops.spec import Operator, operators
from cnnc.ops.streamed import Stage, Streamed
from cnnc.ops.view import View
from cnnc.options import Options

NET = """cnn 1
net n {
  input x: f32[N, 3, 12, 12]
  a = x -> conv(16, 3, pad = same) -> relu
  b = a -> conv(16, 3, pad = same)
  output y = add { a | b } -> pool(avg, global) -> flatten -> dense(4)
  weights he(seed = SEED)
}
"""
HOST = driver.find_target("native")


def network(seed: int = 1, **options: object) -> cnnc.Compiled:
    """The network, compiled."""
    return cnnc.load_text(NET.replace("SEED", str(seed))).compile(**options)  # type: ignore[arg-type]


def sample(batch: int = 2) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """An input."""
    return np.random.default_rng(0).standard_normal((batch, 3, 12, 12)).astype(np.float32)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """A cache of the test's own, which is the user's meanwhile."""
    monkeypatch.setenv("CNNC_CACHE", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache", 1 << 30)


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The graphs that are lowered, as they come."""
    seen: list[str] = []
    lower_graph = driver.lower_graph

    def spy(graph: Graph, *rest: object, **more: object) -> object:
        seen.append(graph.name)
        return lower_graph(graph, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(driver, "lower_graph", spy)
    return seen


def key_of(net: cnnc.Compiled) -> str:
    """The key of the network's program."""
    assert net._made is not None
    return net._made._key


def test_what_was_compiled_is_not_lowered_again(cache: Cache, lowered: list[str]) -> None:
    """It computes the same bits, with other weights others; its loops are there when asked for."""
    first = network()
    assert lowered == ["n"]
    second, other = network(), network(seed=2)
    np.testing.assert_array_equal(first(sample())["y"], second(sample())["y"])
    expected = driver.compile_lowered(other_lowered(2), HOST, other.options)
    assert lowered == ["n"]
    found = np.empty((1, 4), np.float32)
    expected.run([sample(1)], [found])
    np.testing.assert_array_equal(other(sample(1))["y"], found)
    assert second.lowered.program == first.lowered.program
    assert lowered == ["n", "n"]
    assert str(second.layers) == str(first.layers)


def other_lowered(seed: int) -> driver.Lowered:
    """The network's loops, lowered by nobody else."""
    from cnnc.lowering.lower import lower

    graph = cnnc.load_text(NET.replace("SEED", str(seed))).graph
    return lower(driver.prepare(graph, HOST)[0], HOST)


def test_it_runs_kernel_by_kernel(cache: Cache) -> None:
    """`diff` finds the loops of what the cache has, and the code that runs."""
    network()
    report = cnnc.diff(cnnc.load_text(NET.replace("SEED", "1")))
    assert report.ok, str(report)
    assert network().executable.program == network().lowered.program


@pytest.mark.parametrize(
    "change",
    [
        lambda graph, target, choices: (replace(graph, name="m"), target, choices),
        lambda graph, target, choices: (replace(graph, batch=7), target, choices),
        lambda graph, target, choices: (replace(graph, fewest=1), target, choices),
        lambda graph, target, choices: (
            replace(graph, outputs={"z": graph.outputs["y"]}),
            target,
            choices,
        ),
        lambda graph, target, choices: (graph, replace(target, cores=target.cores + 1), choices),
        lambda graph, target, choices: (graph, replace(target, l2_bytes=1), choices),
        lambda graph, target, choices: (graph, replace(target, features="+sse2"), choices),
        lambda graph, target, choices: (
            graph,
            target,
            Choices({"a": Chosen(Choice.parse("direct tile=1x1x1"))}),
        ),
        lambda graph, target, choices: (graph, target, Choices(facts="other")),
    ],
)
def test_what_lowering_reads_is_part_of_the_key(change: Callable[..., tuple[object, ...]]) -> None:
    """The graph, all of the target, and the choices."""
    graph, _ = driver.prepare(cnnc.load_text(NET.replace("SEED", "1")).graph, HOST)
    assert kept.program_key(graph, HOST, Choices()) == kept.program_key(graph, HOST, Choices())
    changed = change(graph, HOST, Choices())
    assert kept.program_key(*changed) != kept.program_key(graph, HOST, Choices())  # type: ignore[arg-type]


def test_options_that_change_the_program_change_the_key(cache: Cache) -> None:
    """Batches, ranges and `exact`; threads too, as layers are split for them."""
    model = cnnc.load_text(NET.replace("SEED", "1"))
    options: tuple[dict[str, object], ...] = (
        {},
        {"batch": 3},
        {"batch": (1, 3)},
        {"target": "x86-64"},
        {"threads": 2},
    )
    found = {key_of(model.compile(**each)) for each in options}  # type: ignore[arg-type]
    assert len(found) == len(options)


def test_operators_from_elsewhere_are_lowered_each_time(cache: Cache) -> None:
    """Their sources are not in the key: what they say now counts, not what they said before."""

    class Outside(Relu):
        """As in a script of the user's."""

    graph = driver.prepare(cnnc.load_text(NET.replace("SEED", "1")).graph, HOST)[0]
    assert kept.may_keep(graph)
    x = next(node for node in graph.nodes if node.type.rank == 4)
    step = TailStep(Outside(), (Earlier(0),))
    stages = (Stage(Fused(Relu(), 1, (step,)), 1, 1),)
    for op in (Outside(), Fused(Relu(), 1, (step,)), View(Outside()), Streamed(stages, 1)):
        node = Node(op, (x,), x.type, "outside")
        assert not kept.may_keep(replace(graph, outputs={"y": node}))
    graph = replace(graph, outputs={"y": Node(Outside(), (x,), x.type, "outside")})
    made = Made(graph, HOST, Options(), Choices(), cache)
    assert made._key not in made.code
    assert cache.get(made._key) is None


def test_other_sources_have_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of lowering, and of what makes code; each file of theirs counts."""
    graph, _ = driver.prepare(cnnc.load_text(NET.replace("SEED", "1")).graph, HOST)
    before = kept.program_key(graph, HOST, Choices())
    with monkeypatch.context() as patch:
        patch.setattr(kept, "digest_sources", lambda *folders: "other")
        assert kept.program_key(graph, HOST, Choices()) != before
    with monkeypatch.context() as patch:
        patch.setattr(keys, "compiler", lambda: "other")
        assert kept.program_key(graph, HOST, Choices()) != before
    assert resources.digest_sources("loop") != resources.digest_sources("loop", "base")


def test_all_operators_have_texts_that_tell_them_apart() -> None:
    """Keys hold `repr` of operators: equal exactly where operators are, on any day."""
    samples = [s.op for each in operators() if issubclass(each, Operator) for s in each.samples()]
    for op in samples:
        assert " at 0x" not in repr(op)
    assert len(set(samples)) <= len(set(map(repr, samples)))


def damage(data: bytes, **changes: object) -> bytes:
    """The entry with other values."""
    return json.dumps({**json.loads(data), **changes}).encode()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"[1]",
        lambda data: b"{}",
        lambda data: b"\xff" + data,
        lambda data: b"[" * 100_000,
        lambda data: damage(data, key="0" * 64),
        lambda data: damage(data, form="program 0"),
        lambda data: damage(data, objects=[]),
        lambda data: damage(data, objects=[1]),
        lambda data: damage(data, objects=["0" * 64]),
        lambda data: damage(data, weights_bytes=64),
        lambda data: damage(data, weights_bytes=-1),
        lambda data: damage(data, arena_bytes=1.5),
        lambda data: damage(data, scratch_bytes=None),
        lambda data: damage(data, is_shared=1),
        lambda data: damage(data, weights=[[0, "abcd", 0]]),
        lambda data: damage(data, weights=[[999, "abcd", 0]]),
        lambda data: damage(data, weights=[[-1, "abcd", 0]]),
        lambda data: damage(data, weights=[[1, "abcd", 1]]),
        lambda data: damage(data, weights=[[1, "no layout", 0]]),
        lambda data: damage(data, weights=[[1, "abcdef", 0]]),
        lambda data: damage(data, weights=[[1, 2]]),
    ],
)
def test_unsound_entries_are_replaced(
    cache: Cache, lowered: list[str], spoil: Callable[[bytes], bytes]
) -> None:
    """Their sums are right, and still they are as good as none."""
    net = network()
    good = cache.get(key_of(net))
    assert good is not None
    cache.put(key_of(net), spoil(good))
    np.testing.assert_array_equal(network()(sample())["y"], net(sample())["y"])
    assert lowered == ["n", "n"]
    assert cache.get(key_of(net)) == good


def test_without_all_of_its_code_it_is_lowered(cache: Cache, lowered: list[str]) -> None:
    """An entry whose code was thrown away is as good as none."""
    net = network()
    assert net._made is not None
    for key in net._made.code:
        path = cache._path(key)
        content = path.read_bytes()
        path.unlink()
        np.testing.assert_array_equal(network()(sample())["y"], net(sample())["y"])
        assert path.read_bytes() == content
    assert len(lowered) == 1 + len(net._made.code)


def test_an_entry_that_is_not_what_lowering_makes_is_noticed(cache: Cache) -> None:
    """Only tampering can make one; whoever looks at the loops of what runs is told."""
    net = network()
    data = cache.get(key_of(net))
    assert data is not None
    cache.put(key_of(net), damage(data, arena_bytes=json.loads(data)["arena_bytes"] + 64))
    with pytest.raises(cnnc.InternalError, match="another program than lowering makes"):
        _ = network().lowered


def test_knobs_and_other_backends_keep_nothing(
    cache: Cache, lowered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What shows how code is made makes it; the interpreter has no code."""
    network()
    network(backend="interp")
    monkeypatch.setenv("CNNC_TIME", "1")
    network()
    assert len(lowered) == 3


def test_the_parser_is_the_same_with_tables_from_the_cache(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same trees and the same errors; damaged tables are replaced.

    They are kept where those that come with cnnc are of another version of Lark.
    """
    monkeypatch.setattr(grammar, "SHIPPED", "cnn.lark")  # which are no tables
    fresh = grammar.make_parser(cache)
    (entry,) = (path for path in cache.folder.rglob("*") if path.is_file())
    good = entry.read_bytes()
    kept_parser = grammar.make_parser(cache)
    assert entry.read_bytes() == good
    source = SourceFile("n.cnn", NET)
    made: list[Program] = []
    for parser in (fresh, kept_parser):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(grammar._Parser, "made", parser)
            made.append(parse(source))
            with pytest.raises(cnnc.UserError, match="E0104"):
                parse(SourceFile("n.cnn", NET.replace("->", "=>")))
    assert made[0] == made[1]
    key = entry.name
    for spoiled in (b"", b"{}", b"[]", damage(cache.get(key) or b"", key="0" * 64)):
        cache.put(key, spoiled)
        assert read_tables(spoiled, key) is None
        grammar.make_parser(cache)
        assert read_tables(cache.get(key) or b"", key)


def test_the_code_of_the_threads_is_kept(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process compiles none; what it finds runs."""
    made = runtime._runtime_code(cache)
    monkeypatch.setattr(runtime, "runtime_module_text", lambda target: "nothing")
    assert runtime._runtime_code(cache) == made
    found = runtime.Runtime(runtime.link([made], HOST))
    assert found.pool_bytes == runtime.runtime().pool_bytes


def test_a_pickle_has_the_program(lowered: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is loaded on a machine like this one, nothing is lowered."""
    monkeypatch.setenv("CNNC_CACHE", "off")
    net = network()
    assert net._made is not None
    store = dict(net._made.code)

    class Carried:
        """A store that is only read."""

        def get(self, key: str) -> bytes | None:
            """See Store."""
            return store.get(key)

        def put(self, key: str, data: bytes) -> None:
            """See Store."""

    graph, _ = driver.prepare(net.graph, net.target)
    again = Made(graph, net.target, net.options, Choices(), Carried())
    assert lowered == ["n"]
    assert again.code == net._made.code
