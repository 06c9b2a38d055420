"""What became of each node of a model in the text, and which cannot be taken."""

from collections.abc import Sequence
from dataclasses import replace

from cnnc.base.errors import Diagnostic
from cnnc.onnx.flat import FlatNet, Mapped, Stage

MOST_SHOWN = 50
"""Nodes that an error lists before the rest is only counted."""
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


def listed(refused: Sequence[tuple[str, str]]) -> list[Diagnostic]:
    """An error for each (node, reason)."""
    found = [Diagnostic("E0902", f"cnnc cannot take {what}: {why}") for what, why in refused]
    shown = found[:MOST_SHOWN]
    if len(found) > MOST_SHOWN:
        more = f"{len(found) - MOST_SHOWN} more nodes of the model"
        shown.append(Diagnostic("E0902", f"cnnc cannot take {more}"))
    return shown
