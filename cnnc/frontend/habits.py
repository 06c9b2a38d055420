"""Habits from other languages that the parser stumbles over → a diagnostic with this one's way."""

from cnnc.base.errors import Diagnostic
from cnnc.base.source import SourceFile, Span
from cnnc.frontend import ast
from cnnc.frontend.grammar import Surprise
from cnnc.frontend.tokens import innermost_open, span_of


def describe_habit(source: SourceFile, surprise: Surprise) -> Diagnostic | None:
    """The diagnostic where the token that does not fit is such a habit, else `None`."""
    for hint in (
        _tuple,
        _colon_argument,
        _subscript,
        _return,
        _for,
        _let,
        _bar_arrow,
        _whole_import,
        _behind_input,
    ):
        if found := hint(source, surprise):
            return found
    return None


def _tuple(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`(3, 3)` as a value."""
    opened = innermost_open(it.before)
    if it.token is None or it.token.type != "COMMA" or opened is None:
        return None
    owner = it.before[opened - 1].type if opened else ""
    if it.before[opened].type != "LPAR" or owner in ("IF", "REPEAT") or "RPAR" not in it.possible:
        return None
    return Diagnostic(
        "E0104",
        "parentheses make no list",
        span_of(source, it.before[opened]),
        "expected `[`",
        help="lists are written in square brackets: `[3, 3]`",
    )


def _colon_argument(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`conv(4, 3, stride: 2)`."""
    if it.token is None or len(it.before) < 3 or it.before[-1].type != "COLON":
        return None
    name, opened = it.before[-2], innermost_open(it.before)
    if opened is None or it.before[opened].type != "CALL":
        return None
    if it.before[-3].type not in ("CALL", "COMMA") or it.token.type in ("RPAR", "COMMA"):
        return None
    value = it.token if it.token.type in ("NUMBER", "STRING", "TRUE", "FALSE") else "…"
    return Diagnostic(
        "E0104",
        "`:` gives no argument its value",
        span_of(source, it.before[-1]),
        "expected `=`",
        help=f"write `{name} = {value}`; `:` labels a stage",
    )


def _subscript(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`x[0:3]` and `x[:, 1]` as parts of a tensor."""
    opened = innermost_open(it.before)
    if it.token is None or it.token.type != "COLON" or opened is None:
        return None
    if it.before[opened].type != "INDEX":
        return None
    return Diagnostic(
        "E0104",
        "brackets take no part of a tensor",
        span_of(source, it.token),
        "expected `]`: an index picks from a list",
        help="`x -> slice(1, 0, 3)` is x[:, 0:3]; `x -> slice([2, 3], 1, -1)` cuts several axes",
    )


def _return(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`return h`."""
    if not _is_statement_word(it, "return", 1):
        return None
    in_net = it.possible <= {"EQUAL", "COMMA"}
    return Diagnostic(
        "E0104",
        "there is no `return`",
        span_of(source, it.before[-1]),
        help="the results of a net are its outputs: `output name = …`"
        if in_net
        else "the last line of a block is its result; remove the word",
    )


def _for(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`for i in 3 { … }`, `for (i in 3) { … }`."""
    back = 3 if it.token is not None and it.token.type == "IN" else 1
    if not _is_statement_word(it, "for", back):
        return None
    return Diagnostic(
        "E0104",
        "there is no `for`",
        span_of(source, it.before[-back]),
        help="a stage repeats its body: `repeat (i in n) { … }`",
    )


def _let(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`let h = …`, `var h = …`, `const h = …`."""
    if it.token is None or it.token.type != "NAME":
        return None
    for word in ("let", "var", "const"):
        if _is_statement_word(it, word, 1):
            return Diagnostic(
                "E0104",
                f"there is no `{word}`",
                span_of(source, it.before[-1]),
                help=f"a name is bound without it: `{it.token} = …`",
            )
    return None


def _is_statement_word(it: Surprise, word: str, back: int) -> bool:
    """Whether `word` starts a line, `back` tokens before what does not fit on the same line."""
    if it.token is None or len(it.before) <= back or it.before[-back] != word:
        return False
    starts_line = it.before[-back - 1].end_line != it.before[-back].line
    starts_body = it.before[-back - 1].type == "LBRACE"
    # `return -> relu` and `for = …` are ordinary names; what they lack is something else.
    joins = it.token.type in ("_ARROW", "EQUAL", "COMMA")
    return (starts_line or starts_body) and it.token.line == it.before[-back].line and not joins


def _whole_import(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`import "file.cnn"`, `import file`, `from "file.cnn" import block`."""
    before = [token.type for token in it.before]
    found = it.token.type if it.token is not None else "$END"
    bare = before == ["IMPORT"] and found in ("STRING", "TIMES")
    module = before == ["IMPORT", "NAME"] and found in ("$END", "DOT")
    python = it.token == "from" and before == ["CNN", "NUMBER"]
    if not (bare or module or python):
        return None
    return Diagnostic(
        "E0104",
        "an import names blocks first, then their file",
        span_of(source, it.token or it.before[-1]),
        help='write `import block, other from "file.cnn"`',
    )


def _behind_input(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`input x: f32[N, 3] nhwc`."""
    if len(it.before) < 2 or [each.type for each in it.before[-2:]] != ["RSQB", "NAME"]:
        return None
    bracket, word = it.before[-2:]
    line = [token.type for token in it.before if token.line == word.line]
    if bracket.end_line != word.line or line[0] != "INPUT" or "EQUAL" not in it.possible:
        return None
    return _second_word(span_of(source, word))


def _second_word(place: Span) -> Diagnostic:
    return Diagnostic(
        "E0104",
        "an input ends with its shape",
        place,
        "is more than that",
        help="how it is read stands in braces behind it: `{ layout = nhwc, … }`",
    )


def joined_input(one: ast.Input, two: ast.Binding) -> Diagnostic | None:
    """`input x: f32[N, 3] layout = nhwc`, which reads as a binding."""
    return _second_word(two.span) if one.span.end_line == two.span.line else None


def _bar_arrow(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`x |> relu`."""
    bars = [t for t in (it.token, *it.before[-1:]) if t is not None and t.type == "VBAR"]
    if not bars:
        return None
    place = span_of(source, bars[0])
    if source.text[place.end : place.end + 1] != ">":
        return None
    return Diagnostic(
        "E0104",
        "`|>` does not join stages",
        source.span(place.start, place.end + 1),
        "expected `->`",
        help="`->` pipes; `|` separates branches",
    )
