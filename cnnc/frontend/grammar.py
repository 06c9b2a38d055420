"""The LALR parser of grammar/cnn.lark: tokens of one item → its tree, or one diagnostic."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from lark import Lark, Token, Tree, UnexpectedToken
from lark.parsers.lalr_interactive_parser import InteractiveParser

from cnnc.base.resources import read_resource

Start = Literal["header", "item", "pipe"]


@dataclass(frozen=True, slots=True)
class Surprise:
    """A token that does not fit: what came before it and which terminals would have fitted.

    `token` is None at the end of the text. `expected` is what the parser wanted when it gave up,
    `possible` everything that may follow the tokens before.
    """

    token: Token | None
    before: tuple[Token, ...]
    expected: frozenset[str]
    possible: frozenset[str]


@cache
def language() -> Lark:
    """The parser, built once per process."""
    return Lark(
        read_resource("grammar", "cnn.lark"),
        start=["program", "header", "item", "pipe"],
        parser="lalr",
        lexer="basic",
        propagate_positions=True,
        maybe_placeholders=True,
    )


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
