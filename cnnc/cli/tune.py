"""`cnnc tune`: measure which choices are fastest for each layer."""

from pathlib import Path

import click

from cnnc.base.errors import fail
from cnnc.cli.console import print_json, progress, remark, say
from cnnc.cli.options import (
    Net,
    PathType,
    beside,
    exact_option,
    json_option,
    net_options,
    target_option,
    warn_of_threads,
)
from cnnc.files import check_file, keep_files
from cnnc.frontend.settings import Batch
from cnnc.options import Options
from cnnc.tunefile import SUFFIX
from cnnc.tuning.tune import tune as measure


@click.command(short_help="Measure which algorithm and sizes are fastest for each layer.")
@net_options
@click.option(
    "-o",
    "--output",
    type=PathType(),
    help=f"The tune file; FILE with the suffix {SUFFIX} if left out.",
)
@click.option("--seconds", default=60.0, show_default=True, help="About how long to measure.")
@click.option("--again", is_flag=True, help="Measure what the file has already, too.")
@target_option
@click.option("--threads", default=1, show_default=True, help="Threads that share each layer.")
@exact_option
@json_option
def tune(
    file: Path,
    net: str | None,
    settings: tuple[str, ...],
    batch: Batch | None,
    output: Path | None,
    seconds: float,
    again: bool,
    target: str,
    threads: int,
    exact: bool,
    as_json: bool,
) -> None:
    """Measure what may be chosen for each layer, and write what gains into a tune file.

    The file is whole after every layer: stop at any time, and run it again to go on. `--tuning` of
    other verbs takes it.
    """
    if not 0 < seconds < 1e6:
        raise fail("E0803", f"--seconds is {seconds}, it must be positive")
    output = output or beside(file, SUFFIX)
    check_file(output, SUFFIX)
    model = Net(file, net, settings, batch).load()
    keep_files(output, (file, *model.files))
    options = Options(target, "native", threads, exact)
    warn_of_threads(threads)
    try:
        with progress(f"tuning {model.name}") as advance:
            report = measure(model.graph, options, output, seconds, again=again, progress=advance)
    except KeyboardInterrupt:
        if output.exists():
            remark(f"what was measured is in {output}: run it again to go on")
        raise
    if as_json:
        print_json({"ok": True, **report.to_json()})
    else:
        say(report.format())
