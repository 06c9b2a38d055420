"""The LALR parser of grammar/cnn.lark: tokens of one item → its tree, or one diagnostic."""

from collections.abc import Sequence
from threading import Lock
from typing import Any, ClassVar, Literal

from lark import Lark, Token, Tree, UnexpectedToken
from lark.parsers.lalr_interactive_parser import InteractiveParser

from cnnc.base.collector import paused
from cnnc.base.record import record
from cnnc.base.resources import read_resource
from cnnc.base.store import Store
from cnnc.frontend.tables import SHIPPED, read_tables, tables_key, write_tables

Start = Literal["header", "item", "pipe"]
OPTIONS: dict[str, Any] = {
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
    """A new parser, of tables where there are any.

    Those that come with cnnc are of one version of Lark; for others, they are put into the store.
    """
    text = read_resource("grammar", "cnn.lark")
    key = tables_key(text, OPTIONS)
    shipped = read_resource("grammar", SHIPPED).encode()
    for data in (shipped, store.get(key) if store else None):
        if data is not None and (found := read_tables(data, key)):
            return found
    made = Lark(text, **OPTIONS)
    if store:
        store.put(key, write_tables(made, key))
    return made


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
