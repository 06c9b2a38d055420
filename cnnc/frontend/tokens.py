"""Text → tokens: what is malformed, which parenthesis belongs to a name, where items start."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, zip_longest

from lark import Lark, Token, UnexpectedCharacters

from cnnc.base.errors import Diagnostic
from cnnc.base.record import record
from cnnc.base.source import SourceFile, Span

MAX_LEXICAL_ERRORS = 20
MAX_BRACKET_DEPTH = 60
MAX_INTEGER_DIGITS = 18
"""Every integer literal fits 64 bits."""

_OPENERS = {"CALL": "RPAR", "LPAR": "RPAR", "LSQB": "RSQB", "INDEX": "RSQB", "LBRACE": "RBRACE"}
_CLOSERS = frozenset(_OPENERS.values())
ITEM_WORDS = frozenset({"IMPORT", "PARAM", "BLOCK", "NET"})
"""First words of declarations."""
_SUGGESTIONS = {
    "&": "`and` joins two conditions",
    ";": "statements end with their line; remove the semicolon",
    "!": "`not` negates a condition",
    "'": 'strings are written in double quotes: "like this"',
    "→": "a pipeline's arrow is written `->`",
    "×": "multiplication is written `*`",
    "·": "multiplication is written `*`",
    "−": "subtraction is written with the plain hyphen `-`",
    "≤": "write `<=`",
    "≥": "write `>=`",
    "≠": "write `!=`",
    "“": 'strings are written in plain double quotes: "like this"',
    "”": 'strings are written in plain double quotes: "like this"',
    "\\": "lines need no continuation mark; remove it",
    "@": "weights are named after bindings and labels; there are no decorators",
}


@record
class Chunk:
    """The tokens of the header or of one item, up to the next item's first word."""

    tokens: tuple[Token, ...]
    is_header: bool


def span_of(source: SourceFile, token: Token) -> Span:
    """Where a token of this source stands."""
    start = token.start_pos or 0
    return source.span(start, start + len(token))


def find_first_word(source: SourceFile) -> Span:
    """The word, or the single character, after the blanks and comments a text begins with."""
    blank = re.match(r"(?:[ \t\f\r\n]+|#[^\n]*)*", source.text)
    start = blank.end() if blank else 0
    word = re.compile(r"\w+|.|").match(source.text, start)
    return source.span(start, word.end() if word else start)


def read_tokens(lark: Lark, source: SourceFile) -> tuple[tuple[Token, ...], list[Diagnostic]]:
    """All tokens of the text, with CALL and INDEX marked; malformed pieces become diagnostics."""
    found: list[Diagnostic] = []
    text = source.text
    while True:
        try:
            tokens = [*lark.lex(text)]
        except UnexpectedCharacters as error:
            piece = _malformed_piece(source, error.pos_in_stream or 0)
            found.append(_describe_malformed(piece))
            if len(found) == MAX_LEXICAL_ERRORS:
                return (), found
            text = text[: piece.start] + " " * (piece.end - piece.start) + text[piece.end :]
        else:
            break
    found += _malformed_numbers(source, tokens)
    found.sort(key=lambda each: each.span.start if each.span else 0)
    return tuple(_mark_imports(_mark_calls(tokens))), found


def split_items(tokens: Sequence[Token]) -> Iterator[Chunk]:
    """The header, then one chunk for every `import`, `param`, `block` and `net`.

    Items are found by a first word that starts a line, with a name behind it, whatever the brackets
    before say, so that one unclosed brace spoils one item only.
    """
    starts = [i for i in range(len(tokens)) if _starts_item(tokens, i)]
    yield Chunk(tuple(tokens[: starts[0] if starts else len(tokens)]), is_header=True)
    for start, end in pairwise([*starts, len(tokens)]):
        yield Chunk(tuple(tokens[start:end]), is_header=False)


def check_brackets(source: SourceFile, chunk: Chunk) -> Diagnostic | None:
    """The first bracket of the chunk that has no partner or nests too deeply, or `None`."""
    opened: list[Token] = []
    for token in chunk.tokens:
        if token.type in _OPENERS:
            opened.append(token)
            if len(opened) > MAX_BRACKET_DEPTH:
                message = f"brackets nest deeper than {MAX_BRACKET_DEPTH} levels"
                return Diagnostic("E0502", message, span_of(source, token))
        elif token.type in _CLOSERS:
            if not opened or _OPENERS[opened[-1].type] != token.type:
                return _wrong_closer(source, token, opened[-1] if opened else None)
            opened.pop()
    if opened:
        return _never_closed(source, opened[-1], chunk.tokens[-1])
    return None


def innermost_open(tokens: Sequence[Token]) -> int | None:
    """Where the last bracket opens that is still open after these well-paired tokens."""
    opened: list[int] = []
    for position, token in enumerate(tokens):
        if token.type in _OPENERS:
            opened.append(position)
        elif token.type in _CLOSERS:
            opened.pop()
    return opened[-1] if opened else None


def _wrong_closer(source: SourceFile, closer: Token, opener: Token | None) -> Diagnostic:
    if opener is None:
        return Diagnostic(
            "E0103",
            f"nothing is open that `{closer}` could close",
            span_of(source, closer),
            help="remove it, or open a bracket before it",
        )
    place = span_of(source, opener)
    partner = _partner(opener)
    return Diagnostic(
        "E0103",
        f"`{opener}` is closed by `{closer}`",
        span_of(source, closer),
        f"expected `{partner}`",
        notes=(f"`{opener}` opens at line {place.line}, column {place.column}",),
        help=f"close it with `{partner}` first",
    )


def _never_closed(source: SourceFile, opener: Token, last: Token) -> Diagnostic:
    return Diagnostic(
        "E0103",
        f"this `{opener}` is never closed",
        span_of(source, opener),
        notes=(f"the text that could close it ends at line {span_of(source, last).line}",),
        help=f"add the missing `{_partner(opener)}`",
    )


def _partner(opener: Token) -> str:
    return {"RPAR": ")", "RSQB": "]", "RBRACE": "}"}[_OPENERS[opener.type]]


def _starts_item(tokens: Sequence[Token], i: int) -> bool:
    is_first = i == 0 or tokens[i - 1].end_line != tokens[i].line
    if tokens[i].type not in ITEM_WORDS or not is_first:
        return False
    after = tokens[i + 1].type if i + 1 < len(tokens) else "$END"
    return after == "NAME" or (tokens[i].column == 1 and after != "EQUAL")


def _mark_calls(tokens: list[Token]) -> Iterator[Token]:
    """`(` and `[` on the same line as the name (or list) before them become CALL and INDEX.

    So they do after `in`, without a blank between: `in[0]` is an item, `width in [16, 32]` is not.
    """
    recent: tuple[str, ...] = ()
    line, end = 0, -1
    for token in tokens:
        before = recent[-1] if recent and token.line == line else ""
        is_index = before == "IN" and recent[-4:-1] != ("REPEAT", "LPAR", "NAME")
        is_index = is_index and token.start_pos == end
        if token.type == "LPAR" and before == "NAME":
            token = token.update(type="CALL")
        elif token.type == "LSQB" and (before in ("NAME", "RPAR", "RSQB") or is_index):
            token = token.update(type="INDEX")
        yield token
        recent = (*recent[-3:], token.type)
        line, end = token.end_line or 0, token.end_pos or 0


def _mark_imports(tokens: Iterable[Token]) -> Iterator[Token]:
    """`from` and `as` behind a name become FROM and AS, from an `import` to its file's name."""
    importing, before = False, ""
    for token in tokens:
        if token.type in ITEM_WORDS or token.type == "STRING":
            importing = token.type == "IMPORT"
        elif importing and before == "NAME" and token in ("from", "as"):
            token = token.update(type=token.upper())
        yield token
        before = token.type


def _malformed_piece(source: SourceFile, start: int) -> Span:
    if source.text[start] == '"':
        return source.span(
            start, start + len(source.line(source.line_at(start))) - source.column_at(start) + 1
        )
    end = start + 1
    while end < len(source.text) and source.text[end] == source.text[start]:
        end += 1
    return source.span(start, end)


def _describe_malformed(piece: Span) -> Diagnostic:
    text = piece.excerpt
    if text.startswith('"'):
        return Diagnostic(
            "E0102",
            "this string does not end on its line",
            piece,
            help='close it with `"`; a string may not span lines',
        )
    shown = text[0] if text[0].isprintable() else f"U+{ord(text[0]):04X}"
    return Diagnostic(
        "E0102",
        f"the character `{shown}` has no meaning here",
        piece,
        help=_SUGGESTIONS.get(text[0]),
    )


def _malformed_numbers(source: SourceFile, tokens: Sequence[Token]) -> Iterator[Diagnostic]:
    """Digits glued to letters (`3x`, `0x10`, `1_000`), and numbers no machine type holds."""
    for number, after in zip_longest(tokens, tokens[1:]):
        if number.type != "NUMBER":
            continue
        place = span_of(source, number)
        if after is not None and number.end_pos == after.start_pos and re.match(r"\w", after):
            place = place.to(span_of(source, after))
            message = f"`{place.excerpt}` is neither a number nor a name"
            help = "numbers are decimal: 64, 0.5, 1e-5; names start with a letter"
            yield Diagnostic("E0102", message, place, help=help)
        elif is_integer(number) and len(number) > MAX_INTEGER_DIGITS:
            message = f"this integer has {len(number)} digits, at most {MAX_INTEGER_DIGITS} fit"
            yield Diagnostic("E0505", message, place)
        elif math.isinf(float(number)):
            yield Diagnostic("E0505", "this number is larger than a float can hold", place)


def is_integer(number: str) -> bool:
    """Whether the text of a number means an integer: neither point nor exponent."""
    return number.isdigit()
