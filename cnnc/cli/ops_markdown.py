"""The reference of all operators as Markdown, and examples in words."""

import re
from collections.abc import Iterator, Mapping, Sequence

from cnnc.base.layout import Shape
from cnnc.ops.describe import Example, OperatorInfo


def reference(groups: Mapping[str, Sequence[OperatorInfo]]) -> str:
    """A section for each operator under a heading for each field."""
    lines = []
    for field, group in groups.items():
        lines += [f"#### {field}", ""] if field else []
        for each in group:
            lines += [*_section(each), ""]
    return "\n".join(lines)


def example_text(example: Example, tick: str = "") -> str:
    """What a call makes of its operands, and what it owns then."""

    def shapes(found: Sequence[Shape]) -> str:
        return " and ".join(tick + str(list(shape)) + tick for shape in found)

    if not example.operands:
        return f"{tick}{example.call}{tick} is {shapes(example.results)}"
    text = f"{tick}{example.call}{tick} makes {shapes(example.operands)} into "
    text += shapes(example.results)
    if example.parameters:
        named = (f"{tick}{name}{list(shape)}{tick}" for name, shape in example.parameters)
        text += f" and owns {', '.join(named)}"
    return text


def _section(op: OperatorInfo) -> Iterator[str]:
    yield f"**{op.name}**, {op.arity}"
    yield from ("", "```text", op.signature, "```", "")
    yield _prose(op.doc)
    yield ""
    if op.attributes:
        yield "| attribute | default | values | meaning |"
        yield "|---|---|---|---|"
        for each in op.attributes:
            default = f"`{each.default}`" if each.default is not None else ""
            cells = (f"`{each.name}`", default, _prose(each.values), _prose(each.doc))
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        yield ""
    yield f"For example, {example_text(op.example, '`')}."


def _prose(text: str) -> str:
    """The text with nothing that Markdown takes for emphasis or a tag, outside of code."""
    pieces = re.split(r"(`[^`]*`)", text)
    plain = [re.sub(r"([*_<])(?=\S)", r"\\\1", piece) for piece in pieces[::2]]
    pieces[::2] = [re.sub(r"(?<=\w)\\_", "_", piece) for piece in plain]
    return "".join(pieces)
