"""The benchmark's bookkeeping, with contenders that answer from a list: nothing is timed."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers import main as command
from peers.agreement import compare
from peers.process import FailedError, Worker
from peers.report import NONE, format_report, milliseconds, places, spread
from peers.results import Figure, Results, Row, geometric_mean
from peers.rounds import Contest, Rules
from peers.task import Task
from peers.worker import time_calls

Turns = Mapping[str, Sequence[float]]


class Fake:
    """A contender whose turns are given; a turn of 0 fails, `nan` is a wrong output."""

    def __init__(self, name: str, task: Task, turns: Sequence[float], log: list[str]) -> None:
        self.name, self.task, self.log = name, task, log
        self.turns = iter(turns)
        self.wrong = any(turn != turn for turn in turns)

    def ask(self, request: str, timeout: float) -> Mapping[str, Any]:
        """See Process."""
        self.log.append(f"{self.name} {request}")
        if request == "peak":
            return {"gflops": 50.0}
        if request == "load":
            outputs = np.array([1.0, -2.0, 3.0 if self.wrong else 4.0])
            np.savez(self.task.outputs(self.name), y=outputs)
            loaded = {"version": f"{self.name}-1", "seconds": {"import": 9.0, "load": 0.5}}
            return {**loaded, "memory": 1 << 20, "notes": ["is a fake"]}
        turn = next(self.turns)
        if not turn:
            raise FailedError("no answer within 3 s")
        return {"median": turn, "waited": turn / 100, "memory": 3 << 20}

    def close(self) -> None:
        """See Process."""
        self.log.append(f"{self.name} closed")


def contest(turns: Turns, log: list[str], rounds: int = 3) -> Contest:
    """A contest of fakes."""
    start: Callable[[str, Task, Sequence[int]], Fake] = lambda name, task, cores: Fake(  # noqa: E731
        name, task, turns.get(name, ()), log
    )
    rules = Rules(rounds=rounds, seconds=0.25, calls=2, timeout=3)
    quiet: Callable[[object], None] = lambda something: None  # noqa: E731
    return Contest(rules, [*turns], [0, 1, 2], quiet, start, quiet)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A task in a folder of its own."""
    return Task("n.cnn", 1, 2, "native", str(tmp_path))


def test_turns_are_taken_in_moving_order(task: Task) -> None:
    """One after the other, each round begun by another."""
    log: list[str] = []
    row = Row("n", 1, 2, macs=10**6)
    contest({"cnnc": [3.0, 1.0, 2.0], "a": [4.0] * 3, "b": [5.0] * 3}, log).run(task, row)
    turns = [entry.split()[0] for entry in log if " turn " in entry]
    assert turns == ["cnnc", "a", "b", "a", "b", "cnnc", "b", "cnnc", "a"]
    assert {entry for entry in log if "turn" in entry} >= {"a turn 0.25 2"}
    assert row.figures["cnnc"].turns == [3.0, 1.0, 2.0]
    assert (row.figures["cnnc"].seconds, row.figures["cnnc"].spread) == (2.0, 0.5)
    assert (row.figures["a"].memory, row.figures["a"].loading) == (3 << 20, 0.5)
    assert row.figures["cnnc"].waited == 0.03
    assert row.best_peer == ("a", row.figures["a"])
    assert (row.ratio, row.ratio_to("b")) == (2.0, 2.5)
    assert row.of_peak == pytest.approx(2e-9 * 10**6 / 2 / 50)
    assert [entry for entry in log if "closed" in entry][-3:] == [
        "cnnc closed",
        "a closed",
        "b closed",
    ]


def test_one_turn_has_no_spread(task: Task) -> None:
    """Rather than one of 0 %."""
    row = Row("n", 1, 2, macs=10**6)
    contest({"cnnc": [3.0], "a": [4.0]}, [], rounds=1).run(task, row)
    assert row.figures["cnnc"].seconds == 3.0
    assert (row.figures["cnnc"].spread, spread(row.figures["cnnc"])) == (None, NONE)
    row.figures["cnnc"].turns += [3.0, 3.0]
    assert spread(row.figures["cnnc"]) == "0%"


def test_who_fails_is_out_and_the_others_go_on(task: Task) -> None:
    """Whether outputs are wrong or no answer comes."""
    log: list[str] = []
    row = Row("n", 1, 2, macs=10**6)
    contest({"cnnc": [2.0] * 3, "slow": [1.0, 0.0], "bad": [float("nan")] * 3}, log).run(task, row)
    assert row.figures["slow"].failed == "no answer within 3 s"
    assert "its `y` differs from cnnc's by 0.2" in (row.figures["bad"].failed or "")
    assert [row.figures[name].seconds for name in row.figures] == [2.0, None, None]
    assert (row.best_peer, row.ratio) == (None, None)
    assert sum(entry.startswith("slow turn") for entry in log) == 2
    assert log.index("bad closed") < log.index("cnnc turn 0.25 2")
    assert log.count("slow closed") == log.count("cnnc closed") == 1


def test_without_cnnc_nobody_is_timed(task: Task) -> None:
    """There is nothing to compare outputs with."""
    log: list[str] = []
    row = Row("n", 1, 2)
    broken = replace(contest({"cnnc": [1.0], "a": [1.0]}, log), start=Mute)
    broken.run(task, row)
    assert row.figures["cnnc"].failed == "it is not there"
    assert "a" not in row.figures


class Mute:
    """A contender that never answers."""

    def __init__(self, name: str, task: Task, cores: Sequence[int]) -> None:
        pass

    def ask(self, request: str, timeout: float) -> Mapping[str, Any]:
        """See Process."""
        raise FailedError("it is not there")

    def close(self) -> None:
        """See Process."""


def test_calls_are_timed_by_the_clock() -> None:
    """As many as are asked for and as long; slow ones end after ten times as long."""
    now = [0.0]

    def call(seconds: float) -> Callable[[], None]:
        def advance() -> None:
            now[0] += seconds

        return advance

    def clock() -> float:
        return now[0]

    assert time_calls(call(0.25), 1.0, 2, clock) == [0.25] * 4
    assert time_calls(call(0.5), 1.0, 5, clock) == [0.5] * 5
    assert time_calls(call(8.0), 1.0, 5, clock) == [8.0] * 2


def test_outputs_are_compared_by_name_shape_and_value() -> None:
    """And a NaN agrees with nothing."""
    right = {"y": np.array([0.0, 2.0])}
    assert compare(right, {"y": np.array([0.001, 2.0])}) == (0.0005, None)
    assert compare(right, {"z": np.zeros(2)})[1] == "it has no output `y`"
    assert compare(right, {"y": np.zeros(3)})[1] == "`y` is [3], not [2]"
    assert "differs" in (compare(right, {"y": np.array([0.0, np.nan])})[1] or "")
    assert "differs" in (compare(right, {"y": np.array([0.0, 2.1])})[1] or "")


def example() -> Results:
    """Two networks; one peer fails on the second."""
    first = Row("one", 1, 1, 2_000_000, 50.0)
    first.figures = {
        "cnnc": Figure([0.001, 0.001], "1", {"import": 3.0, "read": 0.25, "compile": 1.0}, 2 << 20),
        "ort": Figure([0.002, 0.002], "2", {"load": 0.5}, 1 << 20),
        "ncnn": Figure([0.0005, 0.0005], "3", {"convert": 7.0, "load": 0.125}, 5 << 20),
    }
    second = Row("two", 8, 1, 3_000, 50.0)
    second.figures = {
        "cnnc": Figure([0.004], "1"),
        "ort": Figure([0.032], "2", notes=("is slow",)),
        "ncnn": Figure(failed="not installed: No module named 'ncnn'"),
    }
    third = Row("three", 1, 1, failed="the ONNX writer knows no `celu`")
    machine = {"cpu": "a processor", "cores": 2, "system": "Linux"}
    return Results(machine, {"cpu": "native", "rounds": 2, "seconds": 0.5}, [first, second, third])


def test_the_tables_say_it_all() -> None:
    """Times, ratios, means, loading, memory, and who is missing why."""
    text = format_report(example())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "| one | 1 | 1 | 2 M | 1 | 2 | 0.5 | 0.50 | 8% | 0%, 0% |" in lines
    assert "| two | 8 | 1 | 3 k | 4 | 32.0 | — | 8.00 | 0% | —, — |" in lines
    assert "| three | 1 | 1 | 0 | — | — | — | — | — | —, — |" in lines
    assert "| 1 | 1 | 0.50 (1) | 2.00 (1) | 0.50 (1) |" in lines
    assert "| 1 | 8 | 8.00 (1) | 8.00 (1) | — (0) |" in lines
    assert "| one | 1 | 1 | 1.25 (0.25) | 0.50 | 0.12 |" in lines
    assert "| one | 1 | 1 | 2 | 1 | 5 |" in lines
    assert "- ncnn: not installed: No module named 'ncnn' — net two, batch 8" in lines
    assert "- ort: is slow — net two, batch 8" in lines
    assert "- all: the ONNX writer knows no `celu` — net three, batch 1" in lines
    assert "cnnc 1, ort 2, ncnn 3" in lines
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in tables[:5]}) == 1, "columns stand below each other"


def test_a_busy_machine_is_told_of() -> None:
    """Where other processes had the cores, times are in doubt."""
    results = example()
    assert "other processes" not in format_report(results)
    results.rows[0].figures["ort"].waited = 0.25
    line = "- the machine: other processes had the cores for up to 25% of a turn: measure again"
    assert f"{line} — net one" in format_report(results)


def test_places_are_named_shortly() -> None:
    """A block of rows by its limits, others one by one."""
    rows = [Row(net, batch, 1) for net in ("a", "b") for batch in (1, 8)]
    assert places(rows, rows) == "everywhere"
    assert places([rows[1], rows[3]], rows) == "batch 8"
    assert places(rows[:2], rows) == "net a"
    assert places([rows[0], rows[3]], rows) == "a (batch 1, threads 1); b (batch 8, threads 1)"


def test_numbers_have_the_digits_that_count() -> None:
    """Three of them."""
    cells = [milliseconds(Figure([seconds])) for seconds in (0.2341, 0.02341, 0.002341, 2.341e-5)]
    assert cells == ["234", "23.4", "2.34", "0.0234"]
    assert (milliseconds(None), milliseconds(Figure(failed="no"))) == ("—", "—")
    assert geometric_mean([]) is None
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)


def test_everything_is_written_whole(tmp_path: Path) -> None:
    """The file is replaced, and holds figures, reasons and what follows from them."""
    path = tmp_path / "found.json"
    path.write_text("older")
    example().write(path)
    data = json.loads(path.read_text())
    assert [row["net"] for row in data["rows"]] == ["one", "two", "three"]
    assert data["rows"][0]["ratio"] == 0.5
    assert data["rows"][0]["figures"]["ort"]["turns"] == [0.002, 0.002]
    assert data["rows"][1]["figures"]["ncnn"]["failed"].startswith("not installed")
    assert data["rows"][2]["failed"] == "the ONNX writer knows no `celu`"
    assert [each.name for each in tmp_path.iterdir()] == ["found.json"]


@pytest.fixture
def worker(task: Task) -> Iterator[Callable[[str], Worker]]:
    """Starts processes, and ends them."""
    started: list[Worker] = []

    def start(name: str) -> Worker:
        cores = sorted(os.sched_getaffinity(0))[:1] if sys.platform == "linux" else [0]
        started.append(Worker(name, task, cores))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.mark.skipif(sys.platform == "win32", reason="processes are stopped by signals")
def test_processes_fail_with_a_reason(worker: Callable[[str], Worker]) -> None:
    """What is not installed, and a file that is not there; both answer again afterwards."""
    stranger = worker("nobody")
    for _ in range(2):
        with pytest.raises(FailedError, match=r"^not installed: .*nobody"):
            stranger.ask("load", 60)
    with pytest.raises(FailedError, match=r"Error"):
        worker("onnxruntime").ask("load", 60)


@pytest.mark.skipif(sys.platform == "win32", reason="processes are stopped by signals")
def test_processes_that_die_or_hang_are_told_of(worker: Callable[[str], Worker]) -> None:
    """With what they said last."""
    hung = worker("nobody")
    with pytest.raises(FailedError, match="no answer within 0 s"):
        hung.ask("load", 0)
    broken = worker("nobody")
    with pytest.raises(FailedError, match=r"^ended with 1: ValueError"):
        broken.ask("", 60)


def test_the_command_goes_on_where_a_network_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The row says why, the file has it, and the exit code tells."""
    net = tmp_path / "odd.cnn"
    net.write_text("cnn 1\nnet n { input x: f32[N, 4, 8]\n output y = x -> conv(2, 3) }\n")
    monkeypatch.setattr(command, "zoo", lambda: {"odd": net})
    path = tmp_path / "found.json"
    arguments = ["--nets", "odd", "--threads", "1", "--batch", "1", "--json", str(path)]
    assert command.main(arguments) == 1
    shown = capsys.readouterr()
    assert "the first is `y.weight`" in shown.out
    assert "everywhere" in shown.out
    assert "odd, batch 1, threads 1" in shown.err
    assert json.loads(path.read_text())["rows"][0]["failed"].count("E0408")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nets", "nothing"],
        ["--peers", "cnnc"],
        ["--threads", "0"],
        ["--threads", "1000000"],
        ["--rounds", "none"],
        ["--json", "/nowhere/at/all/found.json"],
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With a usage message."""
    with pytest.raises(SystemExit) as exit:
        command.main(arguments)
    assert exit.value.code == 2
    assert "usage" in capsys.readouterr().err
