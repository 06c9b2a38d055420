"""Tokens for the formatter: with the comments before each, and without commas that say nothing."""

from collections.abc import Iterable, Iterator, Sequence

from lark import Token

from cnnc.base.record import record

LEADING = frozenset(
    {"_ARROW", "VBAR", "COMPARE", "PLUS", "MINUS", "TIMES", "DIVIDE", "FLOOR", "MODULO"}
    | {"CIRCUMFLEX", "AND", "OR"}
)
"""Tokens that start a line where one has to break: a comment behind one goes before it."""


@record
class Gap:
    """What stands between two tokens besides spaces.

    `remark` is the comment on the line of the token before; `own` are lines of their own: comments,
    and None for blank lines, however many they were.
    """

    remark: str = ""
    own: tuple[str | None, ...] = ()

    @property
    def comments(self) -> tuple[str, ...]:
        """The comments on lines of their own."""
        return tuple(line for line in self.own if line is not None)

    @property
    def is_empty(self) -> bool:
        """Whether there is no comment."""
        return not self.remark and not self.comments

    def then(self, other: "Gap") -> "Gap":
        """What both hold, in order."""
        if not other.remark or not (self.remark or self.comments):
            return Gap(self.remark or other.remark, tuple(_single(self.own + other.own)))
        return Gap(self.remark, tuple(_single((*self.own, other.remark, *other.own))))


def read_gaps(text: str, tokens: Sequence[Token]) -> list[Gap]:
    """The gap before each token, and the one before the end of the text."""
    gaps = []
    before = 0
    for token in tokens:
        start = token.start_pos or 0
        gaps.append(_gap(text[before:start], is_first=before == 0))
        before = start + len(token)
    return [*gaps, _gap(text[before:], is_first=not tokens)]


def settle_gaps(tokens: Sequence[Token], gaps: Sequence[Gap]) -> list[Gap]:
    """The same comments where they will stand: behind commas, before operators and arrows."""
    settled = list(gaps)
    for place in reversed(range(len(tokens))):
        if tokens[place].type in LEADING:
            settled[place] = settled[place].then(settled[place + 1])
            settled[place + 1] = Gap()
    for place, token in enumerate(tokens):
        if token.type == "COMMA":
            settled[place + 1] = settled[place].then(settled[place + 1])
            settled[place] = Gap()
    return settled


def _gap(text: str, *, is_first: bool) -> Gap:
    first, *rest = text.split("\n")
    if is_first:
        rest, first = [first, *rest], ""
    lines = [line.strip() for line in rest]
    if lines and not lines[-1]:
        lines.pop()  # the indentation of the token that follows
    return Gap(first.strip(), tuple(_single(line or None for line in lines)))


def _single(lines: Iterable[str | None]) -> Iterator[str | None]:
    """The lines with one blank line in place of several."""
    before: str | None = ""
    for line in lines:
        if line is not None or before is not None:
            yield line
        before = line
