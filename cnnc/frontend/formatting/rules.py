"""The tree of a declaration → a document that knows where it may break.

Most rules of the grammar need no word here: tokens are put one after the other with the spaces
their kinds ask for, and brackets with commas, bars or statements between them are laid out alike
wherever they stand. Only what looks different has a rule of its own.
"""

from collections.abc import Iterator, Mapping, Sequence

from lark import Token, Tree

from cnnc.frontend.formatting.document import (
    ARROW,
    INDENT,
    Cat,
    Chain,
    Doc,
    Fill,
    Group,
    Hard,
    IfBroken,
    Line,
    Nest,
    Remark,
)
from cnnc.frontend.formatting.gaps import Gap

Part = Token | Tree[Token]

_CLOSER = {"LPAR": "RPAR", "CALL": "RPAR", "LSQB": "RSQB", "INDEX": "RSQB", "LBRACE": "RBRACE"}
_TIGHT_AFTER = frozenset({"LPAR", "LSQB", "CALL", "INDEX", "DOT"})
_TIGHT_BEFORE = frozenset({"RPAR", "RSQB", "COMMA", "COLON", "DOT", "CALL", "INDEX"})
_OPERATIONS = frozenset({"disjunction", "conjunction", "comparison", "sum", "product"})
_TRAILING_COMMA = frozenset({"arguments", "formals", "sequence", "input", "check"})
"""Rules whose grammar takes a comma before the closing bracket; they get one where they break."""
_LONG_STATEMENTS = frozenset({"output", "assertion", "import_"})
"""Rules that break behind the commas between their parts."""
_LISTS_OF_STATEMENTS = frozenset({"body", "renames"})
_SHORT = 2
"""Most tokens of an item that shares its line with others of a long list: `-1` has two."""


def document(tree: Tree[Token], gaps: Mapping[int, Gap]) -> Doc:
    """The document of a header or declaration; `gaps` are those before tokens, by position."""
    builder = _Builder(gaps)
    for subtree in tree.iter_subtrees():
        builder.add(subtree)
    return builder.doc(tree)


class _Builder:
    def __init__(self, gaps: Mapping[int, Gap]) -> None:
        self._gaps = gaps
        self._docs: dict[int, Doc] = {}
        self._ends: dict[int, tuple[Token, Token]] = {}

    def add(self, tree: Tree[Token]) -> None:
        """The document of a tree whose subtrees have theirs."""
        parts = [
            part for part in tree.children if isinstance(part, Token) or id(part) in self._ends
        ]
        if parts:
            self._ends[id(tree)] = (self._first(parts[0]), self._last(parts[-1]))
            self._docs[id(tree)] = self._node(str(tree.data), parts)

    def doc(self, part: Part) -> Doc:
        """The document of a token or finished tree."""
        return str(part) if isinstance(part, Token) else self._docs[id(part)]

    def _first(self, part: Part) -> Token:
        return part if isinstance(part, Token) else self._ends[id(part)][0]

    def _last(self, part: Part) -> Token:
        return part if isinstance(part, Token) else self._ends[id(part)][1]

    def _gap(self, part: Part) -> Gap:
        return self._gaps.get(self._first(part).start_pos or 0, Gap())

    def _node(self, rule: str, parts: Sequence[Part]) -> Doc:
        if rule == "pipe":
            return self._pipeline(parts)
        if rule in _OPERATIONS:
            return self._operation(parts)
        if rule == "signed":
            return Cat((self.doc(parts[0]), *self._forced_or(parts[1], ()), self.doc(parts[1])))
        if rule == "branches":
            return self._branches(parts)
        if rule in _LISTS_OF_STATEMENTS:
            return Cat(self._statements(rule, parts))
        if rule in _LONG_STATEMENTS:
            return Group(self._joined(rule, parts, comma=Nest((Line(),))))
        if rule == "preprocessing":
            return self._clauses(parts)
        if rule == "range" and max(map(_size, parts)) <= _SHORT:
            low, dots, high = parts
            behind = ((*self._forced_or(part, ()), self.doc(part)) for part in (dots, high))
            rest = [doc for docs in behind for doc in docs]
            return Cat((self.doc(low), *rest))
        if rule == "condition":
            return Group(self._joined(rule, parts))
        return Cat(self._joined(rule, parts))

    # ── one after the other ─────────────────────────────────────────────────────────────────────

    def _joined(self, rule: str, parts: Sequence[Part], comma: Doc = " ") -> tuple[Doc, ...]:
        """Brackets as groups, everything else with the spaces it asks for."""
        docs: list[Doc] = []
        place = 0
        while place < len(parts):
            part = parts[place]
            if place:
                docs += self._between(parts[place - 1], part, comma)
            if isinstance(part, Token) and part.type in _CLOSER:
                end = _closer(parts, place)
                docs.append(self._bracket(rule, parts[place : end + 1]))
                place = end
            elif rule == "condition" and place and isinstance(part, Tree) and part.data == rule:
                docs += self._parts_of(part)  # `else if`: all its braces break, or none
            else:
                docs.append(self.doc(part))
            place += 1
        return tuple(docs)

    def _parts_of(self, tree: Tree[Token]) -> tuple[Doc, ...]:
        doc = self._docs[id(tree)]
        return doc.parts if isinstance(doc, Group) else (doc,)

    def _between(self, before: Part, after: Part, comma: Doc = " ") -> Sequence[Doc]:
        last, first = self._last(before).type, self._first(after).type
        if first in ("CALL", "INDEX"):
            return ()  # on the line of its name, so no comment can stand there
        tight = last in _TIGHT_AFTER or first in _TIGHT_BEFORE
        tight = tight or (last, first) == ("REPEAT", "LPAR")
        usual: Doc = "" if tight else comma if last == "COMMA" else " "
        return self._forced_or(after, (usual,))

    def _forced_or(self, after: Part, usual: Sequence[Doc]) -> Sequence[Doc]:
        """The comments before a part, which then has to start a line; without any, `usual`."""
        gap = self._gap(after)
        return usual if gap.is_empty else (Nest((*_comments(gap), Hard())),)

    # ── brackets ────────────────────────────────────────────────────────────────────────────────

    def _bracket(self, rule: str, parts: Sequence[Part]) -> Doc:
        opener, *inside, closer = parts
        is_brace = self._first(opener).type == "LBRACE"
        commas = [part for part in inside if isinstance(part, Token) and part.type == "COMMA"]
        if is_brace and not commas:
            return self._braces(rule, opener, inside, closer)
        items = _items(inside)
        if not items and self._gap(closer).is_empty:
            return Cat((self.doc(opener), self.doc(closer)))
        edge = Line(" " if is_brace else "")
        words = self._listed(rule, items, edge)
        if self._is_short_list(rule, items, closer):
            words = (edge, Fill(words[1:]))
        if rule in _TRAILING_COMMA and items:
            words = (*words, IfBroken(","))
        inner = Nest((*words, *_comments(self._gap(closer))))
        return Group((self.doc(opener), inner, edge, self.doc(closer)))

    def _listed(self, rule: str, items: Sequence[Sequence[Part]], edge: Line) -> tuple[Doc, ...]:
        """Before each item of brackets its break, then the item with its comma."""
        docs: list[Doc] = []
        for number, item in enumerate(items, start=1):
            line = self._line(item[0], edge if number == 1 else Line())
            docs.append(line[0] if len(line) == 1 else Cat(line))
            comma = [","] if number < len(items) else []
            docs.append(Cat((*self._joined(rule, item), *comma)))
        return tuple(docs)

    def _is_short_list(self, rule: str, items: Sequence[Sequence[Part]], closer: Part) -> bool:
        """Whether a list is of numbers and names, many of which go on a line."""
        gaps = [self._gap(closer), *(self._gap(item[0]) for item in items)]
        short = all(len(item) == 1 and _size(item[0]) <= _SHORT for item in items)
        return rule == "sequence" and short and all(gap.is_empty for gap in gaps)

    def _line(self, part: Part, line: Line) -> tuple[Doc, ...]:
        """The break before a part, with the comments that stand there."""
        gap = self._gap(part)
        return (line,) if gap.is_empty else (*_comments(gap), Hard())

    def _branches(self, parts: Sequence[Part]) -> Doc:
        opener, *inside, closer = parts
        docs: list[Doc] = [self.doc(opener)]
        for part in inside:
            if isinstance(part, Token):
                docs.append(Nest((*self._line(part, Line()), f"{part} ")))
            else:
                first = self._line(part, Line()) if part is inside[0] else self._forced_or(part, ())
                docs.append(Nest((*first, self.doc(part)), 2 * INDENT))
        docs += (Nest(tuple(_comments(self._gap(closer)))), Line(), self.doc(closer))
        return Group(tuple(docs))

    def _clauses(self, parts: Sequence[Part]) -> Doc:
        """With commas on one line, and without them on lines of their own."""
        opener, *inside, closer = parts
        clauses = [part for part in inside if isinstance(part, Tree)]
        if not clauses:
            return self._braces("", opener, (), closer)
        docs: list[Doc] = []
        for clause in clauses:
            docs += (*self._line(clause, Line(", " if docs else " ")), self.doc(clause))
        inner = Nest((*docs, *_comments(self._gap(closer))))
        return Group((self.doc(opener), inner, Line(), self.doc(closer)))

    # ── statements ──────────────────────────────────────────────────────────────────────────────

    def _braces(self, rule: str, opener: Part, inside: Sequence[Part], closer: Part) -> Doc:
        """Statements on lines of their own; a single one may stay between its braces."""
        end = self._gap(closer)
        if not inside and end.is_empty:
            return f"{self.doc(opener)}{self.doc(closer)}"
        docs: list[Doc] = []
        if inside:
            first = self._gap(inside[0])
            stays = first.is_empty and not _must_open(rule, inside)
            docs = [Line()] if stays else [*_rows(Gap(first.remark, _without_blank(first.own)))]
            docs += self._statements(rule, inside)
        tail = _without_blank(end.own[::-1])[::-1]
        if end.remark or tail:
            rows = [*_rows(Gap(end.remark, tail if inside else _without_blank(tail)))]
            docs += rows[:-1]
        parts = (self.doc(opener), Nest(tuple(docs)), Line(), self.doc(closer))
        return Cat(parts) if rule == "condition" else Group(parts)

    def _statements(self, rule: str, parts: Sequence[Part]) -> tuple[Doc, ...]:
        statements = [part for part in parts if isinstance(part, Tree)]
        widths = {id(each): self._padding(each) for each in statements if each.data == "rename"}
        docs: list[Doc] = []
        for number, each in enumerate(statements):
            docs += _rows(self._gap(each)) if number else ()
            doc = self.doc(each)
            if each.data == "rename" and isinstance(doc, Cat):
                space = " " * (max(widths.values()) - widths[id(each)])
                doc = Cat((doc.parts[0], space, *doc.parts[1:]))
            docs.append(doc)
        return tuple(docs)

    def _padding(self, rename: Tree[Token]) -> int:
        return len(self._first(rename))

    # ── pipelines and arithmetic ────────────────────────────────────────────────────────────────

    def _pipeline(self, parts: Sequence[Part]) -> Doc:
        docs: list[Doc] = [self.doc(parts[0])]
        for arrow, stage in zip(parts[1::2], parts[2::2], strict=True):
            line = self._line(arrow, Line())
            docs += (line[0] if len(line) == 1 else Cat(line), ARROW, self.doc(stage))
        return Chain(tuple(docs))

    def _operation(self, parts: Sequence[Part]) -> Doc:
        docs: list[Doc] = []
        for operator, operand in zip(parts[1::2], parts[2::2], strict=True):
            docs += (*self._line(operator, Line()), f"{self.doc(operator)} ", self.doc(operand))
        return Group((self.doc(parts[0]), Nest(tuple(docs))))


def _comments(gap: Gap) -> Iterator[Doc]:
    if gap.remark:
        yield Remark(gap.remark)
    for comment in gap.comments:
        yield Hard()
        yield comment


def _rows(gap: Gap) -> Iterator[Doc]:
    """The lines between two statements: comments, and blank lines where there were any."""
    if gap.remark:
        yield Remark(gap.remark)
    blank = False
    for line in gap.own:
        if line is not None:
            yield Hard(blank)
            yield line
        blank = line is None
    yield Hard(blank)


def _without_blank(lines: tuple[str | None, ...]) -> tuple[str | None, ...]:
    """The lines without a blank one at the start."""
    return lines[1:] if lines and lines[0] is None else lines


def _must_open(rule: str, inside: Sequence[Part]) -> bool:
    """Whether braces stand on lines of their own even if everything would fit on one."""
    trees = [part for part in inside if isinstance(part, Tree)]
    if rule == "block":
        return any(token.type == "LBRACE" for tree in trees for token in _tokens(tree))
    return rule == "net"


def _items(inside: Sequence[Part]) -> list[Sequence[Part]]:
    """What stands between the commas of brackets; a last comma says nothing."""
    items: list[list[Part]] = [[]]
    for part in inside:
        if isinstance(part, Token) and part.type == "COMMA":
            items.append([])
        else:
            items[-1].append(part)
    return [item for item in items if item]


def _tokens(tree: Tree[Token]) -> Iterator[Token]:
    return (each for each in tree.scan_values(lambda value: True))


def _closer(parts: Sequence[Part], start: int) -> int:
    """Where the bracket that opens at `start` closes."""
    opened: list[str] = []
    for place in range(start, len(parts)):
        part = parts[place]
        if isinstance(part, Token) and part.type in _CLOSER:
            opened.append(_CLOSER[part.type])
        elif isinstance(part, Token) and opened and part.type == opened[-1]:
            opened.pop()
            if not opened:
                return place
    return len(parts) - 1


def _size(part: Part) -> int:
    return 1 if isinstance(part, Token) else sum(1 for _ in _tokens(part))
