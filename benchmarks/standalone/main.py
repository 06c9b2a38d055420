"""The command: every form of every network, in turns."""

import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from peers.machine import available_cores, describe_machine
from peers.main import names_of, number_of, prefixed, zoo
from peers.process import Process, Worker
from peers.progress import Progress, show_progress
from peers.report import milliseconds
from peers.results import CNNC, Figure, Results, Row
from peers.rounds import Contest, Rules
from peers.task import Task
from peers.unsupported import UnsupportedError

from cnnc.base.errors import CnncError
from standalone.forms import FORMS, Form
from standalone.prepare import prepare
from standalone.process import FormProcess
from standalone.report import format_report

NETS = ("resnet18", "mobilenet_v2", "ds_cnn", "lenet5")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; exit code 1 if any network could not be run at all."""
    options = parse(arguments)
    names = [CNNC, *(name for name in options.forms if name != CNNC)]
    settings = {"rounds": options.rounds, "seconds": options.seconds, "forms": names}
    results = Results(describe_machine(), settings)
    with show_progress() as progress:
        try:
            for net in options.nets:
                results.rows.append(run_net(net, names, options, progress))
                if options.json:
                    results.write(options.json)
        except KeyboardInterrupt:
            progress.done("interrupted")
    print(format_report(results, names))
    return int(any(row.failed is not None for row in results.rows))


def parse(arguments: Sequence[str] | None) -> Namespace:
    """The command's options."""
    parser = ArgumentParser(prog="standalone.py", description="Forms of networks as native code.")
    add, rules = parser.add_argument, Rules()
    add("--nets", type=names_of(zoo()), default=[*NETS], help=f"with commas; {','.join(NETS)}")
    add("--forms", type=names_of(FORMS), default=[*FORMS], help=f"of {'; '.join(FORMS)}")
    add("--rounds", type=number_of(int), default=rules.rounds, help="turns of each; %(default)s")
    add("--seconds", type=number_of(float), default=rules.seconds, help="of a turn; %(default)s")
    add(
        "--calls", type=number_of(int), default=rules.calls, help="of a turn, at least; %(default)s"
    )
    add("--timeout", type=number_of(float), default=rules.timeout, help="seconds; %(default)s")
    add("--json", type=Path, help="a file for everything that is found")
    options = parser.parse_args(arguments)
    if options.json and not options.json.resolve().parent.is_dir():
        parser.error(f"there is no folder for {options.json}")
    return options


def run_net(net: str, names: Sequence[str], options: Namespace, progress: Progress) -> Row:
    """Build all forms of a network and let them take turns."""
    rules = Rules(options.rounds, options.seconds, options.calls, options.timeout)
    row, cores = Row(net, 1, 1), available_cores()
    with tempfile.TemporaryDirectory(prefix="standalone-") as folder:
        task = Task(str(zoo()[net]), 1, 1, "native", folder)
        say = prefixed(progress.step, net)
        try:
            shop = prepare(task, cores[-1:])
            row.macs = shop.macs
        except (CnncError, UnsupportedError) as error:
            row.failed = str(error).strip()
            return row
        forms = dict[str, Form]()
        for name in names:
            say(f"building {name}")
            place = Path(folder, name)
            place.mkdir()
            try:
                forms[name] = FORMS[name](shop, place)
            except UnsupportedError as error:
                row.figures[name] = Figure(failed=str(error))
        start = partial(_start, forms)
        Contest(rules, [*forms], cores, say, start).run(task, row)
        for name, form in forms.items():
            row.figures[name].version = form.version
    cells = (f"{name} {milliseconds(each)}" for name, each in row.figures.items())
    progress.done(f"{net}: {', '.join(cells)} ms")
    return row


def _start(forms: Mapping[str, Form], name: str, task: Task, cores: Sequence[int]) -> Process:
    if name == "peak":  # of the machine, which no form is
        return Worker(name, task, cores)
    return FormProcess(name, task, cores, forms[name].command)
