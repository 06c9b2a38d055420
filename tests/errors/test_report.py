"""Sources, spans and how diagnostics look: gutters, tabs, wide characters, several lines, JSON."""

import json
import pickle
from pathlib import Path

import pytest

from cnnc.base.errors import (
    CODES,
    Diagnostic,
    InternalError,
    UserError,
    did_you_mean,
    fail,
    nearest,
)
from cnnc.base.report import report, to_json
from cnnc.base.resources import list_resources, read_resource
from cnnc.base.source import SourceFile, Span


def place(source: SourceFile, text: str) -> Span:
    """Where a piece of the text stands."""
    start = source.text.index(text)
    return source.span(start, start + len(text))


def test_spans() -> None:
    """Lines and columns count from 1; ends are exclusive."""
    source = SourceFile("a.cnn", "one\ntwo three\n\nfour")
    span = place(source, "three\n\nfo")
    assert (span.line, span.column, span.end_line, span.end_column) == (2, 5, 4, 3)
    assert str(span) == "a.cnn:2:5"
    assert span.excerpt == "three\n\nfo"
    assert [source.line(number) for number in (1, 2, 3, 4)] == ["one", "two three", "", "four"]
    assert source.line_count == 4
    end = source.span(len(source.text), len(source.text))
    assert (end.line, end.column, end.end_column) == (4, 5, 5)
    assert place(source, "one").to(place(source, "four")).excerpt == source.text
    empty = SourceFile("a.cnn", "").span(0, 0)
    assert (empty.line, empty.column) == (1, 1)


def test_spans_are_small_values() -> None:
    """Their text shows no source, equal ones hash alike, and they travel between processes."""
    source = SourceFile("a.cnn", "x" * 1000)
    span = source.span(3, 5)
    assert repr(span) == "Span(start=3, end=5)"
    assert hash(span) == hash(source.span(3, 5))
    assert span != SourceFile("b.cnn", source.text).span(3, 5)
    assert pickle.loads(pickle.dumps(span)) == span


def test_one_line() -> None:
    """The house's picture of an error."""
    source = SourceFile("lenet.cnn", "cnn 1\n\n\n  p = pool(x, size=9)\n")
    diagnostic = Diagnostic(
        "E0302",
        "`size` of `pool` does not fit its input",
        place(source, "size=9"),
        "the window needs height and width ≥ 9",
        ("`x` has shape 1×6×8×8", "two\nlines"),
        "use a smaller window",
    )
    assert report([diagnostic]) == (
        "error[E0302]: `size` of `pool` does not fit its input\n"
        "  --> lenet.cnn:4:15\n"
        "   |\n"
        " 4 |   p = pool(x, size=9)\n"
        "   |               ^^^^^^ the window needs height and width ≥ 9\n"
        "   = note: `x` has shape 1×6×8×8\n"
        "   = note: two\n"
        "           lines\n"
        "   = help: use a smaller window"
    )


def test_gutter_tabs_and_wide_characters() -> None:
    """The caret stands under the character, whatever stands before it."""
    source = SourceFile("a.cnn", "\n" * 998 + "\tnet 世界 e\u0301x = 3\n")
    lines = report([Diagnostic("E0104", "m", place(source, "x ="))]).split("\n")
    assert lines[1:] == [
        "   --> a.cnn:999:11",
        "    |",
        "999 |     net 世界 e\u0301x = 3",
        "    |               ^^^",
    ]


def test_several_lines() -> None:
    """First and last line, with a gap between; the label at the end."""
    source = SourceFile("a.cnn", "a {\n  b\n  c\n} d\n")
    text = report([Diagnostic("E0103", "m", place(source, "{\n  b\n  c\n}"), "here")])
    assert text.split("\n")[3:] == [
        " 1 | a {",
        "   |   ^",
        "...",
        " 4 | } d",
        "   | ^ here",
    ]


@pytest.mark.parametrize("before", [0, 50, 5000])
@pytest.mark.parametrize("after", [0, 50, 5000])
def test_long_lines_are_cut_around_the_caret(before: int, after: int) -> None:
    """The marked text stays, under its carets."""
    source = SourceFile("a.cnn", "." * before + "HERE" + "." * after)
    lines = report([Diagnostic("E0104", "m", place(source, "HERE"))]).split("\n")
    assert max(map(len, lines)) < 140
    start = lines[4].index("^")
    assert lines[3][start : start + 4] == "HERE"
    assert lines[4].count("^") == 4


def test_nothing_steers_the_terminal() -> None:
    """Control characters of the text and of messages are shown as replacements."""
    source = SourceFile("a.cnn", "x\x1b[31mred\x07")
    text = report([Diagnostic("E0102", "odd \x1b[2J", place(source, "red"), "\x07")])
    assert not any(ord(c) < 32 and c != "\n" for c in text)


def test_colour_and_count() -> None:
    """Escapes only if asked for; several errors are counted, warnings are not."""
    one = Diagnostic("E0701", "there is no file `a`")
    other = Diagnostic("W0201", "`a` is never used", severity="warning")
    assert "\x1b" not in report([one, other])
    assert "\x1b[1;31merror[E0701]" in report([one], colour=True)
    assert "\x1b[1;33mwarning[W0201]" in report([other], colour=True)
    assert report([one, one]).endswith("\n\n2 errors")
    assert "errors" not in report([one, other])
    assert report([]) == ""


def test_json() -> None:
    """Plain data with the title of the code."""
    source = SourceFile("a.cnn", "one\ntwo")
    diagnostic = Diagnostic("E0201", "m", place(source, "two"), "l", ("n",), "h")
    data = json.loads(json.dumps(to_json(diagnostic)))
    assert data == {
        "severity": "error",
        "code": "E0201",
        "title": CODES["E0201"],
        "message": "m",
        "label": "l",
        "place": {"file": "a.cnn", "line": 2, "column": 1, "end_line": 2, "end_column": 4},
        "notes": ["n"],
        "help": "h",
    }
    assert to_json(Diagnostic("E0701", "m"))["place"] is None


def test_two_kinds_of_failure() -> None:
    """Both say what they are and survive a trip through pickle."""
    user = fail("E0701", "there is no file `a`", help="make one")
    assert str(user) == "error[E0701]: there is no file `a`\n  help: make one"
    copy = pickle.loads(pickle.dumps(user))
    assert isinstance(copy, UserError)
    assert copy.diagnostics == user.diagnostics
    bug = InternalError("it broke", stage="fuse", dump=Path("dump.txt"))
    assert str(bug) == "this is a bug in cnnc in fuse: it broke; see dump.txt"
    assert str(pickle.loads(pickle.dumps(bug))) == str(bug)


def test_codes_must_be_in_the_table() -> None:
    """And a user's error needs something to say."""
    with pytest.raises(InternalError):
        Diagnostic("E9999", "m")
    with pytest.raises(InternalError):
        UserError([])


@pytest.mark.parametrize(
    ("name", "near"),
    [("strid", "stride"), ("Pad", "pad"), ("count_pads", "count_pad"), ("q", None), ("", None)],
)
def test_did_you_mean(name: str, near: str | None) -> None:
    """Near names only, whatever their case."""
    known = ["stride", "pad", "count_pad", "dilation"]
    assert nearest(name, known) == near
    assert did_you_mean(name, known) == (f"did you mean `{near}`?" if near else None)


def test_resources() -> None:
    """The grammar is found; a missing file is cnnc's own mistake."""
    assert "cnn.lark" in list_resources("grammar")
    assert read_resource("grammar", "cnn.lark").startswith("//")
    with pytest.raises(InternalError):
        read_resource("grammar", "nothing.lark")
