"""An operator or a short chain as a network of its own."""

import re
from collections.abc import Sequence
from pathlib import Path

from cnnc.api import Model, load_text
from cnnc.base.errors import fail
from cnnc.standalone.request import Request

NAME = "kernel"
_INPUT = re.compile(r"\s*(?:([A-Za-z_]\w*)\s*:)?\s*([a-z]\w*)\s*\[([^\[\]]*)\]\s*")


def chain_model(
    text: str, inputs: Sequence[str], request: Request, parameters: Path | None = None
) -> Model:
    """The network that a text such as `conv(64, 3) -> relu` stands for.

    `inputs` are types such as `f32[1, 64, 56, 56]`: one, which flows into the chain, or several
    with names (`a: f32[1, 8]`), which the text says what to do with. Parameters come from a file,
    or are drawn by the request's seed. UserError where the text is no chain.
    """
    found = [_parse(each) for each in inputs]
    if not found:
        raise fail("E0603", "a kernel needs an input", help="--input f32[1,64,56,56]")
    named = [name for name, _ in found if name]
    if len(found) > 1 and len(named) != len(found):
        raise fail(
            "E0603",
            "several inputs need names",
            help="--input 'a: f32[1,8]' --input 'b: f32[1,8]', and a text such as `a + b -> relu`",
        )
    lines = [f"  input {name or 'x'}: {kind}" for name, kind in found]
    flow = text if named else f"x -> {text}"
    weights = f"he(seed = {request.seed})"
    if parameters is not None:
        weights = f'"{parameters.name}"'
    name = request.name or NAME
    source = "\n".join(
        ["cnn 1", f"net {name} {{", *lines, f"  output y = {flow}", f"  weights {weights}", "}", ""]
    )
    return load_text(source, name="<kernel>", folder=parameters.parent if parameters else None)


def _parse(text: str) -> tuple[str, str]:
    """The name, perhaps empty, and the type of an input."""
    if not (found := _INPUT.fullmatch(text)):
        raise fail(
            "E0603",
            f"`{text}` is no input",
            help="an element type and a shape, perhaps behind a name: `x: f32[1,64,56,56]`",
        )
    name, dtype, shape = found.groups()
    return name or "", f"{dtype}[{shape}]"
