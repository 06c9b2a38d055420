"""`cnnc check`: shapes, parameters, MACs and memory, without running anything."""

from pathlib import Path

import click

from cnnc.api import Model
from cnnc.base.report import Json, to_json
from cnnc.cli import check_compiled
from cnnc.cli.console import print_json, say
from cnnc.cli.options import (
    Net,
    exact_option,
    json_option,
    net_options,
    plan,
    target_option,
    threads_option,
    tuning_option,
)
from cnnc.frontend.settings import Batch
from cnnc.loop.kernel import Program
from cnnc.options import Options
from cnnc.table import bytes_text, count_text, plural, shape_text


@click.command(short_help="Shapes, parameters, MACs and memory per layer.")
@net_options
@target_option
@threads_option
@exact_option
@tuning_option
@click.option("--no-weights", is_flag=True, help="Shapes only: open no weights or check file.")
@json_option
def check(
    file: Path,
    net: str | None,
    settings: tuple[str, ...],
    batch: Batch | None,
    target: str,
    threads: int,
    exact: bool,
    tuning: Path | None,
    no_weights: bool,
    as_json: bool,
) -> None:
    """Check a network: shapes, parameters, MACs and memory of each layer.

    A compiled file's check vectors are run too.
    """
    which = Net(file, net, settings, batch)
    options = Options(target, threads=threads, exact=exact, tuning=tuning)
    if which.is_compiled:
        network = which.loaded(options)
        if as_json:
            print_json(check_compiled.to_json(network))
        else:
            say(check_compiled.describe(network))
        return
    model = which.load(weights=not no_weights)
    program = None
    if not no_weights:
        model.checks()
        program = plan(model, options)[1].program
    if as_json:
        print_json(_as_json(model, program))
    else:
        say(_as_text(model, program))


def _as_text(model: Model, program: Program | None) -> str:
    lines = [model.layers.format(), ""]
    for kind, ends in (("input", model.inputs), ("output", model.outputs)):
        lines += [f"{kind:6} {name}: {shape_text(shape)}" for name, shape in ends.items()]
    if model.fewest < model.batch:
        lines.append(f"any batch of {model.fewest}..{model.batch}, planned for the largest")
    largest = max((layer.bytes for layer in model.layers), default=0)
    lines.append(
        f"{count_text(model.parameters)} parameters, {count_text(model.macs)} MACs, "
        f"largest result {bytes_text(largest)}"
    )
    if program:
        lines.append(
            f"compiled: {plural(len(program.steps), 'step')} of "
            f"{plural(len(program.kernels), 'distinct kernel')}, "
            f"weights {bytes_text(program.weights_bytes)}, arena {bytes_text(program.arena_bytes)} "
            f"(at least {bytes_text(program.arena_bound)} are alive at once)"
            + f", scratch {bytes_text(program.scratch_bytes)} a thread"
            * bool(program.scratch_bytes)
        )
    return "\n".join(lines)


def _as_json(model: Model, program: Program | None) -> Json:
    compiled: Json = None
    if program:
        compiled = {
            "steps": len(program.steps),
            "kernels": len(program.kernels),
            "weights_bytes": program.weights_bytes,
            "arena_bytes": program.arena_bytes,
            "arena_bound_bytes": program.arena_bound,
            "scratch_bytes_a_thread": program.scratch_bytes,
        }
    return {
        "ok": True,
        "net": model.name,
        "batch": model.batch,
        "fewest": model.fewest,
        "params": dict(model.params),
        "inputs": {name: list(shape) for name, shape in model.inputs.items()},
        "outputs": {name: list(shape) for name, shape in model.outputs.items()},
        "parameters": model.parameters,
        "macs": model.macs,
        "layers": [layer.to_json() for layer in model.layers],
        "compiled": compiled,
        "diagnostics": [to_json(each) for each in model.warnings],
    }
