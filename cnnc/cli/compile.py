"""`cnnc compile`: a file that runs without compiling."""

from pathlib import Path

import click

from cnnc.artifact import SUFFIX
from cnnc.cli.console import print_json, say
from cnnc.cli.options import Net, PathType, beside, compile_options, json_option, net_options
from cnnc.files import check_file, keep_files
from cnnc.frontend.settings import Batch
from cnnc.options import Options
from cnnc.table import bytes_text, plural


@click.command("compile", short_help="Write a file that runs without compiling.")
@net_options
@click.option(
    "-o",
    "--output",
    type=PathType(),
    help=f"Where to write it; FILE with the suffix {SUFFIX} if left out.",
)
@compile_options("native")
@json_option
def compile_(
    file: Path,
    net: str | None,
    settings: tuple[str, ...],
    batch: Batch | None,
    output: Path | None,
    target: str,
    backend: str,
    threads: int,
    exact: bool,
    tuning: Path | None,
    as_json: bool,
) -> None:
    """Compile a network into one file: machine code, weights, and the file's check vectors.

    `cnnc run`, `bench` and `check` take it instead of the text, on machines like this one. It holds
    machine code: run only files you trust.
    """
    output = output or beside(file, SUFFIX)
    check_file(output, SUFFIX)
    options = Options(target, backend, threads, exact, tuning)
    which = Net(file, net, settings, batch)
    model = which.load()
    keep_files(output, which.read_for(model, options))
    compiled = which.compile_loaded(model, options)
    checks = model.checks()
    compiled.save(output, checks)
    size, program = output.stat().st_size, compiled.lowered.program
    if as_json:
        print_json(
            {
                "ok": True,
                "path": str(output),
                "threads": threads,
                "bytes": size,
                "weights_bytes": program.weights_bytes,
                "arena_bytes": program.arena_bytes,
                "steps": len(program.steps),
                "checks": len(checks),
            }
        )
        return
    say(
        f"{output}: {bytes_text(size)}, weights {bytes_text(program.weights_bytes)}, "
        f"{plural(len(program.steps), 'step')}, {plural(len(checks), 'check')}"
    )
