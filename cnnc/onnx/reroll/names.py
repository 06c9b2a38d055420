"""Names in the text: which are names of the language, labels from the names of stages."""

import re
from collections.abc import Container
from dataclasses import replace

from cnnc.onnx.flat import FlatNet
from cnnc.onnx.text import KEYWORDS, identifier, words_of

_NAME = re.compile(r"[^\W\d]\w*")


def is_name(text: str) -> bool:
    """Whether the language takes it for a name."""
    return _NAME.fullmatch(text) is not None and text not in KEYWORDS


def label_of(op: str, path: str) -> str | None:
    """The last part of a path, None where the stage would be called so anyway.

    A number is no name: `downsample.0` is `downsample_0`.
    """
    if op == "tensor":  # whose name ONNX did not give
        return None
    parts = path.split(".")
    last = parts.pop()
    while last[:1].isdecimal() and parts:
        last = f"{parts.pop()}_{last}"
    if not is_name(last) or re.fullmatch(rf"{re.escape(op)}(_\d+)?", last):
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


def name_ends(net: FlatNet) -> FlatNet:
    """The same net, called as the language can: net, inputs and outputs have names of their own."""
    taken = {*KEYWORDS, *words_of(net)}
    inputs: dict[str, str] = {}
    for each in net.inputs:
        inputs[each.name] = identifier(each.name, taken)
        taken.add(inputs[each.name])
    outputs = []
    for name, value in net.outputs:
        made = identifier(name, taken)
        taken.add(made)
        outputs.append((made, value))
    moved = dict(inputs)
    for stage in net.stages:  # values and inputs share their names
        moved[stage.name] = f"{stage.name}.value" if stage.name in inputs.values() else stage.name
    stages = tuple(
        replace(
            stage,
            name=moved[stage.name],
            operands=tuple(
                moved[each] if isinstance(each, str) else each for each in stage.operands
            ),
        )
        for stage in net.stages
    )
    return replace(
        net,
        name=identifier(net.name, KEYWORDS),
        inputs=tuple(replace(each, name=inputs[each.name]) for each in net.inputs),
        stages=stages,
        outputs=tuple((name, moved[value]) for name, value in outputs),
    )
