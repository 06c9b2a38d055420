"""The arithmetic that exporters without `Gelu` write for it, as `gelu`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import pi, sqrt

from cnnc.onnx.flat import FlatNet, Stage
from cnnc.onnx.tidying.edits import put_in_order
from cnnc.ops.attributes import Symbol, Value

Known = Mapping[str, Stage]
Operand = str | float


def find_gelus(net: FlatNet) -> FlatNet:
    """`gelu` for x / 2 * (1 + erf(x / √2)), and for its approximation by tanh."""
    known = {stage.name: stage for stage in net.stages}
    stages = tuple(_gelu(stage, known) for stage in net.stages)
    if all(one is two for one, two in zip(stages, net.stages, strict=True)):
        return net
    return put_in_order(replace(net, stages=stages))


def _gelu(stage: Stage, known: Known) -> Stage:
    """The stage as `gelu` where it is the last product of one."""
    path: list[Stage] = []
    factors = _factors(stage, known, path)
    if len(factors) != 3 or not any(_is(each, 0.5, stage) for each in factors):
        return stage
    rest = [each for each in factors if isinstance(each, str)]
    for x, gate in (rest, rest[::-1]) if len(rest) == 2 else ():
        found: list[Stage] = []
        sign = _beside(gate, "add", 1.0, known, found)
        shown = None if sign is None else _approximation(sign, x, known, found)
        if shown is not None:
            source = ", ".join(dict.fromkeys(each.source for each in [*found, *path]))
            return replace(stage, op="gelu", attributes=shown, operands=(x,), source=source)
    return stage


def _factors(stage: Stage, known: Known, path: list[Stage]) -> Sequence[Operand]:
    """What products of products multiply; more than three are of no interest."""
    if stage.op != "mul":
        return ()
    found: list[Operand] = [*stage.operands]
    path.append(stage)
    for place, each in enumerate(found):
        inner = known.get(str(each))
        if len(found) == 2 and inner is not None and inner.op == "mul" and len(inner.operands) == 2:
            path.insert(0, inner)
            return [*found[:place], *inner.operands, *found[place + 1 :]]
    return found


def _approximation(
    sign: str, x: Operand, known: Known, path: list[Stage]
) -> Mapping[str, Value] | None:
    """The attributes of the `gelu` with this in place of its sign; None where it is another."""
    stage = known.get(sign)
    if stage is None or stage.op not in ("erf", "tanh"):
        return None
    path.insert(0, stage)
    inner = str(stage.operands[0])
    if stage.op == "erf":
        halves = _beside(inner, "mul", sqrt(0.5), known, path)
        return {} if x in (halves, _beside(inner, "div", sqrt(2), known, path)) else None
    cubic = _beside(inner, "mul", sqrt(2 / pi), known, path)
    total = known.get(cubic or "")
    if total is None or total.op != "add" or len(total.operands) != 2 or x not in total.operands:
        return None
    path.insert(0, total)
    other = total.operands[1 if total.operands[0] == x else 0]
    cube = known.get(_beside(other, "mul", 0.044715, known, path) or "")
    if cube is None or cube.op != "pow" or cube.operands != (x, 3.0):
        return None
    path.insert(0, cube)
    return {"approximate": Symbol("tanh")}


def _beside(name: Operand, op: str, number: float, known: Known, path: list[Stage]) -> str | None:
    """What an operator computes of this number and something else; None where it does not."""
    stage = known.get(str(name))
    if stage is None or stage.op != op or len(stage.operands) != 2:
        return None
    for x, other in (stage.operands, stage.operands[::-1])[: 1 if op == "div" else 2]:
        if isinstance(x, str) and _is(other, number, stage):
            path.insert(0, stage)
            return x
    return None


def _is(operand: Operand, number: float, stage: Stage) -> bool:
    """Whether it is this number as the stage's type has it."""
    kind = stage.result.dtype.numpy.type
    return isinstance(operand, int | float) and bool(kind(operand) == kind(number))
