"""Short ways to say what the tests of the frontend need."""

from pathlib import Path

from cnnc.base.errors import Diagnostic, UserError
from cnnc.base.source import SourceFile
from cnnc.frontend.load import Choices, LoadedNet, load_text
from cnnc.frontend.settings import Setting
from cnnc.ir.graph import Node


def net(
    body: str, before: str = "", image: str = "f32[N, 3, 8, 8]", **settings: Setting
) -> LoadedNet:
    """A net with the input `x` and the given items, its weights left open."""
    text = f"cnn 1\n{before}\nnet n {{\n  input x: {image}\n{body}\n}}\n"
    choices = Choices(settings, with_weights=False)
    return load_text(SourceFile("test.cnn", text), None, choices)


def diagnostics(text: str, folder: Path | None = None) -> tuple[Diagnostic, ...]:
    """What is wrong with a whole file; at least one thing must be."""
    try:
        load_text(SourceFile("test.cnn", text), folder)
    except UserError as error:
        return error.diagnostics
    raise AssertionError("nothing is wrong with it")


def codes(text: str, folder: Path | None = None) -> list[str]:
    """The codes of what is wrong with a whole file."""
    return [each.code for each in diagnostics(text, folder)]


def operators(loaded: LoadedNet) -> dict[str, str]:
    """Path → operator with its operands, for every node that computes something."""
    return {
        node.name: f"{node.op.label} <- {', '.join(_short(each) for each in node.inputs)}"
        for node in loaded.graph.nodes
        if not node.is_leaf
    }


def weights(loaded: LoadedNet) -> dict[str, tuple[int, ...]]:
    """Path → shape of every parameter."""
    return {
        node.name: node.type.shape
        for node in loaded.graph.nodes
        if node.is_leaf and node.op.label == "parameter"
    }


def _short(node: Node) -> str:
    return "" if node.op.label == "parameter" else node.name
