"""`cnnc export`: the network as an ONNX file."""

from pathlib import Path

import click

from cnnc.cli.console import print_json, say, working
from cnnc.cli.options import Net, PathType, beside, json_option, net_options
from cnnc.files import check_file, keep_files
from cnnc.frontend.settings import Batch
from cnnc.table import bytes_text, plural

SUFFIX = ".onnx"


@click.command(short_help="Write a network as an ONNX file.")
@net_options
@click.option(
    "-o",
    "--output",
    type=PathType(),
    help=f"Where to write it; FILE with the suffix {SUFFIX} if left out.",
)
@json_option
def export(
    file: Path,
    net: str | None,
    settings: tuple[str, ...],
    batch: Batch | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write the network with its weights as an ONNX model that other runtimes take.

    A batch that is a range, `--batch 1..32`, is an open dimension there.
    """
    from cnnc.onnx import export as write  # commands should start fast

    output = output or beside(file, SUFFIX)
    check_file(output, SUFFIX)
    model = Net(file, net, settings, batch).load()
    keep_files(output, (file, *model.files))
    with working(f"exporting {model.name}"):
        made = write(model, output)
    nodes, opset = len(made.graph.node), made.opset_import[0].version
    if as_json:
        size = output.stat().st_size
        print_json({"ok": True, "path": str(output), "bytes": size, "opset": opset, "nodes": nodes})
        return
    say(f"{output}: {bytes_text(output.stat().st_size)}, opset {opset}, {plural(nodes, 'node')}")
