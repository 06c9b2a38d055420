"""`cnnc diff`: generated code against the reference, layer by layer."""

from pathlib import Path

import click

from cnnc.arrays import Source, read_inputs
from cnnc.cli.console import print_json, progress, remark, say
from cnnc.cli.options import (
    COMPILED,
    Net,
    compile_options,
    json_option,
    net_options,
    seed_option,
    threads_of,
)
from cnnc.compare.compare import compare
from cnnc.frontend.settings import Batch
from cnnc.options import Options
from cnnc.table import plural

SLOW = "interp"
"""The backend that takes seconds for each sample."""


@click.command(short_help="Generated code against the reference, layer by layer.")
@net_options
@click.option(
    "-i", "--input", "inputs", multiple=True, metavar="[NAME=]PATH", help="Inputs to compare on."
)
@seed_option("Of random inputs, and of rounding.")
@compile_options(*COMPILED)
@json_option
@click.pass_context
def diff(
    context: click.Context,
    file: Path,
    net: str | None,
    settings: tuple[str, ...],
    batch: Batch | None,
    inputs: tuple[str, ...],
    seed: int,
    target: str,
    backend: str,
    threads: int,
    exact: bool,
    tuning: Path | None,
    as_json: bool,
) -> None:
    """Compare a compiled network with its reference, layer by layer.

    Without inputs it takes those of the file's `check` clause, or random ones; `interp` takes one
    batch of that clause. Exit code 2 means
    that cnnc computes something wrong, 1 that a check file is not matched.
    """
    model, compiled = Net(file, net, settings, batch).compile(
        Options(target, backend, threads, exact, tuning)
    )
    given, checks = None, model.checks()
    if backend == SLOW and any(check.samples > model.batch for check in checks):
        remark(
            f"note: `{SLOW}` takes long, so of check files it takes the first "
            f"{plural(model.batch, 'sample')} only; `--input` gives it others"
        )
        checks = tuple(check.first(model.batch) for check in checks)
    if inputs:
        read = read_inputs(compiled.interface, [Source.parse(text) for text in inputs])
        for note in read.notes:
            remark(f"note: {note}")
        given = read.arrays
    with progress(f"comparing {model.name}") as advance:
        report = compare(compiled, checks, given, seed=seed, progress=advance)
    if as_json:
        print_json({**report.to_json(), "threads": threads_of(compiled)})
    else:
        say(report.format())
    context.exit(2 if report.is_bug else 0 if report.ok else 1)
