"""Diagnostics as text with carets, or as plain data for JSON."""

from collections.abc import Iterable, Sequence
from unicodedata import combining, east_asian_width

from cnnc.base.errors import CODES, Diagnostic
from cnnc.base.record import record
from cnnc.base.source import Span

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

TAB = 4
MAX_WIDTH = 120
"""Columns of source shown; longer lines are cut around the caret."""

_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "blue": "\x1b[1;34m", "bold": "\x1b[1m"}
_PLAIN = "\x1b[0m"


@record
class _Paint:
    on: bool

    def __call__(self, text: str, colour: str) -> str:
        return f"{_COLOURS[colour]}{text}{_PLAIN}" if self.on and text else text


def report(diagnostics: Sequence[Diagnostic], *, colour: bool = False) -> str:
    """All diagnostics, a blank line between two, and a closing count where there are several."""
    parts = [report_one(each, colour=colour) for each in diagnostics]
    errors = sum(each.severity == "error" for each in diagnostics)
    if errors > 1:
        parts.append(_Paint(colour)(f"{errors} errors", "bold"))
    return "\n\n".join(parts)


def report_one(diagnostic: Diagnostic, *, colour: bool = False) -> str:
    """One diagnostic: headline, place, source lines with carets, notes and help."""
    paint = _Paint(colour)
    headline = paint(f"{diagnostic.severity}[{diagnostic.code}]", diagnostic.severity)
    lines = [f"{headline}: {paint(_one_line(diagnostic.message), 'bold')}"]
    span = diagnostic.span
    gutter = max(2, len(str(span.end_line))) if span else 2
    if span:
        lines.append(f"{' ' * gutter}{paint('-->', 'blue')} {span}")
        lines += _excerpt(span, diagnostic, gutter, paint)
    remarks = [("note", note) for note in diagnostic.notes]
    remarks += [("help", diagnostic.help)] if diagnostic.help else []
    for kind, text in remarks:
        first, *others = text.split("\n")
        lines.append(f"{' ' * gutter} {paint('=', 'blue')} {paint(kind, 'bold')}: {first}")
        lines += [f"{' ' * (gutter + 9)}{other}" for other in others]
    return "\n".join(lines)


def to_json(diagnostic: Diagnostic) -> dict[str, Json]:
    """The diagnostic as plain data; lines and columns count from 1, ends are exclusive."""
    span = diagnostic.span
    place: Json = None
    if span:
        place = {
            "file": span.source.name,
            "line": span.line,
            "column": span.column,
            "end_line": span.end_line,
            "end_column": span.end_column,
        }
    return {
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "title": CODES[diagnostic.code],
        "message": diagnostic.message,
        "label": diagnostic.label,
        "place": place,
        "notes": list(diagnostic.notes),
        "help": diagnostic.help,
    }


def _excerpt(span: Span, diagnostic: Diagnostic, gutter: int, paint: _Paint) -> Iterable[str]:
    bar = paint("|", "blue")
    blank = " " * gutter
    yield f"{blank} {bar}"
    for number in dict.fromkeys((span.line, span.end_line)):
        if number > span.line + 1:
            yield paint("." * max(3, gutter), "blue")
        line, indent, width = _marked_line(span, number)
        yield f"{paint(str(number).rjust(gutter), 'blue')} {bar} {line}".rstrip()
        label = f" {_one_line(diagnostic.label)}" if number == span.end_line else ""
        carets = paint(("^" * width + label).rstrip(), diagnostic.severity)
        yield f"{blank} {bar} {' ' * indent}{carets}"


def _marked_line(span: Span, number: int) -> tuple[str, int, int]:
    """The line as shown, and where its carets start and how many they are, in columns."""
    text = span.source.line(number)
    start = span.column - 1 if number == span.line else len(text) - len(text.lstrip())
    end = span.end_column - 1 if number == span.end_line else len(text.rstrip())
    start, end = min(start, len(text)), max(min(end, len(text)), start)
    before, marked, after = text[:start], text[start:end], text[end:]
    shown = [_visible(before), _visible(marked), _visible(after)]
    room = MAX_WIDTH // 3
    if _width(shown[0]) + _width(shown[1]) > MAX_WIDTH - room // 2:
        shown[0] = _cut(shown[0], room, keep_end=True)
        shown[1] = _cut(shown[1], room)
    shown[2] = _cut(shown[2], MAX_WIDTH - _width(shown[0]) - _width(shown[1]))
    return "".join(shown), _width(shown[0]), max(1, _width(shown[1]))


def _cut(text: str, width: int, *, keep_end: bool = False) -> str:
    """The text within about `width` columns, with `…` for what is missing."""
    if _width(text) <= width:
        return text
    return "…" + text[-width:] if keep_end else text[:width] + "…"


def _visible(text: str) -> str:
    """Tabs as spaces, and nothing that could steer a terminal."""
    spaced = text.replace("\t", " " * TAB)
    return "".join(
        c if c.isprintable() or combining(c) else "\N{REPLACEMENT CHARACTER}" for c in spaced
    )


def _one_line(text: str) -> str:
    return _visible(" ".join(text.split("\n")))


def _width(text: str) -> int:
    """Columns a terminal gives the text."""
    wide = sum(east_asian_width(c) in ("W", "F") for c in text)
    return len(text) + wide - sum(combining(c) != 0 for c in text)
