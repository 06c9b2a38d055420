"""`cnnc check`: shapes, parameters, MACs and memory, without running anything."""

from pathlib import Path

import click

from cnnc.api import Model
from cnnc.base.report import Json, to_json
from cnnc.cli import check_compiled
from cnnc.cli.console import print_json, say, working
from cnnc.cli.options import (
    Net,
    exact_option,
    json_option,
    limit_options,
    net_options,
    plan,
    target_option,
    threads_option,
    tuning_option,
)
from cnnc.frontend.settings import Batch
from cnnc.loop.kernel import Program
from cnnc.options import Options
from cnnc.standalone.limits import check_limits
from cnnc.standalone.request import Limits, Request
from cnnc.standalone.sizes import Sizes, measure_sizes
from cnnc.standalone.unit import Unit
from cnnc.table import bytes_text, count_text, plural, shape_text


@click.command(short_help="Shapes, parameters, MACs and memory per layer.")
@net_options
@target_option
@threads_option
@exact_option
@tuning_option
@click.option("--sizes", is_flag=True, help="What it takes when it stands alone: RAM and flash.")
@limit_options
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
    sizes: bool,
    ram: int | None,
    flash: int | None,
    stack: int | None,
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
    program, found, limits = None, None, Limits(ram, flash, stack)
    if not no_weights:
        model.checks()
        program = plan(model, options)[1].program
    if sizes or limits != Limits():
        found = _sizes(model, options, limits)
    if as_json:
        print_json(_as_json(model, program, found))
    else:
        say(_as_text(model, program, found))


def _sizes(model: Model, options: Options, limits: Limits) -> Sizes:
    """What the network takes where it stands alone; UserError where that is over a limit."""
    request = Request(
        target=options.target,
        threads=options.threads,
        exact=options.exact,
        tuning=options.tuning,
        limits=limits,
    )
    unit = Unit(model, request)
    with working(f"measuring {model.name}"):
        found = measure_sizes(unit)
    check_limits(unit, found)
    return found


def _as_text(model: Model, program: Program | None, sizes: Sizes | None) -> str:
    lines = [model.layers.format(), ""]
    for kind, ends in (("input", model.inputs), ("output", model.outputs)):
        lines += [f"{kind:6} {name}: {shape_text(shape)}" for name, shape in ends.items()]
    if model.fewest < model.batch:
        lines.append(f"any batch of {model.fewest}..{model.batch}")
    largest = max((layer.bytes for layer in model.layers), default=0)
    lines.append(
        f"{count_text(model.parameters)} parameters, {count_text(model.macs)} MACs, "
        f"largest result {bytes_text(largest)}"
    )
    if program:
        lines.append(
            f"compiled: {plural(len(program.steps), 'step')} of "
            f"{plural(len(program.kernels), 'distinct kernel')}, "
            f"weights {bytes_text(program.weights_bytes)}, "
            f"{'samples one after the other, ' * program.apart}"
            f"arena {bytes_text(program.arena_bytes)} {'for each thread ' * program.apart}"
            f"(at least {bytes_text(program.arena_bound)} are alive at once)"
            + f", scratch {bytes_text(program.scratch_bytes)} a thread"
            * bool(program.scratch_bytes)
        )
    if sizes:
        lines += ["standing alone:", sizes.describe()]
    return "\n".join(lines)


def _as_json(model: Model, program: Program | None, sizes: Sizes | None) -> Json:
    compiled: Json = None
    if program:
        compiled = {
            "steps": len(program.steps),
            "kernels": len(program.kernels),
            "weights_bytes": program.weights_bytes,
            "arena_bytes": program.arena_bytes,
            "samples_apart": program.apart,
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
        "sizes": sizes.to_json() if sizes else None,
        "diagnostics": [to_json(each) for each in model.warnings],
    }
