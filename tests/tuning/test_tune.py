"""Tuning with a stopwatch that is not one: what is measured, kept, resumed and reported."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import cnnc
from cnnc import driver
from cnnc.base.choice import Choice
from cnnc.base.errors import UserError
from cnnc.bench import Timing
from cnnc.ir.graph import Graph
from cnnc.loop.text import print_kernel
from cnnc.offers.offer import root_of
from cnnc.offers.rows import lies_in_rows
from cnnc.offers.winograd import choice_of
from cnnc.ops.winograd import Winograd
from cnnc.options import Options
from cnnc.tunefile import Entry, TuneFile, facts_of, read_tune_file, target_line, write_tune_file
from cnnc.tuning.report import TuneReport
from cnnc.tuning.search import FEWEST_TRIED
from cnnc.tuning.stopwatch import Stopwatch
from cnnc.tuning.subjects import Subject, find_subjects, laid_out
from cnnc.tuning.tune import Tools, tune
from cnnc.tuning.whole import Whole, time_whole

HOST = driver.find_target("native")
NET = """cnn 1
net n {
  input x: f32[N, 32, 12, 12]
  a = x -> conv(32, 3, pad = same) -> relu
  b = a -> conv(32, 3, pad = same)
  c = add { b | x } -> relu -> conv(64, 1)
  output y = c -> pool(avg, global) -> flatten -> softmax
  weights he
}
"""


@dataclass
class Fake:
    """Takes what it is told for a choice, and counts what it is asked."""

    seconds: Callable[[Subject, Choice], float]
    calls: list[tuple[str, Choice, int]] = field(default_factory=list)
    now: float = 0.0
    fails_at: int = -1

    def __call__(
        self, subject: Subject, choices: Sequence[Choice], rounds: int
    ) -> list[list[float]]:
        """See Measure: each call takes a second of the clock."""
        if len(self.calls) == self.fails_at:
            raise KeyboardInterrupt
        self.calls += [(subject.key, choice, rounds) for choice in choices]
        self.now += 1
        return [[self.seconds(subject, choice)] * rounds for choice in choices]

    def clock(self) -> float:
        """The time it says it is."""
        return self.now

    @property
    def measured(self) -> set[str]:
        """The layers it was asked about."""
        return {key for key, _, _ in self.calls}


def by_estimate(subject: Subject, choice: Choice) -> float:
    """As the estimates say."""
    return subject.estimate(choice) * 1e-9


def one_is_faster(subject: Subject, choice: Choice) -> float:
    """The default, but for the third candidate of every layer."""
    third = [each.choice for each in subject.candidates if each.choice != subject.default][2]
    return 1e-3 if choice == third else 2e-3


def whole(graph: Graph, options: Options, path: Path) -> Whole:
    """The whole net, which takes some time."""
    return Whole(Timing(2.0, 2.0, 0.1), Timing(1.0, 1.0, 0.1))


def run(
    path: Path,
    fake: Fake,
    *,
    text: str = NET,
    seconds: float = 1e9,
    again: bool = False,
    exact: bool = False,
) -> TuneReport:
    """Tune a net."""
    graph, options = cnnc.load_text(text).graph, Options(exact=exact)
    tools = Tools(fake, whole, fake.clock)
    return tune(graph, options, path, seconds, again=again, tools=tools)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file will lie."""
    return tmp_path / "n.tune"


def test_layers_are_measured_once() -> None:
    """Equal ones have a key in common; what has no choice is none."""
    choices = TuneFile("", {}).choices(HOST, exact=False)
    subjects = find_subjects(cnnc.load_text(NET).graph, HOST, choices, exact=False)
    assert sorted(subject.names for subject in subjects) == [("a.conv", "b"), ("c.conv",)]
    assert [subject.cycles for subject in subjects] == sorted(
        (subject.cycles for subject in subjects), reverse=True
    )
    for subject in subjects:
        assert subject.estimate(subject.default) > 0
        assert len({each.choice for each in subject.candidates}) == len(subject.candidates)


def test_the_subjects_are_the_layers_of_the_net() -> None:
    """Alone, a layer has the loops it has in the net, but for its neighbours' halos."""
    model = cnnc.load_text(NET.replace("3, pad = same", "1"))
    choices = TuneFile("", {}).choices(HOST, exact=False)
    lowered = model.compile().lowered
    inside = {layer.node.name: layer for layer in lowered.layers}
    for subject in find_subjects(model.graph, HOST, choices, exact=False):
        alone, _ = driver.plan(subject.graph, HOST)
        (layer,) = (each for each in alone.layers if each.node.name == subject.name)
        assert print_kernel(layer.kernel) == print_kernel(inside[subject.name].kernel)


def test_layers_computed_together_are_not_measured() -> None:
    """Alone they do other work, and a choice would take them apart."""
    text = NET.replace("32, 12, 12", "16, 112, 112").replace(
        "c = add { b | x } -> relu -> conv(64, 1)",
        "c = b -> conv(96, 1, bias = false) -> conv(96, 3, pad = 1, groups = 96) -> conv(24, 1)",
    )
    target = replace(driver.find_target("x86-64-v4"), l2_bytes=1 << 20)
    graph = cnnc.load_text(text).graph
    choices = TuneFile(target_line(target), {}).choices(target, exact=False)
    names = {
        name for each in find_subjects(graph, target, choices, exact=False) for name in each.names
    }
    assert {"a.conv", "b"} <= names
    assert not names & {"c.conv_1", "c"}


@pytest.mark.parametrize(("exact", "name"), [(False, "y.phases"), (True, "y")])
def test_transposed_convolutions_are_measured_as_they_are_computed(exact: bool, name: str) -> None:
    """As the convolution of their phases, where Winograd's algorithm may compute that."""
    graph = cnnc.load_text(
        "cnn 1\nnet n {\n  input x: f32[N, 128, 17, 16]\n"
        "  output y = x -> conv_transpose(64, 4, stride = 2, pad = 1)\n  weights he\n}\n"
    ).graph
    target = driver.find_target("x86-64-v4")
    choices = TuneFile(target_line(target), {}).choices(target, exact=exact)
    (found,) = find_subjects(graph, target, choices, exact=exact)
    assert found.names == (name,)
    assert any(str(each.choice).startswith("winograd") for each in found.candidates) != exact


def test_equal_layers_of_which_some_lie_in_rows_are_left_out() -> None:
    """A choice is for all layers with a key; their neighbours decide how each of them lies."""
    text = """cnn 1
net n {
  input x: f32[N, 64, 784]
  output y = x -> conv(25, 1) -> conv(20, 3, pad = same)
  b = x -> conv(64, 1) -> conv(25, 1) -> conv(64, 1)
  output z = b -> conv(25, 1) -> conv(64, 1, stride = 2)
  weights he(seed = 3)
}
"""
    target = driver.find_target("x86-64-v4")
    choices = TuneFile(target_line(target), {}).choices(target, exact=True)
    graph = cnnc.load_text(text).graph
    nodes = driver.optimise(graph, driver.pipeline(target, exact=True)).nodes
    wide = [node for node in nodes if node.op.label.startswith("conv(channels=25,")]
    assert {lies_in_rows(node, target) for node in wide} == {True, False}
    found = find_subjects(graph, target, choices, exact=True)
    assert found
    assert not {node.name for node in wide} & {name for each in found for name in each.names}


def test_the_default_is_that_of_the_net() -> None:
    """Weights of all layers do not stay in the cache, though those of each alone do."""
    text = NET.replace("conv(64, 1)", "conv(4096, 1)").replace("32, 12, 12", "64, 8, 8")
    text = text.replace("conv(32", "conv(64")
    target = replace(driver.find_target("x86-64-v3"), l2_bytes=1 << 20, l3_bytes=1 << 20)
    graph = cnnc.load_text(text).graph
    nodes = driver.optimise(graph, driver.pipeline(target)).nodes
    used = [root_of(node)[0] for node in nodes if not node.is_leaf]
    (choice,) = {choice_of(op) for op in used if isinstance(op, Winograd)}
    choices = TuneFile("", {}).choices(target, exact=False)
    found = find_subjects(graph, target, choices, exact=False)
    (subject,) = (each for each in found if each.default.algorithm == "winograd")
    assert subject.default == choice
    best = next(each for each in subject.candidates if each.choice.algorithm == "winograd")
    assert subject.estimate(choice) == best.cycles
    root, _ = root_of(laid_out(subject.graph, target))
    assert isinstance(root, Winograd)
    assert choice_of(root) != choice


def test_where_nothing_gains(path: Path) -> None:
    """The default is written, and the report says so."""
    report = run(path, Fake(by_estimate), exact=True)
    assert [layer.gain for layer in report.layers] == [0.0, 0.0]
    assert report.whole is None
    assert "no layer gains 3% or more on 1 thread: no tuning is needed" in report.format()
    assert "--tuning" not in report.format()
    assert report.rank == pytest.approx(1)
    assert report.rank_of_all == pytest.approx(1)
    plain = cnnc.load_text(NET).compile(exact=True)
    tuned = cnnc.load_text(NET).compile(exact=True, tuning=path)
    assert plain.executable.image.objects == tuned.executable.image.objects  # type: ignore[attr-defined]


def test_where_something_gains(path: Path) -> None:
    """It is found, written, reported, and used bit for bit in every run."""
    fake = Fake(one_is_faster)
    report = run(path, fake)
    assert [layer.gain for layer in report.layers] == pytest.approx([1.0, 1.0])
    text = report.format()
    assert "2 of 2 distinct layers gain 3% or more on 1 thread" in text
    assert "the whole net takes 1.00 s ± 10%, and 2.00 s ± 10% without" in text
    assert str(path) in text
    found = read_tune_file(path, HOST)
    assert {str(entry.choice) for entry in found.entries.values()} == {
        layer.best for layer in report.layers
    }
    nets = [cnnc.load_text(NET).compile(tuning=path) for _ in range(2)]
    images = [net.executable.image for net in nets]  # type: ignore[attr-defined]
    assert images[0].objects == images[1].objects
    assert bytes(images[0].weights) == bytes(images[1].weights)
    assert images[0].objects != cnnc.load_text(NET).compile().executable.image.objects  # type: ignore[attr-defined]
    assert nets[0].tuned == found.entries.keys()
    assert cnnc.diff(nets[0]).ok
    assert len(report.to_json()["layers"]) == 2  # type: ignore[arg-type]


def test_small_gains_are_none(path: Path) -> None:
    """Less than three in a hundred changes nothing."""
    report = run(path, Fake(lambda subject, choice: 0.975 + 0.025 * (choice == subject.default)))
    assert not any(layer.gain for layer in report.layers)
    report = run(
        path,
        Fake(lambda subject, choice: 0.965 + 0.035 * (choice == subject.default)),
        again=True,
    )
    assert all(layer.gain for layer in report.layers)


def test_the_last_duel_decides(path: Path) -> None:
    """What was fast by luck at first does not stay."""
    lucky: set[tuple[str, Choice]] = set()

    def seconds(subject: Subject, choice: Choice) -> float:
        first = (subject.key, choice) not in lucky
        lucky.add((subject.key, choice))
        return 0.5 if first and choice != subject.default else 1.0

    assert not any(layer.gain for layer in run(path, Fake(seconds)).layers)


def test_disturbances(path: Path) -> None:
    """A default that was disturbed in most measurements does not lose for it."""

    class Disturbed(Fake):
        def __call__(
            self, subject: Subject, choices: Sequence[Choice], rounds: int
        ) -> list[list[float]]:
            """See Fake: two of three measurements of the default take three times as long."""
            found = super().__call__(subject, choices, rounds)
            for choice, samples in zip(choices, found, strict=True):
                if choice == subject.default:
                    samples[:] = [s * (1 if n % 3 == 0 else 3) for n, s in enumerate(samples)]
            return found

    assert not any(layer.gain for layer in run(path, Disturbed(lambda *_: 1.0)).layers)


def test_resuming(path: Path) -> None:
    """What the file has is not measured again, unless that is asked for."""
    first = run(path, Fake(one_is_faster))
    before = path.read_bytes()
    fake = Fake(by_estimate)
    second = run(path, fake)
    assert fake.calls == []
    assert path.read_bytes() == before
    assert [layer.best for layer in second.layers] == [layer.best for layer in first.layers]
    assert second.rank_of_all is None
    run(path, fake, again=True)
    assert len(fake.measured) == 2
    assert path.read_bytes() != before


def test_interruption(path: Path) -> None:
    """The layers that were done are in the file, and the next run goes on from there."""
    fake = Fake(one_is_faster)
    run(path, fake)
    whole_run, calls = path.read_bytes(), len(fake.calls)
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        run(path, Fake(one_is_faster, fails_at=calls - 2))
    assert len(read_tune_file(path, HOST).entries) == 1
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    rest = Fake(one_is_faster)
    run(path, rest)
    assert len(rest.measured) == 1
    assert path.read_bytes() == whole_run


def test_the_budget(path: Path) -> None:
    """Without time left, the best candidates of a layer are measured, and other layers wait."""
    fake = Fake(by_estimate)
    report = run(path, fake, seconds=0.5, exact=True)
    assert report.unreached == 1
    assert "1 layer had no time: run it again to go on" in report.format()
    assert "no layer that was measured gains 3% or more on 1 thread\n" in report.format()
    assert report.layers[0].tried == FEWEST_TRIED + 1
    assert run(path, fake, seconds=0.5, exact=True).unreached == 0


def test_other_nets_share_the_file(path: Path) -> None:
    """Entries of other nets stay; equal layers of theirs are known."""
    run(path, Fake(one_is_faster))
    fake = Fake(one_is_faster)
    report = run(path, fake, text=NET.replace("conv(64, 1)", "conv(96, 1)"))
    assert len(fake.measured) == 1
    assert len(report.layers) == 2
    assert len(read_tune_file(path, HOST).entries) == 3


def test_exact(path: Path) -> None:
    """No choice that rounds more is measured."""
    fake = Fake(by_estimate)
    run(path, fake, exact=True)
    assert {choice.algorithm for _, choice, _ in fake.calls} == {"direct"}
    assert cnnc.load_text(NET).compile(tuning=path, exact=True).tuned


def test_what_is_not_offered_any_more_is_measured_again(path: Path) -> None:
    """So a file of another cnnc is mended."""
    run(path, Fake(by_estimate))
    found = read_tune_file(path, HOST)
    key, *_ = found.entries
    impossible = Choice.parse("direct tile=64x64x64")
    entry = Entry(key, impossible, 2.0, 1.0, 5, None, "a.conv")
    write_tune_file(path, TuneFile(found.target, {**found.entries, key: entry}))
    fake = Fake(by_estimate)
    run(path, fake)
    assert fake.measured == {key}
    assert read_tune_file(path, HOST) == found


def test_files_of_others_stay(path: Path) -> None:
    """A damaged file, and one of another target, is not written over."""
    other = TuneFile(target_line(driver.find_target("aarch64")), {}).format()
    for text, code in ((other, "E0804"), ("mine", "E0705")):
        path.write_text(text)
        with pytest.raises(UserError, match=code):
            run(path, Fake(by_estimate))
        assert path.read_text() == text


def test_a_target_that_does_not_run_here(path: Path) -> None:
    name = "x86-64" if HOST.triple.startswith("aarch64") else "aarch64"
    with pytest.raises(UserError, match="E0801"):
        tune(cnnc.load_text(NET).graph, Options(name), path)


def test_a_net_without_choices(path: Path) -> None:
    text = "cnn 1\nnet n {\n  input x: f32[N, 4]\n  output y = x -> relu\n}\n"
    report = run(path, Fake(by_estimate), text=text)
    assert "no layer with several choices: no tuning is needed" in report.format()
    assert not path.exists()


@pytest.mark.parametrize("threads", [1, 2])
def test_the_real_stopwatch(threads: int) -> None:
    """Every choice it compiles takes some time; no more is certain."""
    options = Options(threads=threads)
    choices = TuneFile("", {}).choices(HOST, exact=False)
    subjects = find_subjects(cnnc.load_text(NET).graph, HOST, choices, exact=False)
    watch = Stopwatch(HOST, options, facts_of(HOST, exact=False))
    for subject in subjects:
        some = [subject.default, *(each.choice for each in subject.candidates[:3])]
        times = watch(subject, some, 2)
        assert [len(each) for each in times] == [2] * len(some)
        assert min(min(each) for each in times) > 0


def test_the_whole_net_is_timed(path: Path) -> None:
    run(path, Fake(one_is_faster))
    found = time_whole(cnnc.load_text(NET).graph, Options(), path)
    assert min(found.default.seconds, found.tuned.seconds) > 0
