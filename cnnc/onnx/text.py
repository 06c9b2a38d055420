"""A flat net as a program of the language: one line for each stage."""

import keyword
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from cnnc.onnx.flat import Array, FlatNet, Stage
from cnnc.ops.attributes import Symbol, format_value
from cnnc.ops.spec import operators

KEYWORDS = frozenset({
    "cnn", "import", "param", "block", "net", "input", "output", "weights", "check", "assert",
    "repeat", "if", "else", "in", "true", "false", "and", "or", "not", "N", "i", "open", "from",
})  # fmt: skip
"""Words that are no names in a text."""


def named(net: FlatNet) -> FlatNet:
    """The net under names that the language has for inputs, then outputs, then stages."""
    words = _taken() | words_of(net)
    inputs = _names([each.name for each in net.inputs], words)
    outputs = _names([name for name, _ in net.outputs], words | {*inputs.values()})
    taken = words | {*inputs.values(), *outputs.values()}
    names = {**inputs, **_names([stage.name for stage in net.stages], taken)}
    stages = tuple(
        replace(
            stage,
            name=names[stage.name],
            operands=tuple(names[x] if isinstance(x, str) else x for x in stage.operands),
        )
        for stage in net.stages
    )
    return replace(
        net,
        name=identifier(net.name, _taken()),
        inputs=tuple(replace(each, name=inputs[each.name]) for each in net.inputs),
        stages=stages,
        outputs=tuple((outputs[name], names[source]) for name, source in net.outputs),
    )


def plain_text(net: FlatNet) -> tuple[str, dict[str, Array]]:
    """The program of a net that is `named`, and its arrays by the names of parameters."""
    arrays: dict[str, Array] = {}
    lines = ["cnn 1", "", f"net {net.name} {{"]
    for each in net.inputs:
        extents = ", ".join(["N", *map(str, each.shape[1:])])
        lines.append(f"  input {each.name}: {each.dtype}[{extents}]")
    for stage in net.stages:
        lines.append(f"  {stage.name} = {_call(stage)}")
        for parameter, key in stage.parameters.items():
            arrays[stage.name + (f".{parameter}" if parameter else "")] = net.arrays[key]
    lines += [f"  output {name} = {source}" for name, source in net.outputs]
    return "\n".join([*lines, "}", ""]), arrays


def words_of(net: FlatNet) -> frozenset[str]:
    """The choices that attributes name: a value called so would stand for the choice."""
    found: set[str] = set()
    values = [value for stage in net.stages for value in stage.attributes.values()]
    while values:
        match values.pop():
            case Symbol(name=name):
                found.add(name)
            case tuple(parts):
                values += parts
    return frozenset(found)


def _call(stage: Stage) -> str:
    given = [f"{name} = {format_value(value)}" for name, value in stage.attributes.items()]
    shown = [each if isinstance(each, str) else repr(each) for each in stage.operands]
    if len(shown) == 1:
        return f"{shown[0]} -> {stage.op}" + (f"({', '.join(given)})" if given else "")
    return f"{stage.op}({', '.join([*shown, *given])})"


def _names(wanted: Sequence[str], reserved: Iterable[str]) -> dict[str, str]:
    """A name of the language for each, in order."""
    taken = {*reserved}
    found: dict[str, str] = {}
    for each in wanted:
        found[each] = identifier(each, taken)
        taken.add(found[each])
    return found


def _taken() -> frozenset[str]:
    return KEYWORDS | {each.name for each in operators()} | frozenset(keyword.kwlist)


def identifier(name: str, taken: Iterable[str]) -> str:
    """A name of the language that is like this one and free."""
    base = re.sub(r"\W+", "_", name, flags=re.ASCII)[:100].strip("_") or "value"
    base = base if base[0].isalpha() else f"v{base}"
    made, count = base, 0
    while made in taken:
        count += 1
        made = f"{base}_{count}"
    return made
