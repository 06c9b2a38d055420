"""A network as text has it, before it is text: statements, pipelines, joins, blocks.

What blocks may leave open, numbers and lists of them, are the *holes* of an item, in the order the
text shows them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from cnnc.base.record import record
from cnnc.ops.attributes import Symbol, Value


@record
class Formula:
    """What is computed from a block's parameters: `channels`, `4 * channels`."""

    text: str


Hole: TypeAlias = Value | Formula
"""What may stand in a hole."""


@record
class Ref:
    """A value by name."""

    name: str


@record
class Number:
    """A literal."""

    value: Hole


@record
class Call:
    """An operator of what flows in; `tensor` begins a pipeline. Attributes are all there are."""

    op: str
    attributes: tuple[tuple[str, Hole], ...]
    label: str | None = None


@record
class Branch:
    """A pipeline that begins with `head`, or with what flows into the join."""

    chain: "Chain"
    head: Ref | Number | Call | None = None


@record
class Join:
    """An operator of several branches."""

    op: str
    attributes: tuple[tuple[str, Hole], ...]
    branches: tuple[Branch, ...]


@record
class Use:
    """A block with an argument for each of its parameters."""

    block: str
    arguments: tuple[tuple[str, Hole], ...]


@record
class Repeat:
    """A pipeline several times."""

    count: Hole
    body: "Chain"


Item: TypeAlias = Call | Join | Use | Repeat
Chain: TypeAlias = tuple[Item, ...]


@record
class Statement:
    """A binding or an output."""

    name: str
    value: Branch
    is_output: bool = False


@record
class Block:
    """A part with parameters; `defaults` are those that calls may leave out."""

    name: str
    parameters: tuple[str, ...]
    body: Chain
    defaults: tuple[tuple[str, Hole], ...] = ()


def is_hole(value: Hole) -> bool:
    """Whether a value may differ between the uses of a block."""
    if isinstance(value, tuple):
        return bool(value) and all(map(is_hole, value))
    return not isinstance(value, bool | str | Symbol)


Change = Callable[[str, Hole], Hole]


def change_holes(chain: Chain, change: Change, label: Callable[[str | None], str | None]) -> Chain:
    """The chain with each hole changed, which is given with its name, and each label."""
    return tuple(_change(item, change, label) for item in chain)


def _change(item: Item, change: Change, label: Callable[[str | None], str | None]) -> Item:
    def pairs(given: Sequence[tuple[str, Hole]]) -> tuple[tuple[str, Hole], ...]:
        return tuple(
            (name, change(name, value) if is_hole(value) else value) for name, value in given
        )

    match item:
        case Call():
            return replace(item, attributes=pairs(item.attributes), label=label(item.label))
        case Use():
            return replace(item, arguments=pairs(item.arguments))
        case Repeat():
            count = change("count", item.count)
            return Repeat(count, change_holes(item.body, change, label))
        case Join():
            attributes = pairs(item.attributes)
            branches = (_change_branch(each, change, label) for each in item.branches)
            return replace(item, attributes=attributes, branches=tuple(branches))


def _change_branch(
    branch: Branch, change: Change, label: Callable[[str | None], str | None]
) -> Branch:
    head = branch.head
    if isinstance(head, Number):
        head = Number(change("number", head.value))
    elif isinstance(head, Call):
        made = _change(head, change, label)
        assert isinstance(made, Call)
        head = made
    return Branch(change_holes(branch.chain, change, label), head)


def holes(chain: Chain) -> list[tuple[str, Hole]]:
    """The holes of a chain in order."""
    found: list[tuple[str, Hole]] = []

    def note(name: str, value: Hole) -> Hole:
        found.append((name, value))
        return value

    change_holes(chain, note, lambda name: name)
    return found


def skeleton(chain: Chain) -> Chain:
    """The chain without what its holes hold, and without labels."""
    return change_holes(chain, lambda name, value: 0, lambda name: None)


def labels(chain: Chain) -> list[str | None]:
    """The labels of a chain's calls in order, None where one has none."""
    found: list[str | None] = []

    def note(name: str | None) -> str | None:
        found.append(name)
        return name

    change_holes(chain, lambda name, value: value, note)
    return found


def refers(chain: Chain) -> bool:
    """Whether anything in the chain is a value by name: no block knows it."""
    return any(
        isinstance(branch.head, Ref) or refers(branch.chain)
        for item in chain
        for branch in _branches(item)
    )


def _branches(item: Item) -> Iterator[Branch]:
    match item:
        case Join():
            yield from item.branches
        case Repeat():
            yield Branch(item.body)


def size(chain: Chain) -> int:
    """Words on the page: calls, joins, repetitions and uses."""
    return sum(1 + sum(size(branch.chain) for branch in _branches(item)) for item in chain)


def map_chains(chain: Chain, change: Callable[[Chain], Chain]) -> Chain:
    """The chain with `change` applied to every chain inside, innermost first, and to itself."""
    made: list[Item] = []
    for item in chain:
        match item:
            case Join():
                branches = (
                    replace(each, chain=map_chains(each.chain, change)) for each in item.branches
                )
                made.append(replace(item, branches=tuple(branches)))
            case Repeat():
                made.append(replace(item, body=map_chains(item.body, change)))
            case _:
                made.append(item)
    return change(tuple(made))


def map_calls(chain: Chain, change: Callable[[Call], Call]) -> Chain:
    """The chain with every call changed, those that begin branches too."""

    def branch(each: Branch) -> Branch:
        head = change(each.head) if isinstance(each.head, Call) else each.head
        return Branch(each.chain, head)

    def items(part: Chain) -> Chain:
        made: list[Item] = []
        for item in part:
            match item:
                case Call():
                    made.append(change(item))
                case Join():
                    made.append(replace(item, branches=tuple(map(branch, item.branches))))
                case _:
                    made.append(item)
        return tuple(made)

    return map_chains(chain, items)


def leaf(label: str | None) -> str | None:
    """A label without the binding before it."""
    return None if label is None else label.rpartition(".")[2]
