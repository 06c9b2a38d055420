"""Names in a weights file → names in the net, by patterns.

`{i}` stands for a part of a name without dots, `*` for any part; both hold one character or more.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from cnnc.base.errors import Diagnostic
from cnnc.base.record import record
from cnnc.base.source import Span
from cnnc.frontend import ast

MAX_WILDCARDS = 8
_PIECE = re.compile(r"\*|\{[^\W\d]\w*\}")


@record
class Rule:
    """`target` is None where the matching tensors are dropped."""

    pattern: tuple[str, ...]
    target: tuple[str, ...] | None
    span: Span


def read_rules(
    renames: Sequence[ast.Rename],
) -> tuple[tuple[Rule, ...], tuple[Diagnostic, ...]]:
    """The rules, and what is wrong with those that are none."""
    rules: list[Rule] = []
    problems: list[Diagnostic] = []
    for rename in renames:
        problem = _problem(rename)
        if problem is not None:
            problems.append(problem)
            continue
        target = _pieces(rename.target.value) if isinstance(rename.target, ast.Text) else None
        rules.append(Rule(_pieces(rename.pattern.value), target, rename.pattern.span))
    return tuple(rules), tuple(problems)


def rename(
    rules: Sequence[Rule], names: Sequence[str]
) -> tuple[Mapping[str, str], tuple[Diagnostic, ...]]:
    """Name in the net → name in the file, by the first rule that matches; others keep theirs.

    A rule that renames nothing and two names that become one are problems; there may be nothing to
    drop.
    """
    renamed: dict[str, str] = {}
    used: set[int] = set()
    problems: list[Diagnostic] = []
    for name in names:
        new: str | None = name
        span: Span | None = None
        for position, rule in enumerate(rules):
            parts = match(rule.pattern, name)
            if parts is not None:
                used.add(position)
                new = None if rule.target is None else fill(rule.target, parts)
                span = rule.span
                break
        if new is None:
            continue
        if new in renamed:
            message = f"`{renamed[new]}` and `{name}` would both be `{new}`"
            problems.append(Diagnostic("E0405", message, span))
        else:
            renamed[new] = name
    for position, rule in enumerate(rules):
        if position not in used and rule.target is not None:
            message = "this rule renames nothing"
            note = f"the file holds {_some(names)}"
            help = "correct the pattern; files that were made of a model are made together again"
            problems.append(Diagnostic("E0405", message, rule.span, notes=(note,), help=help))
    return renamed, tuple(problems)


def match(pattern: Sequence[str], name: str) -> Mapping[str, str] | None:
    """What each wildcard stands for, or None; stars are called `*0`, `*1`, ….

    Earlier wildcards take as much as they can. Dead ends are remembered, so hostile patterns and
    names cost no more than their product.
    """
    dead: set[tuple[int, int]] = set()

    def ends(piece: str, start: int) -> Iterator[int]:
        if not _PIECE.fullmatch(piece):
            if name.startswith(piece, start):
                yield start + len(piece)
            return
        dot = name.find(".", start)
        stop = len(name) if piece == "*" or dot < 0 else dot
        yield from range(stop, start, -1)

    def search(position: int, start: int) -> list[tuple[int, int]] | None:
        if position == len(pattern):
            return [] if start == len(name) else None
        if (position, start) in dead:
            return None
        for end in ends(pattern[position], start):
            rest = search(position + 1, end)
            if rest is not None:
                return [(start, end), *rest]
        dead.add((position, start))
        return None

    found = search(0, 0)
    if found is None:
        return None
    stars = (f"*{count}" for count in range(len(pattern)))
    return {
        next(stars) if piece == "*" else piece: name[start:end]
        for piece, (start, end) in zip(pattern, found, strict=True)
        if _PIECE.fullmatch(piece)
    }


def fill(target: Sequence[str], parts: Mapping[str, str]) -> str:
    """The target with its wildcards replaced."""
    stars = (f"*{count}" for count in range(len(target)))
    return "".join(
        parts[next(stars) if piece == "*" else piece] if _PIECE.fullmatch(piece) else piece
        for piece in target
    )


def _pieces(text: str) -> tuple[str, ...]:
    """Literal text and wildcards in order."""
    pieces: list[str] = []
    end = 0
    for found in _PIECE.finditer(text):
        pieces += [text[end : found.start()], found.group()]
        end = found.end()
    pieces.append(text[end:])
    return tuple(piece for piece in pieces if piece)


def _problem(rename: ast.Rename) -> Diagnostic | None:
    pattern = _wildcards(rename.pattern.value)
    if len(pattern) > MAX_WILDCARDS:
        message = f"a pattern has at most {MAX_WILDCARDS} wildcards"
        return Diagnostic("E0405", message, rename.pattern.span)
    named = [piece for piece in pattern if piece != "*"]
    twice = next((piece for piece in named if named.count(piece) > 1), None)
    if twice is not None:
        message = f"`{twice}` stands twice in a pattern"
        return Diagnostic("E0405", message, rename.pattern.span, help="use two names")
    if isinstance(rename.target, ast.Name):
        if rename.target.text == "drop":
            return None
        message = f"`{rename.target.text}` is no target"
        return Diagnostic(
            "E0405", message, rename.target.span, help='a target is a "name" in quotes, or `drop`'
        )
    target = _wildcards(rename.target.value)
    lacking = next((piece for piece in target if piece != "*" and piece not in pattern), None)
    if lacking is None and target.count("*") > pattern.count("*"):
        lacking = "*"
    if lacking is not None:
        message = f"`{lacking}` of the target does not stand in the pattern"
        return Diagnostic("E0405", message, rename.target.span)
    return None


def _wildcards(text: str) -> list[str]:
    return _PIECE.findall(text)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:4])
    return f"{shown}, … ({len(names)} in all)" if len(names) > 4 else shown or "nothing"
