"""Options that several verbs take, and what they stand for."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from cnnc import driver, machine
from cnnc.api import Model, load
from cnnc.artifact import SUFFIX
from cnnc.base.errors import fail
from cnnc.base.report import report
from cnnc.base.target import Target
from cnnc.cli.console import remark, wants_colour, working
from cnnc.compiled import Compiled
from cnnc.files import named_path
from cnnc.frontend.settings import Batch
from cnnc.loaded import Loaded, load_compiled
from cnnc.lowering.lowered import Lowered
from cnnc.network import Network
from cnnc.options import Options, target_with
from cnnc.table import plural
from cnnc.tunefile import read_choices

R = TypeVar("R")
_IMPORT_PATH = "cnnc.import_path"
_CPU = "cnnc.cpu"


@dataclass(frozen=True, slots=True)
class Net:
    """Which network: a file, and what overrides it."""

    file: Path
    net: str | None
    settings: tuple[str, ...]
    batch: Batch | None

    @property
    def is_compiled(self) -> bool:
        """Whether the file holds a compiled network, not a text."""
        return self.file.suffix.lower() == SUFFIX

    def load(self, *, weights: bool = True) -> Model:
        """The network; warnings go to standard error."""
        if self.is_compiled:
            raise fail(
                "E0703",
                f"`{self.file}` is a compiled network, and this needs the text",
                help="give the .cnn file it was compiled from",
            )
        settings = parse_settings(self.settings)
        model = load(
            self.file,
            net=self.net,
            set=settings,
            batch=self.batch,
            weights=weights,
            import_path=click.get_current_context().meta.get(_IMPORT_PATH, ()),
        )
        if model.warnings:
            import sys

            remark(report(model.warnings, colour=wants_colour(sys.stderr)))
        return model

    def compile(self, options: Options) -> tuple[Model, Compiled]:
        """The network and the same compiled."""
        model = self.load()
        return model, self.compile_loaded(model, options)

    def compile_loaded(self, model: Model, options: Options) -> Compiled:
        """The loaded network compiled; a warning where it shall have too many threads."""
        if options.completed.backend in THREADED:
            warn_of_threads(options.threads)
        with working(f"compiling {model.name}"):
            return model.compile(
                options.target,
                options.backend,
                options.threads,
                exact=options.exact,
                tuning=options.tuning,
            )

    def read_for(self, model: Model, options: Options) -> tuple[Path, ...]:
        """The files that are read to compile it, which no output may replace."""
        tuning = () if options.tuning is None else (options.tuning,)
        return (self.file, *model.files, *tuning)

    def network(self, options: Options, *, threads_given: bool) -> tuple[Network, tuple[Path, ...]]:
        """The network ready to run, compiled or from a compiled file, and the files it is of."""
        if not self.is_compiled:
            model, compiled = self.compile(options)
            return compiled, self.read_for(model, options)
        found = self.loaded(options, options.threads if threads_given else None)
        warn_of_threads(found.options.threads)
        return found, (self.file,)

    def loaded(self, options: Options, threads: int | None = None) -> Loaded:
        """The compiled network in the file; UserError for options that would change it."""
        fixed = {
            "--net": self.net is not None,
            "--set": bool(self.settings),
            "--batch": self.batch is not None,
            "--target": options.target != "native",
            "--backend": options.backend != "native",
            "--exact": options.exact,
            "--tuning": options.tuning is not None,
        }
        if given := [name for name, is_given in fixed.items() if is_given]:
            raise fail(
                "E0803",
                f"{' and '.join(given)} cannot change `{self.file}`, which is compiled",
                help="give the options to `cnnc compile`",
            )
        return load_compiled(self.file, threads=threads)


THREADED = ("native", "c")
"""The backends that run on several threads."""


def warn_of_threads(threads: int) -> None:
    """Say on standard error that they are more than there are cores, where that is so."""
    cores = machine.usable_cores()
    if threads > cores:
        remark(
            f"warning: {threads} threads share {plural(cores, 'core')} and wait for each other: "
            f"`--threads {cores}` is faster"
        )


def threads_of(network: Network) -> int:
    """The threads that a run of it takes: what the others would be told is not used."""
    options = network.options.completed
    return options.threads if options.backend in THREADED else 1


def beside(file: Path, suffix: str) -> Path:
    """The file's name with another suffix; UserError for folders, some of which have no name."""
    if not file.name:
        raise fail("E0702", f"`{file}` cannot be read", notes=("Is a directory",))
    return file.with_suffix(suffix)


def is_given(name: str) -> bool:
    """Whether the running verb's option of this name was given, rather than left at its default."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not click.core.ParameterSource.DEFAULT


def parse_settings(texts: tuple[str, ...]) -> Mapping[str, str]:
    """`name=value` texts by name; UserError for one without a name or value, or given twice."""
    settings: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise fail("E0803", f"`--set {text}` has no name and value", help="write --set k=v")
        if name in settings:
            raise fail("E0803", f"`--set {name}` is given twice")
        settings[name] = value
    return settings


class PathType(click.Path):
    """A path, which has a name."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self,
        value: "str | os.PathLike[str]",
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """The path; UserError for an empty text, naming the option or argument."""
        assert param is not None
        is_option = isinstance(param, click.Option)
        shown = param.opts[0] if is_option else param.human_readable_name
        return named_path(os.fspath(value), shown)


class _BatchType(click.ParamType[Batch]):
    """A number, or a range of two numbers."""

    name = "N"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Batch:
        """`8` as 8, `1..32` as (1, 32)."""
        parts = str(value).split("..")
        digits = [part.removeprefix("-") for part in parts]
        # int() takes a few thousand digits at most
        if len(parts) > 2 or not all(d.isdecimal() and len(d) < 100 for d in digits):
            self.fail(f"{value!r} is neither a number nor a range such as 1..32", param, ctx)
        numbers = [int(part) for part in parts]
        return (numbers[0], numbers[1]) if len(numbers) == 2 else numbers[0]


def _keep_import_path(
    context: click.Context, option: click.Parameter, value: tuple[str, ...]
) -> None:
    """Leave it to Net.load: no verb does anything else with it."""
    context.meta[_IMPORT_PATH] = value


def net_options(command: Callable[..., R]) -> Callable[..., R]:
    """FILE, --net, --set, --batch, --import-path."""
    for decorate in (
        click.option(
            "--import-path",
            multiple=True,
            metavar="FOLDER",
            expose_value=False,
            callback=_keep_import_path,
            help="Look for imported files there, too, before the folders of CNNC_PATH.",
        ),
        click.option(
            "--batch",
            type=_BatchType(),
            help="Samples of one run, N in the file: 8, or any number of 1..32.",
        ),
        click.option("--set", "settings", multiple=True, metavar="K=V", help="Override a param."),
        click.option("--net", metavar="NAME", help="Which net, where the file has several."),
        click.argument("file", type=PathType()),
    ):
        command = decorate(command)
    return command


threads_option = click.option(
    "--threads", default=1, show_default=True, help="Threads to run on, for which layers are split."
)


def _keep_cpu(context: click.Context, option: click.Parameter, value: str | None) -> None:
    """Leave it to `_join_cpu`: a target's name is one word for all that follows."""
    context.meta[_CPU] = value


def _join_cpu(context: click.Context, option: click.Parameter, value: str) -> str:
    """The target with the processor behind it; UserError where both name one."""
    return target_with(value, context.meta.get(_CPU))


def target_option(command: Callable[..., R]) -> Callable[..., R]:
    """--target and --cpu: one name for both."""
    for decorate in (
        click.option(
            "--cpu",
            metavar="NAME",
            is_eager=True,
            expose_value=False,
            callback=_keep_cpu,
            help="Processor of that family or triple; `cnnc env` lists them.",
        ),
        click.option(
            "--target",
            default="native",
            show_default=True,
            metavar="NAME",
            callback=_join_cpu,
            help="Processor family, or a triple such as aarch64-linux-gnu; `cnnc env` lists them.",
        ),
    ):
        command = decorate(command)
    return command


exact_option = click.option(
    "--exact",
    is_flag=True,
    help="Only algorithms that round no more than the sums that define an operator: neither "
    "Winograd's nor Strassen's.",
)


tuning_option = click.option(
    "--tuning",
    type=PathType(),
    metavar="FILE",
    help="A file of `cnnc tune`, whose choices replace estimates.",
)


def machine_for(options: Options) -> Target:
    """The target, with a core for each thread."""
    return driver.target_for(options)


def plan(model: Model, options: Options) -> tuple[Target, Lowered]:
    """The target and the network's loops; UserError where the tune file does not fit them."""
    machine, exact, tuning = machine_for(options), options.exact, options.tuning
    choices = read_choices(tuning, machine, exact=exact)
    with working(f"planning {model.name}"):
        lowered, _ = driver.plan(model.graph, machine, exact=exact, choices=choices)
    return machine, lowered


_BACKENDS = {
    "native": "machine code",
    "c": "C, through the system's compiler",
    "cuda": "a GPU",
    "interp": "the loops in Python",
    "reference": "NumPy",
}


COMPILED = ("native", "c", "cuda", "interp")
"""The backends that compile something."""


def compile_options(*backends: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """--target, --backend, --threads, --exact, --tuning; the help names these backends, or all."""

    def add(command: Callable[..., R]) -> Callable[..., R]:
        shown = "; ".join(f"{name}: {_BACKENDS[name]}" for name in backends or _BACKENDS)
        for decorate in (
            tuning_option,
            exact_option,
            threads_option,
            click.option(
                "--backend",
                default="native",
                show_default=True,
                metavar="NAME",
                help=f"{shown}.",
            ),
            target_option,
        ):
            command = decorate(command)
        return command

    return add


class _SizeType(click.ParamType[int]):
    """A number of bytes: 65536, or 64K."""

    name = "BYTES"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """`64K` as 65536; K, M and G count in 1024s."""
        found = re.fullmatch(r"(\d{1,15})([KMG]?)(i?B)?", str(value).strip(), re.IGNORECASE)
        if not found:
            self.fail(f"{value!r} is no number of bytes, such as 65536 or 64K", param, ctx)
        return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2].upper()]


def limit_options(command: Callable[..., R]) -> Callable[..., R]:
    """--max-ram, --max-flash, --max-stack."""
    for option, name, what in (
        ("--max-stack", "stack", "the stack of a thread"),
        ("--max-flash", "flash", "code, constants and weights"),
        ("--max-ram", "ram", "arena and stack"),
    ):
        help = f"Most bytes of {what}, such as 64K: more is an error."
        command = click.option(option, name, type=_SizeType(), help=help)(command)
    return command


def seed_option(help: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """--seed, from 0."""
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help=help
    )


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
