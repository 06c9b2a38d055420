"""`cnnc import`: an ONNX model as text and weights."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cnnc.base.errors import fail
from cnnc.base.report import Json
from cnnc.cli.console import print_json, say, working
from cnnc.cli.options import PathType, json_option
from cnnc.files import check_folder
from cnnc.table import Column, bytes_text, format_table, plural

if TYPE_CHECKING:
    from cnnc.onnx.importing import Imported

COLUMNS = (Column("ONNX"), Column("nodes", is_number=True), Column("became"))


@click.command("import", short_help="Make a .cnn file and its weights of an ONNX model.")
@click.argument("file", type=PathType())
@click.option(
    "-o",
    "--output",
    type=PathType(),
    required=True,
    metavar="FOLDER",
    help="Where to write NAME.cnn and NAME.safetensors.",
)
@click.option("--name", help="What the files are called; as FILE if left out.")
@click.option(
    "--dim",
    "dims",
    multiple=True,
    metavar="NAME=N",
    help="An extent that the model leaves open; the batch is 1 unless it is bound.",
)
@click.option(
    "--fold-batchnorm/--keep-batchnorm",
    help="Make batchnorms part of the layers before them, or keep them, which is the default.",
)
@click.option(
    "--keep-names",
    is_flag=True,
    help="Call weights as the model does; the text has rules that rename them.",
)
@click.option("--force", is_flag=True, help="Replace files that hold something else.")
@json_option
def import_(
    file: Path,
    output: Path,
    name: str | None,
    dims: tuple[str, ...],
    fold_batchnorm: bool,
    keep_names: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Read an ONNX model and write it as a text of the language, with its weights beside it.

    Blocks and repetitions are found again, and the text is checked to compute what the model does.
    The table says what became of which operators; --json of every node.
    """
    from cnnc.onnx.importing import import_model  # commands should start fast
    from cnnc.onnx.text import KEYWORDS, identifier

    if name is not None and identifier(name, KEYWORDS) != name:
        help = f"such as {identifier(name, KEYWORDS)}"
        raise fail("E0803", f"`--name {name}` is no name of the language", help=help)
    check_folder(output, ".cnn", ".safetensors")
    with working(f"importing {file.name}"):
        made = import_model(
            file,
            output,
            _parse_dims(dims),
            name=name,
            fold_batchnorm=fold_batchnorm,
            keep_names=keep_names,
            force=force,
        )
    if as_json:
        print_json(_as_json(made))
        return
    counts = Counter((each.operator, each.became) for each in made.report)
    rows = [(operator, str(count), became) for (operator, became), count in sorted(counts.items())]
    say(format_table(COLUMNS, rows))
    for kind, ends in (("input", made.rolled.inputs), ("output", made.rolled.outputs)):
        for one, two in ends.items():
            if one != two:
                say(f"{kind} `{one}` is called `{two}`")
    lines = plural(len(made.rolled.text.splitlines()), "line")
    say(f"\n{made.path}: {lines}, {plural(len(made.net.stages), 'operator')}")
    if made.weights is not None:
        size = bytes_text(made.weights.stat().st_size)
        say(f"{made.weights}: {size}, {plural(len(made.rolled.arrays), 'tensor')}")


def _parse_dims(texts: tuple[str, ...]) -> dict[str, int]:
    dims: dict[str, int] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.rpartition("="))
        if not name or not equals or not value.isdecimal() or not 0 < int(value[:10]) < 2**31:
            raise fail("E0803", f"`--dim {text}` is no name and extent", help="write --dim N=1")
        if name in dims:
            raise fail("E0803", f"`--dim {name}` is given twice")
        dims[name] = int(value)
    return dims


def _as_json(made: "Imported") -> Json:
    nodes: list[Json] = [
        {"node": each.node, "operator": each.operator, "became": each.became}
        for each in made.report
    ]
    return {
        "ok": True,
        "path": str(made.path),
        "weights": None if made.weights is None else str(made.weights),
        "lines": len(made.rolled.text.splitlines()),
        "operators": len(made.net.stages),
        "nodes": nodes,
        "inputs": dict(made.rolled.inputs),
        "outputs": dict(made.rolled.outputs),
        "names": dict(made.rolled.origins),
    }
