"""What became of each node of a model in the text."""

from collections.abc import Sequence
from dataclasses import replace

from cnnc.onnx.flat import FlatNet, Mapped, Stage

MOVING = ("`transpose`", "`reshape`", "`flatten`")


def reported(net: FlatNet) -> tuple[Mapped, ...]:
    """The report of a net that has been tidied: what stands in the text, and why some does not."""
    stages: dict[str, list[Stage]] = {}
    for stage in net.stages:
        for node in stage.source.split(", "):
            stages.setdefault(node, []).append(stage)
    return tuple(
        replace(each, became=_became(each, stages.get(each.node, ()), net)) for each in net.report
    )


def _became(line: Mapped, stages: Sequence[Stage], net: FlatNet) -> str:
    if line.became == "nothing" or ", " in line.node:
        return line.became
    own = line.became.split(", ")
    if not stages:
        return "nothing (layout)" if {*own} <= {*MOVING} else "nothing"
    words = []
    for stage in stages:
        is_part = len(stage.source.split(", ")) > 1 and f"`{stage.op}`" not in own
        words.append(f"part of `{stage.op}`" if is_part else f"`{stage.op}`")
    note = net.notes.get(line.node)
    return ", ".join(words) + (f" ({note})" if note else "")
