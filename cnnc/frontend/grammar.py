"""The LALR parser of grammar/cnn.lark: tokens of one item → its tree, or one diagnostic."""

import json
from collections.abc import Sequence
from hashlib import sha256
from threading import Lock
from typing import Any, ClassVar, Literal

import lark
from lark import Lark, Token, Tree, UnexpectedToken
from lark.grammar import Rule
from lark.lexer import TerminalDef
from lark.parsers.lalr_interactive_parser import InteractiveParser

from cnnc.base.collector import paused
from cnnc.base.record import record
from cnnc.base.resources import read_resource
from cnnc.base.store import Store

Start = Literal["header", "item", "pipe"]
TABLES = "tables 1"
"""The number is raised whenever what is kept of the parser changes its form."""
_PAIRS = "pairs"
_OPTIONS: dict[str, Any] = {
    "start": ["program", "header", "item", "pipe"],
    "parser": "lalr",
    "lexer": "basic",
    "propagate_positions": True,
    "maybe_placeholders": True,
}
_LOCK = Lock()


class _Parser:
    """This process's parser."""

    made: ClassVar[Lark | None] = None


@record
class Surprise:
    """A token that does not fit: what came before it and which terminals would have fitted.

    `token` is None at the end of the text. `expected` is what the parser wanted when it gave up,
    `possible` everything that may follow the tokens before.
    """

    token: Token | None
    before: tuple[Token, ...]
    expected: frozenset[str]
    possible: frozenset[str]


def language() -> Lark:
    """The parser, made once per process."""
    return _Parser.made or prepare(None)


def prepare(store: Store | None) -> Lark:
    """Make the parser, if there is none yet, with its tables from the store where it has them."""
    with _LOCK, paused():
        if _Parser.made is None:
            _Parser.made = make_parser(store)
    return _Parser.made


def make_parser(store: Store | None = None) -> Lark:
    """A new parser; its tables, which take longer than most texts, are put into the store."""
    text = read_resource("grammar", "cnn.lark")
    key = sha256(f"{TABLES} {lark.__version__} {_OPTIONS}\n{text}".encode()).hexdigest()
    data = store.get(key) if store else None
    if data is not None and (found := _restore(data, key)):
        return found
    made = Lark(text, **_OPTIONS)
    if store:
        tables, memo = made.memo_serialize([TerminalDef, Rule])
        kept = {"key": key, "data": tables, "memo": memo}
        store.put(key, json.dumps(_without_numbers(kept)).encode())
    return made


def _restore(data: bytes, key: str) -> Lark | None:
    """The parser of the tables; None where they are not those of the key, or not sound."""
    try:
        found = json.loads(data, object_hook=_with_numbers)
        if found["key"] != key:
            return None
        made: Lark = Lark.load(found)  # a mapping, so that nothing is unpickled
    except Exception:  # whatever Lark makes of tables that are not its own
        return None
    return made


def _without_numbers(value: object) -> object:
    """Lark's tables for JSON, which has no numbers as keys: such a mapping as pairs."""
    if isinstance(value, dict):
        pairs = [(key, _without_numbers(each)) for key, each in value.items()]
        return dict(pairs) if all(isinstance(key, str) for key in value) else {_PAIRS: pairs}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_numbers(each) for each in value]
    return value


def _with_numbers(value: dict[str, Any]) -> dict[Any, Any]:
    return dict(value[_PAIRS]) if _PAIRS in value else value


def parse_tokens(tokens: Sequence[Token], start: Start) -> Tree[Token] | Surprise:
    """The tree of `tokens`, read as a `start`, or what is wrong with the first bad token."""
    parser = language().parse_interactive(start=start)
    for position, token in enumerate(tokens):
        try:
            parser.feed_token(token)
        except UnexpectedToken:
            return _surprise(token, tokens[:position], parser, start)
    end = Token.new_borrow_pos("$END", "", tokens[-1]) if tokens else Token("$END", "", 0, 1, 1)
    try:
        tree: Tree[Token] = parser.feed_token(end)
    except UnexpectedToken:
        return _surprise(None, tokens, parser, start)
    return tree


def _surprise(
    token: Token | None, before: Sequence[Token], stuck: InteractiveParser, start: Start
) -> Surprise:
    fresh = language().parse_interactive(start=start)
    for each in before:
        fresh.feed_token(each)
    return Surprise(token, tuple(before), _accepted(stuck), _accepted(fresh))


def _accepted(parser: InteractiveParser) -> frozenset[str]:
    accepted: set[str] = parser.accepts()  # type: ignore[no-untyped-call]
    return frozenset(accepted)
