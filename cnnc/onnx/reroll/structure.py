"""A flat net → statements: pipelines with joins where branches meet that began together.

A value that several stages read stays without a name where all that is made of it meets again in
one stage: that stage is a join of branches. All other such values are bound to names.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from itertools import count

from cnnc.base.errors import InternalError
from cnnc.onnx.reroll.attributes import shown_attributes
from cnnc.onnx.flat import FlatNet, Stage
from cnnc.onnx.reroll.names import is_name, stage_label
from cnnc.onnx.reroll.tree import Branch, Call, Hole, Item, Join, Number, Ref, Statement
from cnnc.ops.spec import find

DEEPEST = 6
"""Joins within joins; what nests deeper is bound to names."""


class _Shape:
    """Who reads what, and what all paths to a stage go through."""

    def __init__(self, net: FlatNet) -> None:
        self.net = net
        self.stages: Mapping[str, Stage] = {stage.name: stage for stage in net.stages}
        self.place = {stage.name: place for place, stage in enumerate(net.stages)}

    def flowing(self, stage: Stage) -> list[str]:
        """The operands that are no tensors of the weights file."""
        return [
            name for name in stage.operands if isinstance(name, str) and not self.is_tensor(name)
        ]

    def is_tensor(self, name: str) -> bool:
        """Whether a value belongs to the weights file."""
        return name in self.stages and self.stages[name].op == "tensor"

    @cached_property
    def readers(self) -> Mapping[str, list[str]]:
        """The stages that read a value, once each."""
        found: dict[str, list[str]] = {each.name: [] for each in self.net.inputs}
        found |= {name: [] for name in self.stages}
        for stage in self.net.stages:
            for name in dict.fromkeys(stage.operands):
                if isinstance(name, str):
                    found[name].append(stage.name)
        return found

    @cached_property
    def dominators(self) -> Mapping[str, tuple[str | None, int]]:
        """For each value, the last one that all paths to it go through, and how many there are."""
        found: dict[str, tuple[str | None, int]] = {
            each.name: (None, 0) for each in self.net.inputs
        }
        for stage in self.net.stages:
            common: str | None = None
            for position, name in enumerate(self.flowing(stage)):
                common = name if position == 0 else self._meet(common, name, found)
            depth = 0 if common is None else found[common][1] + 1
            found[stage.name] = (common, depth)
        return found

    def _meet(
        self, one: str | None, two: str | None, found: Mapping[str, tuple[str | None, int]]
    ) -> str | None:
        while one != two:
            if one is None or two is None:
                return None
            if found[one][1] >= found[two][1]:
                one = found[one][0]
            else:
                two = found[two][0]
        return one

    def region(self, stage: Stage) -> tuple[str, set[str]] | None:
        """Where the branches of a join began, and what lies between; None if they leave it."""
        start = self.dominators[stage.name][0]
        flowing = self.flowing(stage)
        if start is None or len(flowing) < 2:
            return None
        inside: set[str] = set()
        stack = [name for name in flowing if name != start]
        while stack:
            name = stack.pop()
            if name in inside:
                continue
            inside.add(name)
            stack += [each for each in self.flowing(self.stages[name]) if each != start]
        for name in inside:
            if any(each not in inside and each != stage.name for each in self.readers[name]):
                return None
        return start, inside

    @cached_property
    def regions(self) -> Mapping[str, tuple[str, set[str]]]:
        """The joins whose branches began together."""
        found = {stage.name: self.region(stage) for stage in self.net.stages}
        return {name: region for name, region in found.items() if region is not None}

    def joins(self, bound: set[str]) -> Mapping[str, str]:
        """The joins that can be written as such, and where their branches begin."""
        return {name: start for name, (start, inside) in self.regions.items() if not inside & bound}

    def loose(self, bound: set[str]) -> set[str]:
        """Values that several stages read and no join takes in: they need names."""
        joins = self.joins(bound)
        held: dict[str, set[str]] = {}
        for name, start in joins.items():
            held.setdefault(start, set()).update(self.regions[name][1], {name})
        found = set()
        for name, readers in self.readers.items():
            if name in bound or len(readers) < 2 or self.is_tensor(name):
                continue
            if not any(
                set(readers) <= self.regions[join][1] | {join}
                for join, start in joins.items()
                if start == name
            ):
                found.add(name)
        return found | self._shared_tensors(bound)

    def _shared_tensors(self, bound: set[str]) -> set[str]:
        return {
            name
            for name, readers in self.readers.items()
            if self.is_tensor(name) and len(readers) > 1 and name not in bound
        }


class _Writer:
    """Values as pipelines. `deep` are those that begin joins nested too deeply."""

    def __init__(self, shape: _Shape, bound: set[str], names: Mapping[str, str]) -> None:
        self.shape, self.bound, self.names = shape, bound, names
        self.joins = shape.joins(bound)
        self.deep: set[str] = set()

    def value(self, name: str) -> Branch:
        """A bound value from those it is made of."""
        made = self._pipeline(name, None, 0, is_top=True)
        first = made.chain[0] if made.chain else None
        if made.head is None and isinstance(first, Join):
            return _with_common_head(made, first)
        return made

    def _pipeline(
        self, name: str | float, base: str | None, depth: int, *, is_top: bool = False
    ) -> Branch:
        """What makes a value of `base`, or of what has a name."""
        items: list[Item] = []
        while name != base:
            if isinstance(name, float | int):
                return Branch(tuple(reversed(items)), Number(name))
            if name in self.bound and not is_top:
                return Branch(tuple(reversed(items)), Ref(self.names[name]))
            is_top = False
            stage = self.shape.stages[name]
            if stage.op == "tensor":
                return Branch(tuple(reversed(items)), _call(stage))
            flowing = self.shape.flowing(stage)
            if len(stage.operands) == 1:
                items.append(_call(stage))
                name = flowing[0]
            elif name in self.joins or len({*flowing}) == 1:
                start = self.joins.get(name, flowing[0])
                items.append(self._join(stage, start, depth))
                name = start
            else:
                items.append(self._join(stage, base, depth))
                break
        return Branch(tuple(reversed(items)))

    def _join(self, stage: Stage, start: str | None, depth: int) -> Join:
        if depth == DEEPEST and start is not None:
            self.deep.add(start)
        branches = tuple(self._pipeline(name, start, depth + 1) for name in stage.operands)
        return Join(stage.op, _attributes(stage), branches)


def _with_common_head(made: Branch, join: Join) -> Branch:
    """What all branches begin with flows into the join instead."""
    heads = {each.head for each in join.branches if not isinstance(each.head, Number | Call)}
    if len(heads) != 1:
        return made
    (head,) = heads
    branches = tuple(
        replace(each, head=None) if isinstance(each.head, Ref) else each for each in join.branches
    )
    return Branch((replace(join, branches=branches), *made.chain[1:]), head)


def _call(stage: Stage) -> Call:
    return Call(stage.op, _attributes(stage), stage_label(stage))


def _attributes(stage: Stage) -> tuple[tuple[str, Hole], ...]:
    kind = find(stage.op)
    if kind is None:
        raise InternalError(f"there is no operator `{stage.op}`", stage="import")
    return shown_attributes(kind.make(stage.attributes))


def structure(net: FlatNet) -> tuple[Statement, ...]:
    """The statements in order, outputs last where they were bound before."""
    shape = _Shape(net)
    bound = {name for _, name in net.outputs} | {each.name for each in net.inputs}
    while more := shape.loose(bound) or _too_deep(shape, bound):
        bound |= more
    names = _names(net, bound)
    writer = _Writer(shape, bound, names)
    outputs = dict[str, str]()
    for name, value in net.outputs:
        outputs.setdefault(value, name)
    done: list[Statement] = []
    for stage in net.stages:
        if stage.name in bound:
            value = writer.value(stage.name)
            done.append(Statement(names[stage.name], value, stage.name in outputs))
    for name, value in net.outputs:
        if outputs[value] != name or value not in shape.stages:
            done.append(Statement(name, Branch((), Ref(names[value])), True))
    return tuple(done)


def _too_deep(shape: _Shape, bound: set[str]) -> set[str]:
    writer = _Writer(shape, bound, dict.fromkeys(bound, ""))
    for name in bound & {*shape.stages}:
        writer.value(name)
    return writer.deep - bound


def _names(net: FlatNet, bound: set[str]) -> dict[str, str]:
    """What bound values are called: as outputs, or by number."""
    names = {each.name: each.name for each in net.inputs}
    taken = {*names, *(name for name, _ in net.outputs)}
    for name, value in net.outputs:
        names.setdefault(value, name)
    numbers = count(1)
    for stage in net.stages:
        if stage.name in bound and stage.name not in names:
            names[stage.name] = next(
                name for number in numbers if (name := f"h{number}") not in taken
            )
    if bad := [name for name in (*names.values(), *taken) if not is_name(name)]:
        raise InternalError(f"`{bad[0]}` is no name", stage="import")
    return names
