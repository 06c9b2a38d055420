"""Preprocessing as the clause of an input: braces behind it."""

from collections.abc import Mapping
from dataclasses import replace

from cnnc.base.record import record
from cnnc.onnx.flat import FlatNet, Stage, Tensor
from cnnc.onnx.reroll.attributes import default_attributes, shown_attributes
from cnnc.onnx.tidying.affine import FRACTIONS
from cnnc.ops.attributes import Value, format_value
from cnnc.ops.spec import find


@record
class Clause:
    """What arrives at an input, and what is done to it."""

    given: Tensor
    stage: Stage

    def __str__(self) -> str:
        kind = find("preprocess")
        assert kind is not None
        usual = default_attributes(kind)
        shown = shown_attributes(kind.make(self.stage.attributes))
        lines = [f"{name} = {_spelled(value)}" for name, value in shown if value != usual[name]]
        return "{\n" + "\n".join(lines) + "\n}"


def lift_clauses(net: FlatNet) -> tuple[FlatNet, Mapping[str, Clause]]:
    """The net whose inputs are what preprocessing makes of them, and the clauses by input.

    That is so where nothing else reads an input.
    """
    readers: dict[str, list[Stage]] = {each.name: [] for each in net.inputs}
    for stage in net.stages:
        for name in {*stage.operands} & {*readers}:
            readers[str(name)].append(stage)
    outputs = {value for _, value in net.outputs}
    clauses = {
        each.name: Clause(each, readers[each.name][0])
        for each in net.inputs
        if [stage.op for stage in readers[each.name]] == ["preprocess"] and each.name not in outputs
    }
    moved = {clause.stage.name: name for name, clause in clauses.items()}
    stages = tuple(
        replace(
            stage,
            operands=tuple(
                moved.get(each, each) if isinstance(each, str) else each for each in stage.operands
            ),
        )
        for stage in net.stages
        if stage.name not in moved
    )
    inputs = tuple(
        replace(clauses[each.name].stage.result, name=each.name) if each.name in clauses else each
        for each in net.inputs
    )
    ends = tuple((name, moved.get(value, value)) for name, value in net.outputs)
    return replace(net, inputs=inputs, stages=stages, outputs=ends), clauses


def _spelled(value: Value) -> str:
    """As a division where pixels are usually divided by such a number."""
    for each in FRACTIONS if isinstance(value, float) else ():
        if value in (1 / each, -1 / each):
            return f"{'-' if str(value).startswith('-') else ''}1 / {each:g}"
    return format_value(value)
