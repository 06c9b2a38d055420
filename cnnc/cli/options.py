"""Options that several verbs take, and what they stand for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from cnnc.api import Model, load
from cnnc.base.errors import fail
from cnnc.base.report import report
from cnnc.cli.console import remark, wants_colour, working
from cnnc.compiled import Compiled
from cnnc.options import Options

P = ParamSpec("P")
R = TypeVar("R")
_IMPORT_PATH = "cnnc.import_path"
Decorator = Callable[[Callable[P, R]], Callable[P, R]]


@dataclass(frozen=True, slots=True)
class Net:
    """Which network: a file, and what overrides it."""

    file: Path
    net: str | None
    settings: tuple[str, ...]
    batch: int | None

    def load(self, *, weights: bool = True) -> Model:
        """The network; warnings go to standard error."""
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
        with working(f"compiling {model.name}"):
            return model, model.compile(options.target, options.backend, options.threads)


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
            help="Look for imported files there, too.",
        ),
        click.option("--batch", type=int, help="Samples of one run: N in the file."),
        click.option("--set", "settings", multiple=True, metavar="K=V", help="Override a param."),
        click.option("--net", help="Which net, where the file has several."),
        click.argument("file", type=click.Path(path_type=Path)),
    ):
        command = decorate(command)
    return command


def compile_options(command: Callable[..., R]) -> Callable[..., R]:
    """--target, --backend, --threads."""
    for decorate in (
        click.option("--threads", default=1, show_default=True, help="Threads to run on."),
        click.option(
            "--backend",
            default="native",
            show_default=True,
            metavar="NAME",
            help="native: machine code; interp: the loops in Python; reference: NumPy.",
        ),
        click.option(
            "--target",
            default="native",
            show_default=True,
            metavar="NAME",
            help="Processor family; `cnnc env` lists them.",
        ),
    ):
        command = decorate(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
