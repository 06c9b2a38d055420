"""Text → AST."""

from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise

from lark import Token

from cnnc.base.errors import Diagnostic, InternalError, UserError, fail
from cnnc.base.source import SourceFile, Span
from cnnc.frontend import ast
from cnnc.frontend.build_ast import Parsed, build_ast
from cnnc.frontend.grammar import Start, Surprise, language, parse_tokens
from cnnc.frontend.habits import joined_input
from cnnc.frontend.syntax_errors import describe_surprise
from cnnc.frontend.tokens import (
    Chunk,
    check_brackets,
    find_first_word,
    read_tokens,
    span_of,
    split_items,
)

LANGUAGE_VERSION = 1
MAX_TEXT = 1 << 20
MAX_DEPTH = 120
"""Levels of the AST; a chain of operators or stages is one level, however long."""


def parse(source: SourceFile) -> ast.Program:
    """The AST of a whole file; UserError with one diagnostic per broken item."""
    tokens = _read(source, whole_file=True)
    header, *chunks = split_items(tokens)
    found = [*_check_header(source, header)]
    items: list[Parsed] = []
    for chunk in chunks:
        try:
            items.append(_parse_chunk(source, chunk, "item"))
        except UserError as error:
            found += error.diagnostics
    if found:
        raise UserError(found)
    return ast.Program(
        LANGUAGE_VERSION,
        tuple(item for item in items if isinstance(item, ast.Import)),
        tuple(item for item in items if isinstance(item, ast.Param)),
        tuple(item for item in items if isinstance(item, ast.Block)),
        tuple(item for item in items if isinstance(item, ast.Net)),
        source.span(0, len(source.text)),
    )


def parse_expression(source: SourceFile) -> ast.Expression:
    """The AST of one pipeline or expression, such as the value of a `--set`."""
    parsed = _parse_chunk(source, Chunk(_read(source, whole_file=False), is_header=False), "pipe")
    if not isinstance(parsed, ast.Expression):
        raise InternalError(f"a pipeline parsed to {type(parsed).__name__}", stage="parse")
    return parsed


def _read(source: SourceFile, *, whole_file: bool) -> tuple[Token, ...]:
    if len(source.text) > MAX_TEXT:
        raise fail("E0501", f"the file has {len(source.text)} characters, the limit is {MAX_TEXT}")
    tokens, found = read_tokens(language(), source)
    if found:
        first = find_first_word(source)
        # A text in another language: its many unknown characters are not what is wrong with it.
        foreign = whole_file and len(found) > 1 and first.excerpt != "cnn"
        raise UserError([_missing_version(first)] if foreign else found)
    return tokens


def _missing_version(place: Span) -> Diagnostic:
    message = "the file does not start with the version of the language"
    help = f"start the file with `cnn {LANGUAGE_VERSION}`"
    return Diagnostic("E0101", message, place, "expected `cnn` and a number", help=help)


def _check_header(source: SourceFile, header: Chunk) -> Iterator[Diagnostic]:
    help = f"start the file with `cnn {LANGUAGE_VERSION}`"
    if not header.tokens or header.tokens[0].type != "CNN":
        first = span_of(source, header.tokens[0]) if header.tokens else source.span(0, 0)
        yield _missing_version(first)
        return
    try:
        version = _parse_chunk(source, header, "header")
    except UserError as error:
        yield from error.diagnostics
        return
    if not isinstance(version, ast.Number) or version.value != LANGUAGE_VERSION:
        message = f"this cnnc knows version {LANGUAGE_VERSION} of the language only"
        yield Diagnostic("E0101", message, version.span, "another version", help=help)


def _parse_chunk(source: SourceFile, chunk: Chunk, start: Start) -> Parsed:
    if problem := check_brackets(source, chunk):
        raise UserError([problem])
    tree = parse_tokens(chunk.tokens, start)
    if isinstance(tree, Surprise):
        raise UserError([describe_surprise(source, tree)])
    parsed = build_ast(source, tree)
    if problems := [*_walk_for_problems(parsed)]:
        raise UserError(problems)
    return parsed


def _walk_for_problems(root: object) -> Iterator[Diagnostic]:
    """Without recursion: what nests too deeply, and statements that share a line."""
    stack: list[tuple[object, int]] = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        if isinstance(node, tuple):
            stack += [(item, depth) for item in reversed(node)]
        elif isinstance(node, ast.Node):
            if depth > MAX_DEPTH:
                message = f"this nests deeper than {MAX_DEPTH} levels"
                yield Diagnostic("E0502", message, node.span, help="bind parts of it to names")
                return
            yield from _joined_lines(node)
            stack += [(getattr(node, each.name), depth + 1) for each in reversed(fields(node))]


def _joined_lines(node: object) -> Iterator[Diagnostic]:
    items: tuple[ast.NetItem | ast.Expression, ...] = ()
    if isinstance(node, ast.Net):
        items = node.items
    elif isinstance(node, ast.Body):
        items = (*node.statements, node.result)
    for one, two in pairwise(items):
        if isinstance(one, ast.Input) and isinstance(two, ast.Binding):
            yield from filter(None, [joined_input(one, two)])
        open_ended = isinstance(one, ast.Binding | ast.Assertion | ast.Output)
        by_keyword = isinstance(two, ast.Assertion | ast.Input | ast.Output | ast.WeightsFile)
        by_keyword = by_keyword or isinstance(two, ast.WeightsInitial | ast.Check)
        if open_ended and not by_keyword and one.span.end_line == two.span.line:
            message = "a second statement on the same line"
            help = "write `->` between stages, and every statement on its own line"
            yield Diagnostic("E0104", message, two.span, "is `->` missing before this?", help=help)
