"""Transpositions moved down until they meet their inverse, or what can do without them.

Networks of TensorFlow have their channels last, and exporters write transpositions around what
ONNX has with channels first. Here every value is known as a view of one that is computed, stages
work on what is viewed, and only where that is impossible the view is read.
"""

from collections.abc import Mapping
from dataclasses import replace

from cnnc.onnx.flat import FlatNet, Stage
from cnnc.onnx.tidying.carry import carry
from cnnc.onnx.tidying.edits import put_in_order, readers_of
from cnnc.onnx.tidying.flats import Flat, carry_flat, channels_last, flatten, make_rows
from cnnc.onnx.tidying.rewriter import Rewriter
from cnnc.onnx.tidying.views import View, plain
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.spec import find

MOST_GUESSES = 8
"""Inputs and dense layers that are tried with their channels last."""
Guesses = Mapping[str, tuple[int, ...]]
"""Inputs taken as channels last, and dense layers with the order of their features."""


def move_layouts(net: FlatNet) -> FlatNet:
    """The net with the fewest transpositions and reshapes that are found, computing the same.

    Inputs may turn out to have their channels last: then a transposition is all that reads them.
    """
    best, least = net, cost(net)
    if not any(least):
        return net
    possible = _guesses(net)
    sets: list[Guesses] = [{}, possible]
    for given in sets if possible else sets[:1]:
        if cost(made := _moved(net, given)) < least:
            best, least = made, cost(made)
    chosen: dict[str, tuple[int, ...]] = {}
    for name, order in possible.items() if len(possible) > 1 else ():
        made = _moved(net, {**chosen, name: order})
        if cost(made) < least:
            best, least = made, cost(made)
            chosen[name] = order
    return best


def cost(net: FlatNet) -> tuple[int, int]:
    """How many transpositions there are but for those of inputs, and how many reshapes."""
    readers = readers_of(net)
    inputs = {each.name: each for each in net.inputs}
    outputs = {value for _, value in net.outputs}
    moving = 0
    for stage in net.stages:
        if stage.op != "transpose":
            continue
        source = inputs.get(str(stage.operands[0]))
        is_first = (
            source is not None
            and stage.attributes["order"] == first_order(len(source.shape))
            and len(readers[source.name]) == 1
            and source.name not in outputs
            and (source.dtype.is_float or all(each.op == "cast" for each in readers[stage.name]))
        )
        moving += not is_first
    return moving, sum(stage.op in ("reshape", "flatten") for stage in net.stages)


def first_order(rank: int) -> tuple[int, ...]:
    """The order that puts the channels from the end to the front."""
    return (0, rank - 1, *range(1, rank - 1))


def _guesses(net: FlatNet) -> Guesses:
    """Inputs of three axes or more, and dense layers whose features become images or series."""
    found: dict[str, tuple[int, ...]] = {
        each.name: () for each in net.inputs if 3 <= len(each.shape) <= 5
    }
    known = {stage.name: stage for stage in net.stages}
    for stage in net.stages:
        if stage.op != "reshape" or len(stage.result.shape) < 3:
            continue
        above = known.get(str(stage.operands[0]))
        while above is not None and above.op != "dense" and _is_of_one(above, known):
            above = known.get(next((x for x in above.operands if isinstance(x, str)), ""))
        is_dense = above is not None and above.op == "dense"
        if above is not None and is_dense and stage.result.shape[0] == above.result.shape[0]:
            found.setdefault(above.name, channels_last(stage.result.shape))
    return dict([*found.items()][:MOST_GUESSES])


def _is_of_one(stage: Stage, known: Mapping[str, Stage]) -> bool:
    """Whether the features are those of the first operand, changed one by one."""
    kind = find(stage.op)
    first, *rest = stage.operands or ("",)
    others = [known.get(str(each)) for each in rest if isinstance(each, str)]
    if any(each is None or each.op != "tensor" for each in others) or not isinstance(first, str):
        return False
    return stage.op == "batchnorm" or (kind is not None and issubclass(kind, Pointwise))


def _moved(net: FlatNet, guesses: Guesses) -> FlatNet:
    return _Walk(net, guesses).run()


class _Walk:
    """All stages in order; `values` are those of the net before by name."""

    def __init__(self, net: FlatNet, guesses: Guesses) -> None:
        self.net, self.guesses = net, guesses
        self.build = Rewriter(net)
        self.values: dict[str, View | Flat] = {}

    def run(self) -> FlatNet:
        """The net with views in place of transpositions."""
        for each in self.net.inputs:
            rank = len(each.shape)
            self.values[each.name] = plain(each.name, rank)
            if each.name in self.guesses:
                made = self.build.read(View(each.name, first_order(rank)), "", is_told=True)
                self.values[each.name] = View(made, (0, *range(2, rank), 1))
        for stage in self.net.stages:
            self.values[stage.name] = self._stage(stage)
        outputs = tuple((name, self._read(value, "")) for name, value in self.net.outputs)
        return put_in_order(replace(self.build.finish(), outputs=outputs))

    def _stage(self, stage: Stage) -> View | Flat:
        operands = [self.values[name] for name in stage.operands if isinstance(name, str)]
        flats = [each for each in operands if isinstance(each, Flat)]
        made: View | Flat | None
        if stage.name in self.guesses and stage.op == "dense" and not flats:
            x = self._read(str(stage.operands[0]), stage.source)
            return make_rows(stage, self.guesses[stage.name], x, self.build)
        if flats:
            made = carry_flat(stage, operands, self.build)
        else:
            views = [each for each in operands if isinstance(each, View)]
            made = flatten(stage, views[0], self.build) if len(views) == 1 else None
            made = made or carry(stage, views, self.build)
        if made is not None:
            return made
        reads = tuple(
            self._read(name, stage.source) if isinstance(name, str) else name
            for name in stage.operands
        )
        return plain(self.build.keep(replace(stage, operands=reads)), len(stage.result.shape))

    def _read(self, name: str, source: str) -> str:
        value = self.values[name]
        return value.plain if isinstance(value, Flat) else self.build.read(value, source)
