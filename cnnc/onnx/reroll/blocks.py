"""What is written several times → blocks and repetitions.

Greedily: the part of a pipeline whose every use as a block saves most words becomes one, until
none saves any; then runs of equal parts become repetitions, which may make new parts equal.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from cnnc.base.record import record
from cnnc.onnx.reroll.naming import block_name
from cnnc.onnx.reroll.parameters import Pattern, abstract
from cnnc.onnx.reroll.repeats import collapse
from cnnc.onnx.reroll.tree import (
    Block,
    Chain,
    Item,
    Statement,
    Use,
    holes,
    map_chains,
    refers,
    size,
    skeleton,
)

LONGEST = 48
"""Items of a part that may become a block."""
MOST_PARAMETERS = 8
MOST_BLOCKS = 100
DEFINITION = 2.0
"""Words that a block costs beside its body, and a parameter costs in each use."""
ARGUMENT = 0.34
Key = tuple[int, ...]


@record
class Program:
    """Statements, and the blocks they use, each after those it uses."""

    blocks: tuple[Block, ...]
    statements: tuple[Statement, ...]


def reroll(statements: Sequence[Statement]) -> Program:
    """The shortest program that the greedy search finds; it computes the same."""
    program = Program((), tuple(statements))
    while True:
        before = program
        program = _map(program, collapse)
        while len(program.blocks) < MOST_BLOCKS and (made := _extract(program)) is not None:
            program = made
        program = _map(program, collapse)
        if program == before:
            return _ordered(program)


def _map(program: Program, change: Callable[[Chain], Chain]) -> Program:
    blocks = (replace(each, body=map_chains(each.body, change)) for each in program.blocks)
    statements = (
        replace(each, value=replace(each.value, chain=map_chains(each.value.chain, change)))
        for each in program.statements
    )
    return Program(tuple(blocks), tuple(statements))


def _chains(program: Program) -> list[Chain]:
    """All pipelines, those inside joins and repetitions too."""
    found: list[Chain] = []

    def note(chain: Chain) -> Chain:
        found.append(chain)
        return chain

    _map(program, note)
    return found


class _Index:
    """Items by number: equal numbers for equal skeletons. What refers to names equals nothing."""

    def __init__(self) -> None:
        self._numbers: dict[Item, int] = {}
        self._strangers = 0

    def key(self, chain: Chain) -> Key:
        return tuple(map(self._number, chain))

    def _number(self, item: Item) -> int:
        if refers((item,)):
            self._strangers -= 1
            return self._strangers
        (bare,) = skeleton((item,))
        return self._numbers.setdefault(bare, len(self._numbers))


def _extract(program: Program) -> Program | None:
    """The program with one more block, if that saves words."""
    index = _Index()
    chains = [(chain, index.key(chain)) for chain in _chains(program)]
    best: tuple[float, Key, Pattern] | None = None
    for bound, key in _candidates(chains):
        if best is not None and bound <= best[0]:
            break
        parts = [*_occurrences(chains, key)]
        if _is_power(key, parts):
            continue
        pattern = abstract(parts)
        cost = DEFINITION + len(parts) * ARGUMENT * len(pattern.parameters)
        saved = bound - cost
        fits = len(pattern.parameters) <= MOST_PARAMETERS
        if fits and saved > 0 and (best is None or saved > best[0]):
            best = (saved, key, pattern)
    return None if best is None else _replace(program, best[1], best[2], index)


def _candidates(chains: Sequence[tuple[Chain, Key]]) -> list[tuple[float, Key]]:
    """Parts that stand somewhere twice, and the words they would save without any parameter."""
    places = [
        (number, start) for number, (_, key) in enumerate(chains) for start in range(len(key))
    ]
    found: list[tuple[float, Key]] = []
    for length in range(1, LONGEST + 1):
        counts: dict[Key, list[int]] = {}
        for number, start in places:
            part = chains[number][1][start : start + length]
            if len(part) < length or part[-1] < 0:
                continue
            # how often, where the last one ends, how often with those that overlap
            seen = counts.setdefault(part, [0, -1, 0, 0, 0])
            if seen[1] != number or start >= seen[2]:
                seen[:3] = [seen[0] + 1, number, start + length]
            seen[3:] = [seen[3] + 1, start]
        for part, (count, number, _, _, start) in counts.items():
            words = size(chains[number][0][start : start + length]) if count > 1 else 0
            saved = (count - 1) * words - count
            if words > 1 and saved > 0:
                found.append((float(saved), part))
        # what stands somewhere once only, stands there once when it is longer
        places = [
            (number, start)
            for number, start in places
            if counts.get(chains[number][1][start : start + length], [0, 0, 0, 0])[3] > 1
        ]
    return sorted(found, key=lambda each: -each[0])


def _occurrences(chains: Sequence[tuple[Chain, Key]], key: Key) -> Iterator[Chain]:
    for chain, known in chains:
        for start in _starts(known, key):
            yield chain[start : start + len(key)]


def _starts(known: Key, key: Key) -> Iterator[int]:
    start = 0
    while start + len(key) <= len(known):
        if known[start : start + len(key)] == key:
            yield start
            start += len(key)
        else:
            start += 1


def _is_power(key: Key, parts: Sequence[Chain]) -> bool:
    """Whether every part is a smaller one several times, numbers and all: a repetition."""
    for period in range(1, len(key) // 2 + 1):
        if len(key) % period or key != key[:period] * (len(key) // period):
            continue
        pieces = [
            [holes(part[place : place + period]) for place in range(0, len(key), period)]
            for part in parts
        ]
        if all(piece == row[0] for row in pieces for piece in row):
            return True
    return False


def _replace(program: Program, key: Key, pattern: Pattern, index: _Index) -> Program:
    name = block_name(pattern.body, {block.name for block in program.blocks})
    arguments = iter(pattern.arguments)

    def change(chain: Chain) -> Chain:
        known, items, end = index.key(chain), list[Item](), 0
        for start in _starts(known, key):
            values = zip(pattern.parameters, next(arguments), strict=True)
            items += [*chain[end:start], Use(name, tuple(values))]
            end = start + len(key)
        return (*items, *chain[end:])

    made = _map(program, change)
    block = Block(name, pattern.parameters, pattern.body, pattern.defaults)
    return Program((*made.blocks, block), made.statements)


def _ordered(program: Program) -> Program:
    """Blocks after those they use."""
    blocks = {block.name: block for block in program.blocks}
    done: dict[str, Block] = {}

    def visit(chain: Chain) -> Chain:
        for item in chain:
            if isinstance(item, Use) and item.block not in done:
                map_chains(blocks[item.block].body, visit)
                done[item.block] = blocks[item.block]
        return chain

    for statement in program.statements:
        map_chains(statement.value.chain, visit)
    return Program(tuple(done.values()), program.statements)
