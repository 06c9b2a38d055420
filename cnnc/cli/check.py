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
from cnnc.gpu import Need, measure_need
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
    made, found, limits = None, None, Limits(ram, flash, stack)
    if not no_weights:
        model.checks()
        machine, lowered = plan(model, options)
        program = lowered.program
        made = measure_need(program, machine) if machine.is_gpu else program
    if sizes or limits != Limits():
        found = _sizes(model, options, limits)
    if as_json:
        print_json(_as_json(model, made, found))
    else:
        say(_as_text(model, made, found))


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


def _as_text(model: Model, made: Program | Need | None, sizes: Sizes | None) -> str:
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
    if made:
        lines.append(f"compiled: {_made_text(made)}")
        if made.arena_bytes < largest:
            lines.append(
                "a result may be larger than the arena, which has no outputs in it, and nothing "
                "that is computed within other layers, or some samples or rows at a time"
            )
    if sizes:
        lines += ["standing alone:", sizes.describe()]
    return "\n".join(lines)


def _made_text(made: Program | Need) -> str:
    if isinstance(made, Need):
        return (
            f"{plural(made.launches, 'kernel')} a run, {made.kernels} of them distinct, "
            f"weights {bytes_text(made.weights_bytes)}, arena {bytes_text(made.arena_bytes)}"
        )
    return (
        f"{plural(len(made.steps), 'step')} of "
        f"{plural(len(made.kernels), 'distinct kernel')}, "
        f"weights {bytes_text(made.weights_bytes)}, "
        f"{'samples one after the other, ' * made.apart}"
        f"arena {bytes_text(made.arena_bytes)} {'for each thread ' * made.apart}"
        f"(at least {bytes_text(made.arena_bound)} are alive at once)"
        + f", scratch {bytes_text(made.scratch_bytes)} a thread"
        * bool(made.scratch_bytes)
    )


def _as_json(model: Model, made: Program | Need | None, sizes: Sizes | None) -> Json:
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
        "compiled": _made_json(made) if made else None,
        "sizes": sizes.to_json() if sizes else None,
        "diagnostics": [to_json(each) for each in model.warnings],
    }


def _made_json(made: Program | Need) -> Json:
    if isinstance(made, Need):
        return {
            "launches": made.launches,
            "kernels": made.kernels,
            "weights_bytes": made.weights_bytes,
            "arena_bytes": made.arena_bytes,
        }
    return {
        "steps": len(made.steps),
        "kernels": len(made.kernels),
        "weights_bytes": made.weights_bytes,
        "arena_bytes": made.arena_bytes,
        "samples_apart": made.apart,
        "arena_bound_bytes": made.arena_bound,
        "scratch_bytes_a_thread": made.scratch_bytes,
    }
