"""A flat net as a program of the language: one line for each stage."""

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence

from cnnc.onnx.flat import Array, FlatNet, Stage
from cnnc.ops.attributes import Symbol, format_value
from cnnc.ops.spec import operators

_WORDS = frozenset({
    "cnn", "import", "param", "block", "net", "input", "output", "weights", "check", "assert",
    "repeat", "if", "else", "in", "true", "false", "and", "or", "not", "N", "i", "open"
})  # fmt: skip


def plain_text(net: FlatNet) -> tuple[str, dict[str, Array]]:
    """The program, and the arrays by the names that its parameters have."""
    words = words_of(net)
    outputs = [*_names([name for name, _ in net.outputs], _taken() | words).values()]
    names = _names(
        [*(each.name for each in net.inputs), *(stage.name for stage in net.stages)],
        _taken() | words | {*outputs},
    )
    arrays: dict[str, Array] = {}
    lines = ["cnn 1", "", f"net {identifier(net.name, _taken())} {{"]
    for each in net.inputs:
        extents = ", ".join(["N", *map(str, each.shape[1:])])
        lines.append(f"  input {names[each.name]}: {each.dtype}[{extents}]")
    for stage in net.stages:
        lines.append(f"  {names[stage.name]} = {_call(stage, names)}")
        for parameter, key in stage.parameters.items():
            path = names[stage.name] + (f".{parameter}" if parameter else "")
            arrays[path] = net.arrays[key]
    for made, (_, source) in zip(outputs, net.outputs, strict=True):
        lines.append(f"  output {made} = {names[source]}")
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


def _call(stage: Stage, names: Mapping[str, str]) -> str:
    given = [f"{name} = {format_value(value)}" for name, value in stage.attributes.items()]
    operands = [each if isinstance(each, str) else repr(each) for each in stage.operands]
    shown = [names.get(each, each) for each in operands]
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
    return _WORDS | {each.name for each in operators()} | frozenset(keyword.kwlist)


def identifier(name: str, taken: Iterable[str]) -> str:
    """A name of the language that is like this one and free."""
    base = re.sub(r"\W+", "_", name, flags=re.ASCII)[:100].strip("_") or "value"
    base = base if base[0].isalpha() else f"v{base}"
    made, count = base, 0
    while made in taken:
        count += 1
        made = f"{base}_{count}"
    return made
