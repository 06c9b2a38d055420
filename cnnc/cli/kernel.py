"""`cnnc kernel`: one operator or a short chain that stands alone."""

from dataclasses import replace
from pathlib import Path

import click

from cnnc.cli.build import SUFFIXES, request_options, show_built
from cnnc.cli.console import working
from cnnc.cli.options import PathType, json_option, seed_option
from cnnc.files import check_folder
from cnnc.standalone.build import build
from cnnc.standalone.chain import NAME, chain_model
from cnnc.standalone.request import Request


@click.command("kernel", short_help="Write one operator or a short chain as a function.")
@click.argument("text")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="TYPE",
    help="Type of the input, such as f32[1,64,56,56]; several have names: 'a: f32[1,8]'.",
)
@click.option(
    "--parameters",
    type=PathType(),
    metavar="FILE",
    help="Trained values, .safetensors or .npz: `weight` and `bias` of one operator, `conv.weight` "
    "and the like in a chain.",
)
@click.option(
    "-o",
    "--output",
    type=PathType(),
    help="The folder to write into; one of the kernel's name if left out.",
)
@request_options
@seed_option("What parameters are drawn by, where there is no file.")
@json_option
def kernel(
    text: str,
    inputs: tuple[str, ...],
    parameters: Path | None,
    output: Path | None,
    request: Request,
    seed: int,
    as_json: bool,
) -> None:
    """Build one operator or a short chain, such as `conv(64, 3, pad = same) -> relu`.

    The output is that of `cnnc build`, the function takes plain pointers.
    """
    request = replace(request, seed=seed)
    if output:
        check_folder(output, *SUFFIXES)
    model = chain_model(text, inputs, request, parameters)
    with working(f"building {model.name}"):
        built = build(model, output or Path(request.name or NAME), request)
    show_built(built, as_json=as_json)
