"""A flat net → statements: pipelines with joins where branches meet that began together.

A value that several stages read stays without a name where all that is made of it meets again in
one stage: that stage is a join of branches. All other such values are bound to names.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import count

from cnnc.base.errors import InternalError
from cnnc.onnx.flat import FlatNet, Stage
from cnnc.onnx.reroll.attributes import shown_attributes
from cnnc.onnx.reroll.names import is_name
from cnnc.onnx.reroll.topology import Topology
from cnnc.onnx.reroll.tree import Branch, Call, Hole, Item, Join, Number, Ref, Statement
from cnnc.ops.spec import find

DEEPEST = 6
"""Joins within joins; what nests deeper is bound to names."""


class _Writer:
    """Values as pipelines. `deep` are those of joins nested too deeply."""

    def __init__(self, shape: Topology, bound: set[str], names: Mapping[str, str]) -> None:
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
                (name,) = stage.operands
            elif name in self.joins or len({*flowing}) == 1:
                start = self.joins.get(name, flowing[0])
                items.append(self._join(stage, start, depth))
                name = start
            else:
                items.append(self._join(stage, base, depth))
                break
        return Branch(tuple(reversed(items)))

    def _join(self, stage: Stage, start: str | None, depth: int) -> Join:
        if depth == DEEPEST:
            self.deep.add(stage.name)
            return Join(stage.op, (), ())  # nobody will read it
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
    return Call(stage.op, _attributes(stage), stage.name if stage.parameters else None)


def _attributes(stage: Stage) -> tuple[tuple[str, Hole], ...]:
    kind = find(stage.op)
    if kind is None:
        raise InternalError(f"there is no operator `{stage.op}`", stage="import")
    return shown_attributes(kind.make(stage.attributes), stage.result.dtype)


def structure(net: FlatNet) -> tuple[Statement, ...]:
    """The statements in order, outputs last where they were bound before."""
    shape = Topology(net)
    bound = {name for _, name in net.outputs} | {each.name for each in net.inputs}
    while more := shape.loose(bound) or _too_deep(shape, bound):
        bound |= more
    names = _names(net, bound)
    writer = _Writer(shape, bound, names)
    wanted = dict[str, str]()
    for name, value in net.outputs:
        wanted.setdefault(value, name)
    made = [stage.name for stage in net.stages if stage.name in bound]
    aliases = [
        (name, value)
        for name, value in net.outputs
        if wanted[value] != name or value not in shape.stages
    ]
    in_text = [wanted[value] for value in made if value in wanted] + [name for name, _ in aliases]
    is_apart = in_text != [name for name, _ in net.outputs]
    done = [
        Statement(names[value], writer.value(value), value in wanted and not is_apart)
        for value in made
    ]
    # outputs leave in the order of the text
    last = net.outputs if is_apart else aliases
    done += [Statement(name, Branch((), Ref(names[value])), True) for name, value in last]
    return tuple(done)


def _too_deep(shape: Topology, bound: set[str]) -> set[str]:
    """The results of joins that nest too deeply, and of those in them."""
    writer = _Writer(shape, bound, dict.fromkeys(bound, ""))
    todo, seen = [*(bound & {*shape.stages})], set(bound)
    while todo:
        writer.value(todo.pop())
        todo += writer.deep - seen
        seen |= writer.deep
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
