"""What rewritings of flat nets share."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from cnnc.base.errors import InternalError
from cnnc.base.layout import Shape
from cnnc.onnx.flat import Array, FlatNet, Stage

Change = tuple[Stage, dict[str, Array]]
"""What stands for a stage and the one after it, and its arrays by name."""
Attempt = Callable[[Stage, Mapping[str, Stage], Mapping[str, Array]], Change | None]
LAYERS = ("conv", "conv_transpose", "dense")


def shapes_of(net: FlatNet) -> Mapping[str, Shape]:
    """The shape of every value."""
    results = ((stage.name, stage.result.shape) for stage in net.stages)
    return {**{each.name: each.shape for each in net.inputs}, **dict(results)}


def readers_of(net: FlatNet) -> Mapping[str, list[Stage]]:
    """The stages that read a value, once each; outputs of the net are none."""
    found: dict[str, list[Stage]] = {each.name: [] for each in net.inputs}
    found |= {stage.name: [] for stage in net.stages}
    for stage in net.stages:
        for name in dict.fromkeys(stage.operands):
            if isinstance(name, str):
                found[name].append(stage)
    return found


def sources(one: Stage, two: Stage) -> str:
    """The nodes that two stages came from."""
    return ", ".join(filter(None, (one.source, two.source)))


def free_key(key: str, arrays: Mapping[str, Array]) -> str:
    """The key, with marks behind it where another array has it."""
    while key in arrays:
        key += "_"
    return key


def join(net: FlatNet, attempt: Attempt) -> FlatNet:
    """The net with a stage and the layer it reads as one, wherever the attempt has a change."""
    readers = Counter(name for stage in net.stages for name in {*stage.operands})
    readers.update(value for _, value in net.outputs)
    stages: dict[str, Stage] = {}
    arrays, moved = dict(net.arrays), dict[str | float, str]()
    for stage in net.stages:
        stage = replace(stage, operands=tuple(moved.get(each, each) for each in stage.operands))
        made = attempt(stage, stages, arrays)
        if made is None or readers[made[0].name] > 1:
            stages[stage.name] = stage
            continue
        layer, own = made
        stages[layer.name] = replace(
            layer, result=replace(stage.result, name=layer.name), source=sources(layer, stage)
        )
        arrays |= own
        moved[stage.name] = layer.name
        readers[layer.name] = readers[stage.name]
    outputs = tuple((name, moved.get(value, value)) for name, value in net.outputs)
    return without_unused(
        replace(net, stages=tuple(stages.values()), outputs=outputs, arrays=arrays)
    )


def put_in_order(net: FlatNet) -> FlatNet:
    """Stages as the outputs need them, depth first; what no output needs is left out."""
    known = {stage.name: stage for stage in net.stages}
    most = 1 + sum(len(stage.operands) for stage in net.stages)
    done: dict[str, Stage] = {}
    for _, value in net.outputs:
        stack = [value]
        while stack:
            if len(stack) > most:
                raise InternalError(f"`{stack[-1]}` is read before it is made", stage="onnx")
            stage = known.get(stack[-1])
            if stage is None or stage.name in done:
                stack.pop()
                continue
            rest = [
                name
                for name in stage.operands
                if isinstance(name, str) and name in known and name not in done
            ]
            if not rest:
                done[stage.name] = stage
            stack += reversed(rest)
    return without_unused(replace(net, stages=tuple(done.values())))


def without_unused(net: FlatNet) -> FlatNet:
    """Without tensors and arrays that nothing reads any more."""
    read = {name for stage in net.stages for name in stage.operands}
    read |= {value for _, value in net.outputs}
    stages = tuple(each for each in net.stages if each.op != "tensor" or each.name in read)
    keys = {key for stage in stages for key in stage.parameters.values()}
    called = {key: key for key in keys}
    for key in sorted(keys, key=len):
        if (short := key.rstrip("_")) not in called.values():
            called[key] = short
    named = tuple(
        replace(each, parameters={name: called[key] for name, key in each.parameters.items()})
        for each in stages
    )
    arrays = {called[key]: array for key, array in net.arrays.items() if key in keys}
    return replace(net, stages=named, arrays=arrays)
