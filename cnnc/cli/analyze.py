"""`cnnc analyze`: what convolution buys, computed exactly for one network."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cnnc.arrays import Source, read_inputs
from cnnc.base.errors import fail
from cnnc.base.report import Json, to_json
from cnnc.cli.console import print_json, remark, say, working
from cnnc.cli.options import Net, PathType, json_option, net_options, seed_option
from cnnc.files import check_file, keep_files
from cnnc.frontend.settings import Batch
from cnnc.interface import Interface

if TYPE_CHECKING:
    from cnnc.analysis.analysis import Analysis
    from cnnc.analysis.fields import Field


@click.command(short_help="Sparse interactions, sharing, equivariance, receptive fields.")
@net_options
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="Only these layers.")
@click.option("--at", metavar="Y,X", help="Position whose receptive field is shown.")
@click.option(
    "--plot",
    type=PathType(),
    help="Draw the last layer's receptive field: .png, .svg or .pdf.",
)
@click.option(
    "-i", "--input", "inputs", multiple=True, metavar="[NAME=]PATH", help="Inputs to measure on."
)
@seed_option("Of random inputs.")
@click.option("--shifts", default=3, show_default=True, help="Pixels to measure invariance over.")
@click.option("--measure/--no-measure", default=None, help="Run the reference, or do not.")
@click.option("--no-weights", is_flag=True, help="Open no weights file; nothing is measured.")
@json_option
def analyze(
    file: Path,
    net: str | None,
    settings: tuple[str, ...],
    batch: Batch | None,
    layers: tuple[str, ...],
    at: str | None,
    plot: Path | None,
    inputs: tuple[str, ...],
    seed: int,
    shifts: int,
    measure: bool | None,
    no_weights: bool,
    as_json: bool,
) -> None:
    """Analyse a network: sparse interactions, receptive fields, parameter sharing, equivariance
    and invariance, for one sample. docs/analysis.md defines them."""
    if shifts < 0:
        raise fail("E0803", f"--shifts is {shifts}, it must be 0 or more")
    if plot:
        from cnnc.analysis.plot import KINDS, draw_field  # commands should start fast

        check_file(plot, *KINDS)
    model = Net(file, net, settings, batch).load(weights=not no_weights)
    given, sources = None, [Source.parse(text) for text in inputs]
    if plot:
        keep_files(plot, (file, *model.files, *(source.path for source in sources)), "--plot")
    if sources:
        read = read_inputs(Interface.of(model.graph), sources)
        for note in read.notes:
            remark(f"note: {note}")
        given = read.arrays
    position = _parse_position(at) if at is not None else None
    with working(f"analysing {model.name}"):
        analysis = model.analyze(
            given, layers=layers, position=position, seed=seed, pixels=shifts, measure=measure
        )
    if plot:
        draw_field(_field_to_draw(analysis), plot, given)
    if as_json:
        warnings: list[Json] = [to_json(each) for each in model.warnings]
        drawn = None if plot is None else str(plot)
        print_json({"ok": True, **analysis.to_json(), "plot": drawn, "diagnostics": warnings})
    else:
        say(analysis.format())


def _field_to_draw(analysis: "Analysis") -> "Field":
    """That of the last layer that was chosen and sees an input with spatial axes."""
    drawable = [field for field in analysis.fields if field.axes]
    if not drawable:
        raise fail("E0803", "no layer here sees an input with spatial axes, so none can be drawn")
    return drawable[-1]


def _parse_position(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise fail("E0803", f"`--at {text}` is no position", help="write --at 3,4") from None
