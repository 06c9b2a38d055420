"""Source text and places in it: offset → line, column, excerpt."""

from bisect import bisect_right
from dataclasses import field
from itertools import accumulate

from cnnc.base.record import record


@record
class SourceFile:
    """A named text; lines end with `\\n` only (the reader of files sees to that)."""

    name: str
    text: str = field(repr=False)
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lengths = (len(line) + 1 for line in self.text.split("\n"))
        object.__setattr__(self, "_starts", (0, *accumulate(lengths))[:-1])

    def __hash__(self) -> int:
        return hash((self.name, len(self.text)))

    @property
    def line_count(self) -> int:
        """Number of lines; an empty text has one."""
        return len(self._starts)

    def line_at(self, offset: int) -> int:
        """Number of the line, from 1, that holds the character at `offset`."""
        return bisect_right(self._starts, offset)

    def column_at(self, offset: int) -> int:
        """Position in its line, from 1 and in characters, of the character at `offset`."""
        return offset - self._starts[self.line_at(offset) - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number`, counted from 1, without its end."""
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return self.text[start:end]

    def span(self, start: int, end: int) -> "Span":
        """The span of the characters from `start` up to, not including, `end`."""
        return Span(self, start, end)


@record
class Span:
    """The characters from `start` up to, not including, `end` of one source."""

    source: SourceFile = field(repr=False, hash=False)
    start: int
    end: int

    @property
    def line(self) -> int:
        """Line of the first character, from 1."""
        return self.source.line_at(self.start)

    @property
    def column(self) -> int:
        """Column of the first character, from 1."""
        return self.source.column_at(self.start)

    @property
    def end_line(self) -> int:
        """Line of the last character, from 1."""
        return self.source.line_at(max(self.start, self.end - 1))

    @property
    def end_column(self) -> int:
        """Column just after the last character, from 1."""
        return self.source.column_at(max(self.start, self.end - 1)) + (self.end > self.start)

    @property
    def excerpt(self) -> str:
        """The text the span covers."""
        return self.source.text[self.start : self.end]

    def to(self, other: "Span") -> "Span":
        """The smallest span of this source that covers both."""
        return Span(self.source, min(self.start, other.start), max(self.end, other.end))

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"
