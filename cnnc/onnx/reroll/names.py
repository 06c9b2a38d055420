"""Names in the text: which are names of the language, labels from the names of stages."""

import re
from collections.abc import Container

from cnnc.onnx.flat import Stage

KEYWORDS = frozenset(
    [
        "cnn",
        "import",
        "param",
        "block",
        "net",
        "input",
        "output",
        "weights",
        "check",
        "assert",
        "repeat",
        "if",
        "else",
        "in",
        "true",
        "false",
        "and",
        "or",
        "not",
    ]
)
_NAME = re.compile(r"[^\W\d]\w*")


def is_name(text: str) -> bool:
    """Whether the language takes it for a name."""
    return _NAME.fullmatch(text) is not None and text not in KEYWORDS


def stage_label(stage: Stage) -> str | None:
    """The last part of its name, for what has weights, unless it would be called so anyway.

    A number is no name: `downsample.0` is `downsample_0`.
    """
    if not stage.parameters:
        return None
    parts = stage.name.split(".")
    last = parts.pop()
    while last[:1].isdecimal() and parts:
        last = f"{parts.pop()}_{last}"
    if not is_name(last) or re.fullmatch(rf"{re.escape(stage.op)}(_\d+)?", last):
        return None
    return last


def free_name(name: str, taken: Container[str]) -> str:
    """The name, or with the first number behind it that nobody has."""
    if name not in taken and is_name(name):
        return name
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
