"""A token that does not fit → a diagnostic that says what would have fitted, and how to mend it."""

from collections.abc import Callable

from cnnc.base.errors import Diagnostic
from cnnc.base.source import SourceFile, Span
from cnnc.frontend.grammar import Surprise
from cnnc.frontend.habits import describe_habit
from cnnc.frontend.tokens import ITEM_WORDS, span_of

_SHOWN = {
    "_ARROW": "`->`", "_MAPS": "`=>`", "RPAR": "`)`", "RBRACE": "`}`", "RSQB": "`]`",
    "COMMA": "`,`", "EQUAL": "`=`", "LBRACE": "`{`", "CALL": "`(`", "LPAR": "`(`", "INDEX": "`[`",
    "VBAR": "`|`", "COLON": "`:`", "IN": "`in`", "CNN": "`cnn`", "ELSE": "`else`",
    "NUMBER": "a number", "STRING": "a string", "NAME": "a name", "FROM": "`from`",
}  # fmt: skip
"""What a reader may be told to write next, the likeliest first."""

_VALUE_ENDS = frozenset(
    {"NAME", "NUMBER", "STRING", "IN", "TRUE", "FALSE", "RPAR", "RSQB", "RBRACE"}
)
_INFIX = frozenset(
    {"PLUS", "MINUS", "TIMES", "DIVIDE", "FLOOR", "MODULO", "CIRCUMFLEX", "COMPARE", "AND", "OR"}
)
_WORDS = ITEM_WORDS | frozenset(
    {"CNN", "INPUT", "OUTPUT", "WEIGHTS", "CHECK", "ASSERT", "REPEAT"}
    | {"IF", "ELSE", "IN", "TRUE", "FALSE", "AND", "OR", "NOT"}
)


def describe_surprise(source: SourceFile, surprise: Surprise) -> Diagnostic:
    """The diagnostic for the first token of an item that does not fit."""
    for hint in _HINTS:
        if found := hint(source, surprise):
            return found
    place = _place(source, surprise)
    if (surprise.expected or surprise.possible) <= {"$END"}:
        message = f"expected `import`, `param`, `block` or `net`, found {_found(surprise)}"
        if surprise.token is not None and surprise.token.type in ITEM_WORDS:
            message = f"`{surprise.token}` starts a line of its own"
        return Diagnostic("E0104", message, place, "the declaration is complete before this")
    expected = _expected(surprise)
    return Diagnostic(
        "E0104",
        f"expected {expected}, found {_found(surprise)}",
        place,
        f"expected {expected}",
    )


_Hint = Callable[[SourceFile, Surprise], Diagnostic | None]


def _word_as_name(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`input = …`: a word of the language where a name has to stand."""
    token = it.token
    if token is None or token.type not in _WORDS:
        return None
    named_by_keyword = it.expected == {"NAME"} and it.before and it.before[-1].type in _WORDS
    if not named_by_keyword and not (it.expected & {"NAME"} and "NUMBER" not in it.expected):
        return None
    return Diagnostic(
        "E0104",
        f"`{token}` is a word of the language, not a name",
        span_of(source, token),
        "expected a name",
        help=f"choose another name, such as `{token}_`",
    )


def _keyword_bound(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`output = …`, `check = …`: the statement's own word used as a name."""
    if it.token is None or it.token.type != "EQUAL" or not it.before:
        return None
    word = it.before[-1]
    if word.type not in _WORDS or word.type in ("IN", "TRUE", "FALSE"):
        return None
    return Diagnostic(
        "E0104",
        f"`{word}` is a word of the language, not a name",
        span_of(source, word),
        help=f"choose another name, such as `{word}_`",
    )


def _single_equals(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`if (a = b)`: `=` where only a comparison fits."""
    if it.token is None or it.token.type != "EQUAL" or "COMPARE" not in it.possible:
        return None
    return Diagnostic(
        "E0104",
        "`=` does not compare",
        span_of(source, it.token),
        "expected `==`",
        help="`==` compares; `=` gives a name or an argument its value",
    )


def _double_equals(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`a == pipe` as a statement."""
    if it.token is None or it.token != "==" or "EQUAL" not in it.possible:
        return None
    return Diagnostic(
        "E0104",
        "`==` does not bind a name",
        span_of(source, it.token),
        "expected `=`",
        help="`=` binds a name; `==` compares",
    )


def _unparenthesised_condition(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`if width > 3 {`."""
    if not it.before or it.before[-1].type not in ("IF", "REPEAT") or it.token is None:
        return None
    word = it.before[-1]
    inside = "condition" if word.type == "IF" else "count"
    return Diagnostic(
        "E0104",
        f"the {inside} of `{word}` stands in parentheses",
        span_of(source, it.token),
        "expected `(`",
        help=f"write `{word} (…) {{ … }}`",
    )


def _split_call(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`conv` and its parenthesis on different lines."""
    if it.token is None or it.token.type != "LPAR" or "CALL" not in it.possible:
        return None
    return Diagnostic(
        "E0104",
        "the parenthesis of a call stands on the line of its name",
        span_of(source, it.token),
        "starts a new line",
        help=f"move it behind `{it.before[-1]}`",
    )


def _missing_arrow(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`x conv(3)`: two stages side by side, seen at the second name or just after it."""
    tokens = (*it.before, *([it.token] if it.token is not None else []))
    if it.token is not None and it.token.type in ("NAME", "REPEAT", "IF"):
        starts_line = bool(it.before) and it.before[-1].end_line != it.token.line
        at = len(it.before) - starts_line
        fits = "_ARROW" in it.possible
    else:
        at = len(it.before) - 1
        fits = _names_nothing(it)
    if not fits or at < 1 or tokens[at - 1].type not in _VALUE_ENDS:
        return None
    if tokens[at - 1].end_line != tokens[at].line:
        return None
    is_argument = "COMMA" in it.possible and at == len(it.before)
    between = "`,`" if is_argument else "`->`"
    help = "write `->` between a value and the stage it flows into"
    return Diagnostic(
        "E0104",
        f"nothing joins `{tokens[at - 1]}` and `{tokens[at]}`",
        span_of(source, tokens[at]),
        f"expected {between} before this",
        help="write `,` between two arguments" if between == "`,`" else help,
    )


def _missing_last_arrow(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`a = x -> conv(3) relu` at the end of a line: `relu` looks like the next statement's name."""
    if "EQUAL" not in it.possible or len(it.before) < 2 or it.before[-1].type != "NAME":
        return None
    before, name = it.before[-2:]
    if before.type not in _VALUE_ENDS or before.end_line != name.line:
        return None
    if it.token is not None and it.token.type != "RBRACE" and it.token.line == name.line:
        return None
    line = [token for token in it.before if token.line == name.line]
    if line[0].type in ("INPUT", "WEIGHTS", "CHECK"):
        return None
    return Diagnostic(
        "E0104",
        f"`->` is missing between `{before}` and `{name}`",
        span_of(source, name),
        "expected `->` before this",
        help="write `->` between a value and the stage it flows into",
    )


def _unnamed_pipe(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`add { a | b }` as a statement of a net."""
    if not _names_nothing(it):
        return None
    return Diagnostic(
        "E0104",
        "this pipeline has no name, so nothing can use it",
        span_of(source, it.before[-1]),
        "expected `name =` before this",
        help="bind it (`name = …`), or make it an output (`output name = …`)",
    )


def _names_nothing(it: Surprise) -> bool:
    follows_name = bool(it.before) and it.before[-1].type == "NAME"
    starts_statement = it.possible in ({"EQUAL", "COMMA"}, {"EQUAL"}) and follows_name
    return (
        starts_statement and it.token is not None and it.token.type in ("CALL", "LBRACE", "_ARROW")
    )


def _power_as_stars(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`2 ** i`."""
    if it.token is None or it.token.type != "TIMES" or not it.before or it.before[-1] != "*":
        return None
    place = span_of(source, it.before[-1]).to(span_of(source, it.token))
    return Diagnostic("E0104", "`**` is no operator", place, help="power is written `^`")


def _slash_comment(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`// comment`."""
    slashes = [t for t in (it.token, *it.before[-1:]) if t is not None and t.type == "FLOOR"]
    if not slashes:
        return None
    return Diagnostic(
        "E0104",
        "`//` divides and rounds down; here it has nothing to divide",
        span_of(source, slashes[-1]),
        help="a comment starts with `#`",
    )


def _bare_fraction(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`.5`."""
    if it.token is None or it.token.type != "DOT" or "NUMBER" not in it.possible:
        return None
    return Diagnostic(
        "E0104",
        "a number starts with a digit",
        span_of(source, it.token),
        help="write 0.5 for a half",
    )


def _fat_arrow(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`x => relu`."""
    if it.token is None or it.token.type != "_MAPS" or "_ARROW" not in it.possible:
        return None
    return Diagnostic(
        "E0104",
        "`=>` does not join stages",
        span_of(source, it.token),
        "expected `->`",
        help="`->` pipes; `=>` renames weights",
    )


def _operator_behind_stage(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`x -> relu * 2`."""
    if it.token is None or it.token.type not in _INFIX or "_ARROW" not in it.possible:
        return None
    return Diagnostic(
        "E0104",
        f"`{it.token}` cannot follow a stage",
        span_of(source, it.token),
        "expected `->`, or the end of the pipeline",
        help=f"put the pipeline in parentheses: `(x -> stage) {it.token} …`",
    )


def _empty_body(source: SourceFile, it: Surprise) -> Diagnostic | None:
    """`block b() { a = in -> relu }`: nothing after the statements."""
    if it.token is None or it.token.type != "RBRACE" or "ASSERT" not in it.possible:
        return None
    return Diagnostic(
        "E0104",
        "this body has no result",
        span_of(source, it.token),
        "expected a pipeline before this",
        help="end it with the pipeline it stands for; `id` passes its input on",
    )


_HINTS: tuple[_Hint, ...] = (
    describe_habit,
    _keyword_bound,
    _single_equals,
    _double_equals,
    _unparenthesised_condition,
    _split_call,
    _missing_arrow,
    _missing_last_arrow,
    _unnamed_pipe,
    _power_as_stars,
    _slash_comment,
    _bare_fraction,
    _fat_arrow,
    _operator_behind_stage,
    _empty_body,
    _word_as_name,
)


def _place(source: SourceFile, surprise: Surprise) -> Span:
    if surprise.token is not None:
        return span_of(source, surprise.token)
    end = span_of(source, surprise.before[-1]).end if surprise.before else len(source.text)
    return source.span(end, end)


def _found(surprise: Surprise) -> str:
    token = surprise.token
    if token is None:
        return "the end of the text"
    return "a string" if token.type == "STRING" else f"`{token}`"


def _expected(surprise: Surprise) -> str:
    wanted = surprise.expected or surprise.possible
    if "NUMBER" in wanted and "NAME" in wanted:
        shown = ["a value"]
    elif "REPEAT" in wanted:
        shown = ["a stage"]
    elif "WEIGHTS" in wanted and "RBRACE" in wanted:
        shown = ["a statement of the net", "`}`"]
    elif {"PARAM", "NET"} <= wanted:
        shown = ["`import`", "`param`", "`block`", "`net`"]
    else:
        shown = list(dict.fromkeys(text for name, text in _SHOWN.items() if name in wanted))[:4]
    if not shown:
        return "something else"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
