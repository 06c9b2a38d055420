"""Texts that know where they may break, and their layout within a width.

Wadler's "A prettier printer" (2003) in the strict form of Lindig's "Strictly pretty" (2000). What
is in a `Group` stands on one line if it fits there, otherwise all of its own lines break.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cnnc.base.record import record

INDENT = 2


@record
class Line:
    """A place to break; `flat` is what stands there otherwise."""

    flat: str = " "


@record
class Hard:
    """A break that is always taken, with a blank line above the next one if so wished."""

    blank: bool = False


@record
class IfBroken:
    """Text that stands only where the group around it is broken."""

    text: str


@record
class Remark:
    """A comment behind everything else on its line; takes no room. A `Hard` has to follow."""

    text: str


@record
class _Node:
    parts: tuple["Doc", ...]
    flat: int | None = field(init=False)
    """Its width on one line; None if it has to break."""
    head: tuple[int, bool] = field(init=False)
    """Width up to the first place it may break at, and whether there is one."""

    def __post_init__(self) -> None:
        widths = [flat_width(part) for part in self.parts]
        known = [width for width in widths if width is not None]
        object.__setattr__(self, "flat", sum(known) if len(known) == len(widths) else None)
        object.__setattr__(self, "head", _head(self.parts))


@record
class Cat(_Node):
    """One after the other; the lines in it belong to the group around."""


@record
class Group(_Node):
    """On one line if that fits."""


@record
class Nest(_Node):
    """Lines in it are indented further."""

    by: int = INDENT


@record
class Fill(_Node):
    """Words with lines between them, as many on each line as fit."""


@record
class Chain(_Node):
    """A pipeline: the start, and for each stage the gap before its arrow, the arrow, the stage.

    On one line if it fits; else, if a single stage is what does not fit on a line of its own, all
    on the lines that stage breaks into; else one stage on each line.
    """


Doc: TypeAlias = str | Line | Hard | IfBroken | Remark | Cat | Group | Nest | Fill | Chain
ARROW = "-> "


@dataclass(slots=True)
class Row:
    """A line of the result: its code, indented, and the comment behind it."""

    text: str = ""
    remark: str = ""


def flat_width(doc: Doc) -> int | None:
    """The width of a document on one line; None if it has to break."""
    match doc:
        case str():
            return len(doc)
        case Line(flat):
            return len(flat)
        case IfBroken():
            return 0
        case Hard() | Remark():
            return None
    return doc.flat


def flat_text(doc: Doc) -> str:
    """The document on one line."""
    pieces: list[str] = []
    stack = [doc]
    while stack:
        match stack.pop():
            case str(text) | Line(text):
                pieces.append(text)
            case Chain() | Cat() | Group() | Nest() | Fill() as node:
                stack += reversed(node.parts)
    return "".join(pieces)


def layout(doc: Doc, width: int) -> list[Row]:
    """The rows of a document; texts that cannot break may be wider than `width`."""
    return _Printer(width).run(doc)


def _head(parts: Iterable[Doc]) -> tuple[int, bool]:
    total = 0
    for part in parts:
        match part:
            case str():
                total += len(part)
            case Line() | Hard():
                return total, True
            case IfBroken() | Remark():
                pass
            case _:
                total += part.head[0]
                if part.head[1]:
                    return total, True
    return total, False


class _Printer:
    def __init__(self, width: int) -> None:
        self._width = width
        self._rows = [Row()]
        self._stack: list[tuple[int, Doc]] = []

    def run(self, doc: Doc) -> list[Row]:
        self._stack = [(0, doc)]
        while self._stack:
            indent, top = self._stack.pop()
            if isinstance(top, str | Line | Hard | IfBroken | Remark):
                self._put(indent, top)
            elif not (isinstance(top, Group | Chain) and self._wrote_flat(top)):
                self._open(indent, top)
        return self._rows

    def _put(self, indent: int, leaf: str | Line | Hard | IfBroken | Remark) -> None:
        match leaf:
            case str(text) | IfBroken(text):
                self._write(text)
            case Line():
                self._break(indent)
            case Hard(blank):
                if blank:
                    self._rows.append(Row())
                self._break(indent)
            case Remark(text):
                self._rows[-1].remark = text

    def _open(self, indent: int, node: Cat | Group | Nest | Fill | Chain) -> None:
        match node:
            case Nest(by=by):
                self._push(indent + by, node.parts)
            case Fill():
                self._push(indent, self._filled(indent, node))
            case Chain():
                self._push(indent, self._broken(indent, node))
            case _:
                self._push(indent, node.parts)

    def _write(self, text: str) -> None:
        self._rows[-1].text += text

    def _break(self, indent: int) -> None:
        self._rows[-1].text = self._rows[-1].text.rstrip(" ")
        self._rows.append(Row(" " * indent))

    def _push(self, indent: int, parts: Sequence[Doc]) -> None:
        self._stack += [(indent, part) for part in reversed(parts)]

    @property
    def _column(self) -> int:
        return len(self._rows[-1].text)

    def _wrote_flat(self, doc: Group | Chain) -> bool:
        fits = doc.flat is not None and self._column + doc.flat + self._tail() <= self._width
        if fits:
            self._write(flat_text(doc))
        return fits

    def _tail(self) -> int:
        """Width of what stands behind on the same line, up to where it may break."""
        return _head(part for _, part in reversed(self._stack))[0]

    def _filled(self, indent: int, fill: Fill) -> tuple[Doc, ...]:
        column = self._column + (flat_width(fill.parts[0]) or 0)
        parts = [fill.parts[0]]
        for line, part in zip(fill.parts[1::2], fill.parts[2::2], strict=True):
            size = flat_width(part) or 0
            fits = column + 1 + size <= self._width
            column = (column + 1 if fits else indent) + size
            parts += (" " if fits else line, part)
        return tuple(parts)

    def _broken(self, indent: int, chain: Chain) -> tuple[Doc, ...]:
        """A pipeline that does not fit on one line."""
        items = chain.parts[::3]
        if all(isinstance(gap, Line) for gap in chain.parts[1::3]):
            room = self._width - indent - INDENT - len(ARROW)
            limits = [self._width - self._column, *[room] * (len(items) - 1)]
            wide = [place for place, item in enumerate(items) if _exceeds(item, limits[place])]
            if len(wide) == 1 and self._hugs(indent, items, wide[0]):
                return tuple(" " if isinstance(part, Line) else part for part in chain.parts)
        return (chain.parts[0], Nest(chain.parts[1:]))

    def _hugs(self, indent: int, items: Sequence[Doc], place: int) -> bool:
        """Whether the lines around those the item at `place` breaks into are short enough."""
        between = len(ARROW) + 1
        before = sum((flat_width(item) or 0) + between for item in items[:place])
        after = sum((flat_width(item) or 0) + between for item in items[place + 1 :])
        first = self._column + before + _opening(items[place])
        return first <= self._width and indent + 1 + after + self._tail() <= self._width


def _exceeds(doc: Doc, limit: int) -> bool:
    width = flat_width(doc)
    return width is None or width > limit


def _opening(doc: Doc) -> int:
    """Width of the first line when the last group of the document is broken."""
    if not isinstance(doc, Cat | Group):
        return flat_width(doc) or 0
    total = 0
    for place, part in enumerate(doc.parts):
        if isinstance(part, Line | Hard | Nest | Remark):
            break
        later = any(_may_break(other) for other in doc.parts[place + 1 :])
        total += (flat_width(part) or 0) if later else _opening(part)
    return total


def _may_break(doc: Doc) -> bool:
    return isinstance(doc, Line | Hard) or (isinstance(doc, _Node) and doc.head[1])
