"""Pointers into buffers, declared loop by loop, so that what is inside has short indices."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from cnnc.backends.c.text import Block
from cnnc.loop.expr import Expr, Var, children
from cnnc.loop.kernel import Body, For, Kind

_FEW = 2
"""Statements of an innermost loop that index with its variable, without pointers of its own."""


class Pointing(Enum):
    """Where what a loop variable adds to an index is added to a pointer."""

    HERE = "in the loop's own block"
    FURTHER_IN = "in that of a loop inside, as nothing else is in this one"
    IN_INDEX = "nowhere: the variable stands in the index"


@dataclass
class Pointer:
    """A pointer into a buffer, declared in the block of this depth."""

    name: str
    depth: int


@dataclass
class Level:
    """An open block, and the loop variables that become known in it.

    `pointers` are those declared in it.
    """

    block: Block
    variables: tuple[str, ...]
    pointing: Pointing
    depth: int
    pointers: dict[object, Pointer]


def home(term: Expr, levels: Sequence[Level]) -> int | None:
    """The depth of the block that adds a term to pointers, None where no block does."""
    names, depth = variables(term), 0
    for level in levels:
        if names & {*level.variables}:
            if level.pointing is Pointing.IN_INDEX:
                return None
            depth = level.depth
    while levels[depth].pointing is Pointing.FURTHER_IN:
        depth += 1
    return None if levels[depth].pointing is Pointing.IN_INDEX else depth


def pointing_of(loop: For) -> Pointing:
    """That of a loop, by its kind and its body."""
    if loop.kind is Kind.UNROLLED and not loop.reduces:
        return Pointing.IN_INDEX
    return pointing_inside(loop.body)


def pointing_inside(body: Body) -> Pointing:
    """That of a loop with this body."""
    while len(body) == 1 and isinstance(body[0], For) and body[0].extent == 1:
        body = body[0].body
    if not any(isinstance(stmt, For) for stmt in body):
        return Pointing.IN_INDEX if len(body) <= _FEW else Pointing.HERE
    if len(body) == 1 and isinstance(body[0], For):
        is_last = pointing_of(body[0]) is Pointing.IN_INDEX
        return Pointing.HERE if is_last else Pointing.FURTHER_IN
    return Pointing.HERE


def variables(expr: Expr) -> set[str]:
    """The loop variables that an index mentions."""
    if isinstance(expr, Var):
        return {expr.name}
    return {name for part in children(expr) for name in variables(part)}
