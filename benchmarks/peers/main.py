"""The command: what to run, and every combination of it."""

import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TypeVar

from cnnc.base.errors import CnncError
from peers.agreement import TOLERANCE
from peers.machine import available_cores, describe_machine
from peers.prepare import prepare
from peers.progress import Progress, show_progress
from peers.report import format_report, milliseconds
from peers.results import CNNC, Results, Row
from peers.rounds import Contest, Rules
from peers.task import Task
from peers.unsupported import UnsupportedError

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("onnxruntime", "openvino", "torch", "ncnn", "litert")
T = TypeVar("T")


def zoo() -> dict[str, Path]:
    """The networks by name."""
    paths = [*sorted((ROOT / "examples" / "zoo").glob("*.cnn"))]
    paths += [ROOT / "examples" / "digits" / "digits.cnn"]
    return {path.stem: path for path in paths}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; exit code 1 if any network could not be run at all."""
    options = parse(arguments)
    results = Results(describe_machine(), settings_of(options))
    with show_progress() as progress:
        try:
            for row in run_all(options, progress):
                results.rows.append(row)
                if options.json:
                    results.write(options.json)
        except KeyboardInterrupt:
            progress.done("interrupted")
    print(format_report(results))
    return int(any(row.failed is not None for row in results.rows))


def parse(arguments: Sequence[str] | None) -> Namespace:
    """The command's options."""
    parser = ArgumentParser(prog="peers.py", description="cnnc and other runtimes on the zoo.")
    known, rules = zoo(), Rules()
    add = parser.add_argument
    add("--nets", type=names_of(known), default=[*known], help="names, with commas; all of the zoo")
    add("--peers", type=names_of(PEERS), default=[*PEERS], help=f"of {', '.join(PEERS)}")
    add("--threads", type=_numbers, default=[1, 2], help="numbers of threads; 1,2")
    add("--batch", type=_numbers, default=[1, 8], help="numbers of samples; 1,8")
    add("--rounds", type=number_of(int), default=rules.rounds, help="turns of each; %(default)s")
    add("--seconds", type=number_of(float), default=rules.seconds, help="of a turn; %(default)s")
    add(
        "--calls", type=number_of(int), default=rules.calls, help="of a turn, at least; %(default)s"
    )
    add("--timeout", type=number_of(float), default=rules.timeout, help="seconds; %(default)s")
    add("--cpu", default="native", help="what cnnc compiles for, as x86-64-v3; native")
    add("--json", type=Path, help="a file for everything that is found")
    options = parser.parse_args(arguments)
    cores = len(available_cores())
    if max(options.threads) > cores:
        parser.error(f"{max(options.threads)} threads, and there are {cores} cores to run on")
    if options.json and not options.json.resolve().parent.is_dir():
        parser.error(f"there is no folder for {options.json}")
    return options


def settings_of(options: Namespace) -> dict[str, object]:
    """The options as data, and when it began."""
    given = {name: value for name, value in vars(options).items() if name != "json"}
    return {
        **given,
        "tolerance": TOLERANCE,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def run_all(options: Namespace, progress: Progress) -> Iterator[Row]:
    """A row for each combination, as soon as it is finished."""
    rules = Rules(options.rounds, options.seconds, options.calls, options.timeout)
    for net, batch in product(options.nets, options.batch):
        with tempfile.TemporaryDirectory(prefix="peers-") as folder:
            macs, reason = 0, None
            progress.step(f"{net}, batch {batch}: writing the model")
            task = Task(str(zoo()[net]), batch, 1, options.cpu, folder)
            try:
                macs = prepare(task)
            except (CnncError, UnsupportedError) as error:
                reason = str(error).strip()
            for threads in options.threads:
                row = Row(net, batch, threads, macs, failed=reason)
                title = f"{net}, batch {batch}, threads {threads}"
                say = prefixed(progress.step, title)
                if reason is None:
                    names = [CNNC, *options.peers]
                    contest = Contest(rules, names, available_cores(), say)
                    contest.run(Task(task.net, batch, threads, options.cpu, folder), row)
                progress.done(f"{title}: {_summary(row)}")
                yield row


def prefixed(say: Callable[[str], None], title: str) -> Callable[[str], None]:
    return lambda text: say(f"{title}: {text}")


def _summary(row: Row) -> str:
    if row.failed is not None:
        return row.failed
    cells = (f"{name} {milliseconds(each)}" for name, each in row.figures.items())
    return ", ".join(cells) + " ms"


def names_of(known: Sequence[str] | dict[str, Path]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        found = [part for part in text.split(",") if part]
        if wrong := [name for name in found if name not in known]:
            sys.stderr.write(f"known are {', '.join(known)}\n")
            raise ValueError(wrong)
        return [*dict.fromkeys(found)]

    return names


def _numbers(text: str) -> list[int]:
    return [*dict.fromkeys(number_of(int)(part) for part in text.split(","))]


def number_of(kind: Callable[[str], T]) -> Callable[[str], T]:
    def positive(text: str) -> T:
        number = kind(text)
        if not number > 0:  # type: ignore[operator]
            raise ValueError(text)
        return number

    positive.__name__ = "number"
    return positive
