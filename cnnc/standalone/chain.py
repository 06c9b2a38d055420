"""An operator or a short chain as a network of its own."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cnnc.api import Model, load_text
from cnnc.backends.abi import c_prefix
from cnnc.base.errors import Diagnostic, UserError, fail
from cnnc.base.source import SourceFile
from cnnc.frontend.parse import parse_expression
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
    name = c_prefix(request.name or NAME)
    if not text.strip() or len(text.splitlines()) > 1:
        raise fail(
            "E0803", "the text is no chain of operators", help="one line: `conv(8, 3) -> relu`"
        )
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
        weights = f'{_quoted(parameters)} {{ "*" => "y.*" }}'
    before = "\n".join(["cnn 1", f"net {name} {{", *lines, "  output y = "])
    shown = SourceFile("<kernel>", flow)
    parse_expression(shown)  # or else a bracket could be closed by one of the net's
    try:
        return load_text(
            f"{before}{flow}\n  weights {weights}\n}}\n",
            name=shown.name,
            folder=parameters.parent if parameters else None,
        )
    except UserError as error:
        raise UserError([_placed(each, shown, len(before)) for each in error.diagnostics]) from None


def _placed(diagnostic: Diagnostic, shown: SourceFile, offset: int) -> Diagnostic:
    """With its place in the text that was given, where it lies in that."""
    span = diagnostic.span
    if span is None or not offset <= span.start <= span.end <= offset + len(shown.text):
        return diagnostic
    return replace(diagnostic, span=shown.span(span.start - offset, span.end - offset))


def _quoted(path: Path) -> str:
    """The file's name as a string of the language, which has no escapes."""
    if any(letter in path.name for letter in '"\\') or not path.name.isprintable():
        raise fail(
            "E0803", f"`{path}` cannot be named in a text", help="give the file another name"
        )
    return f'"{path.name}"'


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
