"""`cnnc bench`: time per layer, against what the machine can do."""

from pathlib import Path

import click

from cnnc.base.errors import fail
from cnnc.bench import bench as measure
from cnnc.cli.console import print_json, progress, say
from cnnc.cli.options import (
    COMPILED,
    Net,
    compile_options,
    is_given,
    json_option,
    net_options,
    seed_option,
)
from cnnc.frontend.settings import Batch
from cnnc.options import Options


@click.command(short_help="Time per layer against the machine's limits.")
@net_options
@click.option("--seconds", default=2.0, show_default=True, help="About how long to measure.")
@seed_option("Of the random inputs.")
@compile_options(*COMPILED)
@json_option
def bench(
    file: Path,
    net: str | None,
    settings: tuple[str, ...],
    batch: Batch | None,
    seconds: float,
    seed: int,
    target: str,
    backend: str,
    threads: int,
    exact: bool,
    tuning: Path | None,
    as_json: bool,
) -> None:
    """Time each layer and the whole: GFLOP/s, and how near to this machine's measured limits.

    Of a compiled file, the whole alone.
    """
    if not 0 < seconds < 1e6:
        raise fail("E0803", f"--seconds is {seconds}, it must be positive")
    which, options = (
        Net(file, net, settings, batch),
        Options(target, backend, threads, exact, tuning),
    )
    network, _ = which.network(options, threads_given=is_given("threads"))
    with progress(f"timing {network.name}") as advance:
        report = measure(network, seconds, seed=seed, progress=advance)
    if as_json:
        print_json({"ok": True, **report.to_json()})
    else:
        say(report.format())
