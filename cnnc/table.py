"""Plain text tables, the same on a terminal, in a file and in a notebook."""

from collections.abc import Sequence
from unicodedata import combining, east_asian_width

from cnnc.base.record import record


@record
class Column:
    """A column's title, and whether its cells are numbers, which stand to the right."""

    title: str
    is_number: bool = False


@record
class Table:
    """Rows of texts under titles, and perhaps a line of totals."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    total: Sequence[str] = ()

    def __str__(self) -> str:
        return format_table(self.columns, self.rows, self.total)


def format_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], total: Sequence[str] = ()
) -> str:
    """Titles, a rule, one line per row, and a last line of totals behind a second rule."""
    titles = [column.title for column in columns]
    lines = [titles, *rows, *([total] if total else [])]
    widths = [max(_width(line[place]) for line in lines) for place in range(len(columns))]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    text = [_line(titles, columns, widths), rule]
    text += [_line(row, columns, widths) for row in rows]
    if total:
        text += [rule, _line(total, columns, widths)]
    return "\n".join(text)


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    parts = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        space = " " * (width - _width(cell))
        parts.append(space + cell if column.is_number else cell + space)
    return "  ".join(parts).rstrip()


def _width(text: str) -> int:
    wide = sum(east_asian_width(c) in ("W", "F") for c in text)
    return len(text) + wide - sum(combining(c) != 0 for c in text)


def shape_text(shape: Sequence[int]) -> str:
    """An array's shape: 1×16×8×8."""
    return "×".join(map(str, shape)) or "scalar"


def count_text(count: int) -> str:
    """A count with its thousands apart: 24,730."""
    return f"{count:,}"


def plural(count: int, noun: str) -> str:
    """So many of these: 1 sample, 2 samples."""
    return f"{count_text(count)} {noun}" + ("" if count == 1 else "s")


def bytes_text(count: int) -> str:
    """A number of bytes for people: 96.6 KiB."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def seconds_text(seconds: float) -> str:
    """A duration in the unit that fits: 83.1 µs."""
    for unit, scale in (("µs", 1e-6), ("ms", 1e-3)):
        if seconds < 1000 * scale:
            return f"{seconds / scale:.1f} {unit}"
    return f"{seconds:.2f} s"


def shorten(text: str, length: int) -> str:
    """The text, its middle left out if it is longer."""
    if len(text) <= length:
        return text
    keep = (length - 1) // 2
    return f"{text[:keep]}…{text[len(text) - (length - 1 - keep) :]}"
