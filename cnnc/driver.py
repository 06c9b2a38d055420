"""The pipeline: every stage and every pass in order, verified, timed and dumped in between."""

from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cnnc.backends.base import Backend, Executable
from cnnc.backends.registry import BACKENDS, load_backend
from cnnc.base.choice import ESTIMATED, Choices
from cnnc.base.collector import paused
from cnnc.base.errors import CnncError, InternalError, did_you_mean, fail
from cnnc.base.record import record
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.cache import open_cache
from cnnc.files import keep_evidence, write_dump
from cnnc.ir.graph import Graph, Node
from cnnc.ir.text import format_graph
from cnnc.ir.verify import verify
from cnnc.listing import operator_text
from cnnc.loop.kernel import Kernel
from cnnc.lowering.lowered import Lowered
from cnnc.machine import say, timed
from cnnc.offers.offer import keys_chosen
from cnnc.options import REFERENCE, Knobs, Options, read_knobs
from cnnc.passes.assign_layouts import assign_layouts
from cnnc.passes.fold_batchnorm import fold_batchnorm
from cnnc.passes.fold_constants import fold_constants
from cnnc.passes.fuse import fuse
from cnnc.passes.lay_channels_last import lay_channels_last
from cnnc.passes.merge_convs import merge_convs
from cnnc.passes.order_concats import order_concats
from cnnc.passes.share_common import share_common
from cnnc.passes.share_memory import share_memory
from cnnc.passes.shuffle_channels import shuffle_channels
from cnnc.passes.simplify import simplify
from cnnc.passes.stream_rows import stream_rows
from cnnc.passes.take_apart import take_apart
from cnnc.passes.use_strassen import use_strassen
from cnnc.passes.use_subpixel import use_subpixel
from cnnc.passes.use_winograd import use_winograd

if TYPE_CHECKING:
    from cnnc.backends.native.backend import Image
    from cnnc.backends.native.objects import Ahead
    from cnnc.backends.native.peak import Peak

Rewrite = Callable[[Graph], Graph]
Observe = Callable[[str, Graph], None]
"""Called with a pass's name and the graph after it; first with `source` and the graph as built."""

SOURCE = "source"
BACKEND_NAMES = (*BACKENDS, REFERENCE)


@record
class Pass:
    """A step of the pipeline: the name `--after` knows it by, and the rewrite."""

    name: str
    run: Rewrite


def pipeline(
    target: Target, *, exact: bool = False, choices: Choices = ESTIMATED, far: bool | None = None
) -> tuple[Pass, ...]:
    """All passes, in order. None removes dead code: a graph is what its outputs need.

    With `exact`, none that rounds more. `far` is for a layer alone (see `use_winograd` and
    `use_strassen`). A GPU takes those that are the same for every machine, and its own layouts.
    """
    return (
        # first: what is known now need not be matched by anything below
        Pass("fold-constants", fold_constants),
        # dropout, id and the like would stand between what is joined below
        Pass("simplify", simplify),
        # before anything is folded into weights: branches with the same start are still equal
        Pass("share-common", share_common),
        # a batchnorm behind a concat stands right behind a conv then
        Pass("merge-convs", lambda graph: merge_convs(graph, target)),
        # while batchnorm still stands right behind its conv or dense
        Pass("fold-batchnorm", fold_batchnorm),
        *(_for_gpu() if target.is_gpu else _for_cpu(target, exact, choices, far)),
        # last: who lies inside whom depends on layouts
        Pass("share-memory", share_memory),
    )


def _for_gpu() -> tuple[Pass, ...]:
    return (
        # operators are final: join each with the pointwise chain behind it
        Pass("fuse", fuse),
        # every tensor that will exist in memory is now a node
        Pass("lay-channels-last", lay_channels_last),
    )


def _for_cpu(target: Target, exact: bool, choices: Choices, far: bool | None) -> tuple[Pass, ...]:
    winograd = Pass("use-winograd", lambda graph: use_winograd(graph, target, choices, far=far))
    strassen = Pass("use-strassen", lambda graph: use_strassen(graph, target, choices, far=far))
    return (
        Pass("shuffle-channels", shuffle_channels),
        # what is chosen below is chosen for the samples that run together
        Pass("take-apart", lambda graph: take_apart(graph, target)),
        # weights are final, and what it makes may take Winograd's algorithm
        Pass("use-subpixel", lambda graph: use_subpixel(graph, target, exact=exact)),
        # weights are final, and nothing has joined the convolution
        *(() if exact else (winograd,)),
        # operators are final: join each with the pointwise chain behind it
        Pass("fuse", lambda graph: fuse(graph, target)),
        # every tensor that will exist in memory is now a node, and all weights are final
        Pass("order-concats", lambda graph: order_concats(graph, target)),
        Pass("assign-layouts", lambda graph: assign_layouts(graph, target, choices)),
        # layouts are known, and with them what would be computed alone
        *(() if exact else (strassen,)),
        # all tensors lie as they will: how much of them leaves the caches is known
        Pass("stream-rows", lambda graph: stream_rows(graph, target, choices)),
    )


def optimise(
    graph: Graph,
    passes: Sequence[Pass],
    observe: Observe = lambda name, graph: None,
    knobs: Knobs | None = None,
) -> Graph:
    """The graph after all passes, verified after each that changes it; InternalError names it."""
    knobs = knobs or read_knobs()
    _check(SOURCE, graph, graph)
    _show_graph(SOURCE, graph, knobs)
    observe(SOURCE, graph)
    for number, each in enumerate(passes, start=1):
        # graphs and loops have no cycles: the collector would find nothing in what is dropped
        with timed(each.name, knobs), paused():
            before, graph = graph, _run_pass(each, graph)
        if graph is not before and knobs.debug >= 1:
            say(f"{each.name}: {len(before.nodes)} → {len(graph.nodes)} nodes")
        _show_graph(f"{number}-{each.name}", graph, knobs)
        observe(each.name, graph)
    return graph


def _run_pass(each: Pass, graph: Graph) -> Graph:
    try:
        result = each.run(graph)
    except CnncError:
        raise
    except Exception as error:
        raise _bug(each.name, graph, error) from error
    if result is not graph:
        _check(each.name, result, graph, set(graph.nodes))
    return result


def _check(name: str, graph: Graph, before: Graph, sound: Container[Node] = ()) -> None:
    try:
        verify(graph, sound)
    except Exception as error:
        raise _bug(name, before, error) from error


def lower_graph(
    graph: Graph,
    target: Target,
    knobs: Knobs | None = None,
    choices: Choices = ESTIMATED,
    watch: Callable[[Kernel], None] = lambda kernel: None,
) -> Lowered:
    """Loops and a memory plan for an optimised graph; `watch` sees kernels as they are made."""
    # not above: where the cache has the program, it is not lowered
    from cnnc.loop.text import print_kernel
    from cnnc.lowering.lower import lower

    knobs = knobs or read_knobs()
    with timed("lower", knobs), paused():
        try:
            lowered = lower(graph, target, choices, watch)
        except CnncError:
            raise
        except Exception as error:
            raise _bug("lower", graph, error) from error
    shown = lowered.layers if knobs.debug >= 3 or knobs.dump else ()
    for number, layer in enumerate(shown):
        text = print_kernel(layer.kernel)
        if knobs.debug >= 3:
            say(text)
        if knobs.dump:
            write_dump(knobs.dump, f"{number:03}-{layer.kernel.name}.loops", text)
    return lowered


def plan(
    graph: Graph, target: Target, *, exact: bool = False, choices: Choices = ESTIMATED
) -> tuple[Lowered, frozenset[str]]:
    """All passes, and loops; with the keys of the choices that were made use of.

    UserError for choices that are not possible, or are for none of the layers.
    """
    optimised, used = prepare(graph, target, exact=exact, choices=choices)
    return lower_graph(optimised, target, choices=choices), used


def prepare(
    graph: Graph, target: Target, *, exact: bool = False, choices: Choices = ESTIMATED
) -> tuple[Graph, frozenset[str]]:
    """The graph after all passes, and the same keys; UserError as for `plan`."""
    used: set[str] = set()

    def observe(name: str, graph: Graph) -> None:
        if choices.entries:
            used.update(keys_chosen(graph, choices))

    optimised = optimise(graph, pipeline(target, exact=exact, choices=choices), observe)
    if choices.source and not used:
        raise fail(
            "E0806",
            f"`{choices.source}` has no entry for a layer of `{graph.name}`",
            help="its entries may be for other shapes, another batch or another `exact`: "
            "`cnnc tune` adds the net's layers",
        )
    return optimised, frozenset(used)


def compile_lowered(
    lowered: Lowered, target: Target, options: Options, store: Store | None = None
) -> Executable:
    """Machine code, or whatever the chosen backend makes of the program.

    Code comes from the store, or else from the user's cache, where they have it. With a knob that
    shows how code is made, it is made.
    """
    knobs = read_knobs()
    store = None if knobs.look else store or open_cache()
    backend = find_backend(options.backend)
    with timed(backend.name, knobs):
        try:
            made = backend.compile(lowered.program, target, options.threads, store)
        except CnncError:
            raise
        except Exception as error:
            raise _bug(backend.name, lowered.graph, error) from error
    if knobs.debug >= 4 and backend.name == "native":
        for number in range(len(lowered.program.kernels)):
            say(show_assembly(lowered, number, target))
    return made


def compile_ahead(target: Target, store: Store | None) -> "Ahead":
    """A store for `compile_lowered` that compiles kernels while others are lowered."""
    from cnnc.backends.native.objects import Ahead

    return Ahead(target, store)


def find_target(name: str) -> Target:
    """The target of this name; UserError where there is none."""
    from cnnc.backends.cuda.targets import cuda_target, is_cuda

    if is_cuda(name):
        return cuda_target(name)
    from cnnc.backends.native.targets import named_target

    if name in BACKEND_NAMES and name not in target_names():
        help = f'`{name}` is a backend: `backend="{name}"`, of commands `--backend {name}`'
        raise fail("E0801", f"no target is called `{name}`", help=help)

    return named_target(name)


def target_for(options: Options) -> Target:
    """The target of some options, with a core for each thread; a GPU's kernels may be exact too."""
    from cnnc.backends.cuda.targets import exact_target

    target = find_target(options.target)
    if target.is_gpu:
        return exact_target(target) if options.exact else target
    return replace(target, cores=options.threads)


def target_names() -> tuple[str, ...]:
    """The short names `find_target` knows; it also knows triples."""
    from cnnc.backends.cuda.targets import NAME
    from cnnc.backends.native import targets

    return (*targets.target_names(), NAME)


def cpu_names(name: str) -> tuple[str, ...]:
    """The processors that may be named behind a target."""
    from cnnc.backends.cuda.targets import MULTIPROCESSORS, is_cuda
    from cnnc.backends.native import targets

    if is_cuda(name):
        return tuple(f"sm_{each}" for each in MULTIPROCESSORS)
    return targets.cpu_names(name)


def find_versions(name: str) -> tuple[Target, ...]:
    """The target of a name, or one for each of several processors in it: `x86-64:a,b`.

    The lowest first; UserError where no code could tell them apart.
    """
    from cnnc.backends.native import levels, targets

    return levels.in_order(tuple(map(find_target, targets.split_versions(name))))


def can_run(target: Target) -> bool:
    """Whether code for the target runs on this machine."""
    from cnnc.backends.cuda.toolchain import find_gpu
    from cnnc.backends.native.targets import runs_here

    if target.is_gpu:
        gpu = find_gpu()
        return gpu is not None and gpu.arch >= int(target.cpu.removeprefix("sm_"))
    return runs_here(target)


def machine_code(executable: Executable | None) -> "Image | None":
    """The code and data of an executable; None where its backend makes none."""
    from cnnc.backends.native.backend import NativeExecutable

    return executable.image if isinstance(executable, NativeExecutable) else None


def code_keys(lowered: Lowered, target: Target) -> tuple[str, ...]:
    """The keys of a program's object code, in order."""
    from cnnc.backends.native.objects import recipes

    return tuple(recipe.key for recipe in recipes(lowered.program, target))


def find_backend(name: str) -> Backend:
    """The backend of this name; UserError where there is none."""
    if name in BACKENDS:
        return load_backend(name)
    help = did_you_mean(name, BACKEND_NAMES) or f"there are {', '.join(BACKEND_NAMES)}"
    if name in target_names():
        help = f'`{name}` is a target: `target="{name}"`, of commands `--target {name}`'
    raise fail("E0801", f"no backend is called `{name}`", help=help)


def show_llvm(lowered: Lowered, kernel: int, target: Target) -> str:
    """The LLVM IR of one distinct kernel as it is handed to LLVM."""
    from cnnc.backends.native.compile import emit_llvm

    return emit_llvm(lowered.program, kernel, target, optimise=True)


def show_assembly(lowered: Lowered, kernel: int, target: Target) -> str:
    """The assembly of one distinct kernel."""
    from cnnc.backends.native.compile import emit_assembly

    return emit_assembly(lowered.program, kernel, target)


def show_c(lowered: Lowered, target: Target, kernels: Sequence[int] | None = None) -> str:
    """The program as C; of some distinct kernels, only their functions."""
    from cnnc.backends.abi import Abi
    from cnnc.backends.c.emit_source import Form, emit_kernels, emit_source

    program = lowered.program
    form = Form(shaped=shaped_kernels(lowered))
    if kernels is None:
        return emit_source(program, target, Abi.of(program), form)
    return emit_kernels(program, kernels, Abi.of(program), form)


def shaped_kernels(lowered: Lowered) -> dict[int, Kernel]:
    """Kernels with shapes and layouts and their operators' texts, by their numbers."""
    shaped: dict[int, Kernel] = {}
    for layer in lowered.layers:
        kernel = layer.kernel
        named = replace(kernel, origin=replace(kernel.origin, op=operator_text(layer.node.op)))
        shaped.setdefault(lowered.program.steps[layer.step].kernel, named)
    return shaped


def measure_peak(target: Target, threads: int) -> "Peak":
    """What this machine can do at best, measured: multiply-adds, and bytes from each cache."""
    from cnnc.backends.native import peak

    return peak.measure_peak(target, threads)


def _bug(stage: str, graph: Graph, error: Exception) -> InternalError:
    text = f"# {stage} failed: {type(error).__name__}: {error}\n# the graph before it:\n"
    try:
        text += format_graph(graph, places=True)
    except Exception as second:  # a graph that is broken may not print either
        text += f"# it does not print: {second}\n"
    dump = keep_evidence(read_knobs().dump, f"failed-{stage}.graph", text)
    return InternalError(f"{type(error).__name__}: {error}", stage=stage, dump=dump)


def _show_graph(name: str, graph: Graph, knobs: Knobs) -> None:
    if knobs.debug >= 2:
        say(f"── {name}\n{format_graph(graph, places=True)}")
    if knobs.dump:
        write_dump(knobs.dump, f"{name}.graph", format_graph(graph, places=True))
