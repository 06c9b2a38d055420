"""`cnnc show`: what the compiler makes of a network, stage by stage."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from cnnc import driver, gpu
from cnnc.api import Model
from cnnc.base.errors import UserError, did_you_mean, fail
from cnnc.base.target import Target
from cnnc.cli.console import say
from cnnc.cli.options import (
    Net,
    exact_option,
    machine_for,
    net_options,
    plan,
    target_option,
    threads_option,
    tuning_option,
)
from cnnc.cli.show_ast import format_ast
from cnnc.frontend.files import read_source
from cnnc.frontend.parse import parse
from cnnc.frontend.settings import Batch
from cnnc.ir.graph import Graph
from cnnc.ir.text import format_graph
from cnnc.listing import computed_within
from cnnc.loop.kernel import Place, Program, Region
from cnnc.loop.text import print_kernel, samples_text
from cnnc.lowering.lowered import Layer, Lowered
from cnnc.options import Options
from cnnc.tunefile import read_choices

_MOST_NAMES = 12
STAGES = ("ast", "graph", "loops", "flat", "program", "llvm", "asm", "c", "cuda")


@click.command(short_help="The network at any stage of the compiler.")
@net_options
@click.option(
    "--stage", type=click.Choice(STAGES), default="graph", show_default=True, help="What to show."
)
@click.option("--after", metavar="PASS", help="The graph after this pass; `source` is before all.")
@click.option("--layer", metavar="NAME", help="Only this layer's loops or code.")
@target_option
@threads_option
@exact_option
@tuning_option
def show(
    file: Path,
    net: str | None,
    settings: tuple[str, ...],
    batch: Batch | None,
    stage: str,
    after: str | None,
    layer: str | None,
    target: str,
    threads: int,
    exact: bool,
    tuning: Path | None,
) -> None:
    """Show the AST, the graph after any pass, the loops, or the generated code."""
    if after and stage != "graph":
        raise fail("E0803", "--after goes with --stage graph")
    if layer is not None and stage in ("ast", "graph", "program"):
        which_do = "loops, flat, llvm, asm, c or cuda"
        raise fail("E0803", f"--layer goes with --stage {which_do}, not with {stage}")
    which = Net(file, net, settings, batch)
    if stage == "ast" and not which.is_compiled:
        say(format_ast(parse(read_source(file))))
        return
    model = which.load()
    options = Options(target, threads=threads, exact=exact, tuning=tuning)
    if stage == "graph":
        machine = machine_for(options)
        choices = read_choices(tuning, machine, exact=exact)
        if tuning is not None:  # is the file for it?
            driver.prepare(model.graph, machine, exact=exact, choices=choices)
        passes = driver.pipeline(machine, exact=exact, choices=choices)
        say(format_graph(_graph_after(model, passes, after), places=True).rstrip("\n"))
        return
    machine, lowered = plan(model, options)
    if (stage == "cuda") != machine.is_gpu and stage in ("llvm", "asm", "cuda"):
        help = "write `--target cuda --stage cuda`, or another target"
        raise fail("E0803", f"--stage {stage} does not go with --target {target}", help=help)
    if layer is not None:
        layer = _compiled_name(layer, model.graph, lowered)
    for text in _texts(stage, lowered, machine, layer):
        say(text.rstrip("\n"))


def _graph_after(model: Model, passes: Sequence[driver.Pass], after: str | None) -> Graph:
    graphs: dict[str, Graph] = {}
    known = [driver.SOURCE, *(each.name for each in passes)]
    wanted = after or known[-1]
    if wanted not in known:
        help = did_you_mean(wanted, known) or f"the passes are {', '.join(known)}"
        raise fail("E0803", f"there is no pass `{wanted}`", help=help)
    driver.optimise(model.graph, passes, graphs.__setitem__)
    return graphs[wanted]


def _texts(stage: str, lowered: Lowered, machine: Target, name: str | None) -> Iterator[str]:
    program = lowered.program
    if stage == "program":
        yield format_program(program)
        return
    if stage == "c" and name is None:
        yield driver.show_c(lowered, machine)
        return
    if stage == "cuda" and name is None:
        yield gpu.show_cuda(lowered, None, machine)
        return
    layers = lowered.layers if name is None else (_find_layer(lowered, name),)
    if stage == "loops":
        yield from (print_kernel(layer.kernel) for layer in layers)
        return
    kernels = dict.fromkeys(program.steps[layer.step].kernel for layer in layers)
    for number in kernels:
        match stage:
            case "flat":
                yield print_kernel(program.kernels[number])
            case "llvm":
                yield driver.show_llvm(lowered, number, machine)
            case "c":
                yield driver.show_c(lowered, machine, [number])
            case "asm":
                yield driver.show_assembly(lowered, number, machine)
            case "cuda":
                yield gpu.show_cuda(lowered, number, machine)


def _find_layer(lowered: Lowered, name: str) -> Layer:
    return next(layer for layer in lowered.layers if layer.node.name == name)


def _compiled_name(name: str, source: Graph, lowered: Lowered) -> str:
    """The compiled layer of a name, which may be an output's; UserError says where others went."""
    known = [layer.node.name for layer in lowered.layers]
    if name in known:
        return name
    written = {node.name: node for node in source.nodes}
    node = written.get(name) or source.outputs.get(name)
    if node is None:
        raise _no_layer(name, known, written)
    if node.name in known:
        return node.name
    within = computed_within(source, lowered, node.name)
    if within is not None:
        help = f"show that: `--layer {within}`"
        raise fail("E0201", f"`{name}` is computed within `{within}`", help=help)
    why = "is an input" if node.is_leaf else "has no step of its own: nothing is computed for it"
    raise fail("E0201", f"`{name}` {why}", help="see `cnnc show --stage program`")


def _no_layer(name: str, known: Sequence[str], written: Iterable[str]) -> UserError:
    more = ["…"] if len(known) > _MOST_NAMES else []
    inside = [f"`{each}`" for each in known if each.startswith(f"{name}.")]
    help = did_you_mean(name, [*known, *written])
    if inside:
        help = f"name one of its layers, such as {', '.join(inside[:2])}"
    return fail(
        "E0201",
        f"no compiled layer is called `{name}`",
        notes=(f"the layers are {', '.join([*known[:_MOST_NAMES], *more])}",),
        help=help or "see `cnnc show --stage program`",
    )


def format_program(program: Program) -> str:
    """Ports, sizes and steps of a program, one line each."""
    lines = [f"program {program.name}"]
    for word, ports in (("input", program.inputs), ("output", program.outputs)):
        for port in ports:
            lines.append(f"  {word} {port.name}: {port.dtype}[{', '.join(map(str, port.shape))}]")
    a_thread = " a thread" * program.apart
    lines.append(
        f"  weights {program.weights_bytes} bytes, arena {program.arena_bytes} bytes{a_thread}"
    )
    lines += [f"  steps for {samples_text(program)}"] * program.apart
    for step in program.steps:
        if step.barrier:
            lines.append("  barrier")
        kernel = program.kernels[step.kernel]
        arguments = ", ".join(
            f"{param.name} = {_format_place(place, program)}"
            for param, place in zip(kernel.params, step.places, strict=True)
        )
        alone = "" if step.shared else "alone "
        lines.append(f"  {alone}{kernel.name}({arguments})  # {step.layer}")
    return "\n".join(lines)


def _format_place(place: Place, program: Program) -> str:
    match place.region:
        case Region.INPUT:
            return program.inputs[place.index].name
        case Region.OUTPUT:
            return program.outputs[place.index].name
    return f"{place.region.value}+{place.offset}"
