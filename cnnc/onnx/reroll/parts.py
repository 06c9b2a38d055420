"""Pipelines cut where the paths of their stages say that another part begins.

Where `layer1.0.conv1` and `layer1.2.conv3` stand in a row, `layer1 = …` binds them. Until here a
call's label is the path of its stage; from here on it is its last part, behind the name of the
binding that stands for the rest: `layer1.conv3`. Beside bindings, where labels have paths of their
own, such labels have no place; in blocks and repetitions they have.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cnnc.base.record import record
from cnnc.onnx.reroll.names import is_name, label_of
from cnnc.onnx.reroll.tree import (
    Branch,
    Call,
    Chain,
    Item,
    Join,
    Ref,
    Statement,
    labels,
    map_calls,
)

LEAST = 2
"""Stages with weights that are a part."""


@record
class _Run:
    """Items in a row whose paths begin alike; `part` is None where they do not."""

    part: str | None
    items: Chain


def cut(statements: Sequence[Statement], reserved: Sequence[str]) -> tuple[Statement, ...]:
    """The statements cut into parts, with labels in place of paths; parts get no reserved names."""
    runs = [[*_runs(each.value.chain)] for each in statements]
    seen = Counter(part for row in runs for run in row for part in _parts(run.items))
    often = Counter(run.part for row in runs for run in row)
    taken = {*reserved, *(each.name for each in statements)}
    done: list[Statement] = []
    renamed: dict[str, str] = {}
    for statement, row in zip(statements, runs, strict=True):
        free = {
            run.part
            for run in _ready(row)
            if run.part is not None
            and (run.part not in taken or (run.part == statement.name and not statement.is_output))
            and often[run.part] == 1
            and seen[run.part] >= LEAST
            and len([*_parts(run.items)]) == seen[run.part]
        }
        done += _pieces(statement, row, free, renamed)
        taken |= free
    return tuple(replace(each, value=_renamed(each.value, renamed)) for each in done)


def _ready(runs: Sequence[_Run]) -> Iterator[_Run]:
    """Runs before which nothing stands whose path would get the part's name in front."""
    is_ready = True
    for run in runs:
        if run.part is None:
            is_ready = is_ready and all(_is_labelled(item) for item in run.items)
        elif is_ready:
            yield run


def _is_labelled(item: Item) -> bool:
    if isinstance(item, Call):
        path = item.label
        return path is None or ("." not in path and label_of(item.op, path) is not None)
    return not _paths((item,))


def _runs(chain: Chain) -> Iterator[_Run]:
    items: list[Item] = []
    current: str | None = None
    is_open = True
    for item in chain:
        found = {*_parts((item,))}
        part = found.pop() if len(found) == 1 and "" not in found else None
        if _paths((item,)) and not (part == current and not is_open):
            if not is_open:
                yield _Run(current, tuple(items))
                items = []
            current, is_open = part, False
        items.append(item)
    if items:
        yield _Run(current, tuple(items))


def _paths(chain: Chain) -> list[str]:
    """The paths of the stages with weights."""
    return [label for label in labels(chain) if label is not None]


def _parts(chain: Chain) -> Iterator[str]:
    """The first part of each path; "" where there is only one."""
    for path in _paths(chain):
        first, dot, _ = path.partition(".")
        yield first if dot and is_name(first) else ""


def _pieces(
    statement: Statement, runs: Sequence[_Run], free: set[str], renamed: dict[str, str]
) -> Iterator[Statement]:
    """A binding for each part; what is none stands before the next one, or is left at the end."""
    head, items = statement.value.head, tuple[Item, ...]()
    last = None
    for run in runs:
        part = run.part if run.part is not None and run.part in free else None
        items = (*items, *_labelled(run.items, part))
        if part is not None:
            yield Statement(part, Branch(items, head))
            head, items, last = Ref(part), (), part
    if not items and last is not None and not statement.is_output:
        renamed[statement.name] = last
        return
    yield replace(statement, value=Branch(items, head))


def _labelled(chain: Chain, part: str | None) -> Chain:
    def change(call: Call) -> Call:
        if call.label is None:
            return call
        if part is None or not call.label.startswith(f"{part}."):
            return replace(call, label=label_of(call.op, call.label))
        label = label_of(call.op, call.label.removeprefix(f"{part}."))
        return replace(call, label=None if label is None else f"{part}.{label}")

    return map_calls(chain, change)


def _renamed(branch: Branch, names: dict[str, str]) -> Branch:
    """The pipeline with other names for some values."""
    head = branch.head
    if isinstance(head, Ref) and head.name in names:
        head = Ref(names[head.name])
    return Branch(tuple(_renamed_item(item, names) for item in branch.chain), head)


def _renamed_item(item: Item, names: dict[str, str]) -> Item:
    if not isinstance(item, Join):
        return item
    return replace(item, branches=tuple(_renamed(each, names) for each in item.branches))
