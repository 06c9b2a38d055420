"""`.cnn` text → the same program in its one canonical layout."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import groupby

from lark import Lark, Token, Tree

from cnnc.base.errors import InternalError
from cnnc.base.resources import read_resource
from cnnc.base.source import SourceFile
from cnnc.frontend.formatting.document import Row, layout
from cnnc.frontend.formatting.gaps import Gap, read_gaps, settle_gaps
from cnnc.frontend.formatting.rules import document
from cnnc.frontend.grammar import language
from cnnc.frontend.parse import parse
from cnnc.frontend.tokens import Chunk, read_tokens, split_items

WIDTH = 100
"""Columns of a line of code, before its comment."""


def format_source(source: SourceFile) -> str:
    """The canonical text of a program: see docs/language.md; UserError if it does not parse.

    Comments stay, the AST but for its spans is the same, and formatting once more changes nothing.
    """
    before = parse(source)
    tokens, _ = read_tokens(language(), source)
    gaps = settle_gaps(tokens, read_gaps(source.text, tokens))
    by_place = {token.start_pos or 0: gap for token, gap in zip(tokens, gaps[:-1], strict=True)}
    parts = [layout(document(_tree(c), by_place), WIDTH) for c in split_items(tokens)]
    starts = [by_place[c.tokens[0].start_pos or 0] for c in split_items(tokens)]
    rows = [*_stack(parts, [*starts, gaps[-1]])]
    text = "".join(f"{line}\n" for line in _with_remarks(rows))
    _check(source, before, text)
    return text


@cache
def _grammar() -> Lark:
    """The grammar with every token in the tree."""
    return Lark(
        read_resource("grammar", "cnn.lark"),
        start=["header", "item"],
        parser="lalr",
        lexer="basic",
        keep_all_tokens=True,
        maybe_placeholders=False,
    )


def _tree(chunk: Chunk) -> Tree[Token]:
    parser = _grammar().parse_interactive(start="header" if chunk.is_header else "item")
    for token in chunk.tokens:
        parser.feed_token(token)
    tree: Tree[Token] = parser.feed_token(Token("$END", ""))
    return tree


def _stack(parts: Sequence[Sequence[Row]], gaps: Sequence[Gap]) -> Iterator[Row]:
    """The declarations one below the other; those of several lines stand apart."""
    before: Sequence[Row] = ()
    for gap, rows in zip(gaps, [*parts, ()], strict=True):
        own = [*gap.own]
        if before:
            before[-1].remark = gap.remark
            yield from before
            if None not in own and rows and max(len(before), len(rows)) > 1:
                own.insert(0, None)
        elif own and own[0] is None:
            del own[0]
        if not rows and own and own[-1] is None:
            del own[-1]
        yield from (Row(line or "") for line in own)
        before = rows


def _with_remarks(rows: Sequence[Row]) -> Iterator[str]:
    """The lines with the comments behind them, those of neighbouring lines below each other."""
    for has_remark, group in groupby(rows, key=lambda row: bool(row.remark)):
        run = [*group]
        column = max(len(row.text) for row in run) + 2
        aligned = all(column + len(row.remark) <= WIDTH for row in run)
        for row in run:
            text = (
                row.text.ljust(column if aligned else len(row.text) + 2) if has_remark else row.text
            )
            yield (text + row.remark).rstrip()


def _check(source: SourceFile, before: object, text: str) -> None:
    """InternalError if the new text does not mean what the old one does."""
    after = SourceFile(source.name, text)
    if _bare(parse(after)) != _bare(before) or _comments(after) != _comments(source):
        raise InternalError("formatting would change the program", stage="format")


def _bare(node: object) -> object:
    """A node of the AST without its spans."""
    if isinstance(node, tuple):
        return tuple(_bare(item) for item in node)
    if is_dataclass(node) and not isinstance(node, type):
        named = {each.name: getattr(node, each.name) for each in fields(node)}
        return (type(node), *(_bare(value) for name, value in named.items() if name != "span"))
    return node


def _comments(source: SourceFile) -> list[str]:
    tokens, _ = read_tokens(language(), source)
    found = []
    for gap in read_gaps(source.text, tokens):
        found += [gap.remark] if gap.remark else []
        found += gap.comments
    return sorted(found)
