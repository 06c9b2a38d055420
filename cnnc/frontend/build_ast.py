"""Lark's tree → AST: one method per rule of the grammar, bottom-up and without recursion."""

from lark import Token, Transformer_NonRecursive, Tree, v_args
from lark.tree import Meta

from cnnc.base.source import SourceFile, Span
from cnnc.frontend import ast
from cnnc.frontend.tokens import is_integer, span_of

Parsed = ast.Import | ast.Param | ast.Block | ast.Net | ast.Expression
_Operands = Token | ast.Expression
_Arguments = tuple[ast.Argument, ...]


def build_ast(source: SourceFile, tree: Tree[Token]) -> Parsed:
    """The AST node of a tree whose root is a start rule; a header gives its number."""
    parsed: Parsed = _AstBuilder(source).transform(tree)
    return parsed


@v_args(inline=True, meta=True)
class _AstBuilder(Transformer_NonRecursive[Token, Parsed]):
    def __init__(self, source: SourceFile) -> None:
        super().__init__(visit_tokens=False)
        self._source = source

    def _span(self, meta: Meta) -> Span:
        return self._source.span(meta.start_pos, meta.end_pos)

    def _name(self, token: Token) -> ast.Name:
        return ast.Name(str(token), span_of(self._source, token))

    def _text(self, token: Token) -> ast.Text:
        return ast.Text(str(token)[1:-1], span_of(self._source, token))

    def _chain(self, rest: tuple[_Operands, ...]) -> tuple[tuple[ast.Name, ast.Expression], ...]:
        pairs = zip(rest[::2], rest[1::2], strict=True)
        return tuple(
            (self._name(operator), operand)
            for operator, operand in pairs
            if isinstance(operator, Token) and not isinstance(operand, Token)
        )

    # declarations

    def header(self, meta: Meta, number: Token) -> ast.Number:
        return self.number(meta, number)

    def import_(self, meta: Meta, *parts: ast.Imported | Token) -> ast.Import:
        items = tuple(part for part in parts if isinstance(part, ast.Imported))
        path = parts[-1]
        assert isinstance(path, Token)
        return ast.Import(items, self._text(path), self._span(meta))

    def imported(
        self, meta: Meta, name: Token, word: Token | None, alias: Token | None
    ) -> ast.Imported:
        local = self._name(alias) if alias is not None else None
        return ast.Imported(self._name(name), local, self._span(meta))

    def param(
        self, meta: Meta, name: Token, value: ast.Expression, choices: ast.Expression | None
    ) -> ast.Param:
        return ast.Param(self._name(name), value, choices, self._span(meta))

    def formal(self, meta: Meta, name: Token, default: ast.Expression | None) -> ast.Formal:
        return ast.Formal(self._name(name), default, self._span(meta))

    def formals(
        self, meta: Meta, call: Token, *formals: ast.Formal | None
    ) -> tuple[ast.Formal, ...]:
        return tuple(each for each in formals if each)

    def block(
        self, meta: Meta, name: Token, formals: tuple[ast.Formal, ...] | None, body: ast.Body
    ) -> ast.Block:
        return ast.Block(self._name(name), formals or (), body, self._span(meta))

    def net(self, meta: Meta, name: Token, *items: ast.NetItem) -> ast.Net:
        return ast.Net(self._name(name), items, self._span(meta))

    def input(
        self,
        meta: Meta,
        name: Token,
        dtype: Token,
        index: Token,
        *rest: ast.Expression | _Arguments | None,
    ) -> ast.Input:
        shape = tuple(part for part in rest[:-1] if not isinstance(part, tuple | None))
        clauses = rest[-1] if isinstance(rest[-1], tuple) else None
        return ast.Input(self._name(name), self._name(dtype), shape, clauses, self._span(meta))

    def preprocessing(self, meta: Meta, *clauses: ast.Argument) -> _Arguments:
        return clauses

    def output(self, meta: Meta, *items: ast.OutputItem) -> ast.Output:
        return ast.Output(items, self._span(meta))

    def output_item(self, meta: Meta, name: Token, value: ast.Expression | None) -> ast.OutputItem:
        return ast.OutputItem(self._name(name), value, self._span(meta))

    def weights_file(
        self, meta: Meta, path: Token, renames: tuple[ast.Rename, ...] | None
    ) -> ast.WeightsFile:
        return ast.WeightsFile(self._text(path), renames or (), self._span(meta))

    def renames(self, meta: Meta, *renames: ast.Rename) -> tuple[ast.Rename, ...]:
        return renames

    def rename(self, meta: Meta, pattern: Token, target: Token) -> ast.Rename:
        to = self._text(target) if target.type == "STRING" else self._name(target)
        return ast.Rename(self._text(pattern), to, self._span(meta))

    def weights_initial(
        self, meta: Meta, name: Token, arguments: _Arguments | None
    ) -> ast.WeightsInitial:
        return ast.WeightsInitial(self._name(name), arguments or (), self._span(meta))

    def check(self, meta: Meta, path: Token, *arguments: ast.Argument | None) -> ast.Check:
        given = tuple(each for each in arguments if each)
        return ast.Check(self._text(path), given, self._span(meta))

    # statements

    def body(self, meta: Meta, *parts: ast.Binding | ast.Assertion | ast.Expression) -> ast.Body:
        statements = tuple(p for p in parts if isinstance(p, ast.Binding | ast.Assertion))
        (result,) = (p for p in parts if not isinstance(p, ast.Binding | ast.Assertion))
        return ast.Body(statements, result, self._span(meta))

    def binding(self, meta: Meta, *parts: Token | ast.Expression) -> ast.Binding:
        names = tuple(self._name(part) for part in parts if isinstance(part, Token))
        (value,) = (part for part in parts if not isinstance(part, Token))
        return ast.Binding(names, value, self._span(meta))

    def assertion(
        self, meta: Meta, condition: ast.Expression, message: Token | None
    ) -> ast.Assertion:
        text = self._text(message) if message is not None else None
        return ast.Assertion(condition, text, self._span(meta))

    # pipelines

    def pipe(self, meta: Meta, start: ast.Expression, *stages: ast.Stage) -> ast.Pipe:
        return ast.Pipe(start, stages, self._span(meta))

    def labelled(self, meta: Meta, label: Token, stage: ast.Stage) -> ast.Labelled:
        return ast.Labelled(self._name(label), stage, self._span(meta))

    def reference(self, meta: Meta, name: Token) -> ast.Reference:
        return ast.Reference(self._name(name), self._span(meta))

    def call(
        self,
        meta: Meta,
        name: Token,
        arguments: _Arguments,
        branches: tuple[ast.Expression, ...] | None,
    ) -> ast.Call:
        return ast.Call(self._name(name), arguments, branches or (), self._span(meta))

    def join(self, meta: Meta, name: Token, branches: tuple[ast.Expression, ...]) -> ast.Call:
        return ast.Call(self._name(name), (), branches, self._span(meta))

    def branches(self, meta: Meta, *branches: ast.Expression) -> tuple[ast.Expression, ...]:
        return branches

    def repeat(
        self, meta: Meta, index: Token | None, count: ast.Expression, body: ast.Body
    ) -> ast.Repeat:
        name = self._name(index) if index is not None else None
        return ast.Repeat(name, count, body, self._span(meta))

    def condition(
        self,
        meta: Meta,
        test: ast.Expression,
        then: ast.Body,
        otherwise: ast.Body | ast.Condition | None = None,
    ) -> ast.Condition:
        return ast.Condition(test, then, otherwise, self._span(meta))

    def arguments(self, meta: Meta, call: Token, *arguments: ast.Argument | None) -> _Arguments:
        return tuple(each for each in arguments if each)

    def argument(self, meta: Meta, name: Token | None, value: ast.Expression) -> ast.Argument:
        word = self._name(name) if name is not None else None
        return ast.Argument(word, value, self._span(meta))

    def any_name(self, meta: Meta, token: Token) -> Token:
        return token

    # expressions

    def disjunction(self, meta: Meta, *terms: ast.Expression) -> ast.Logic:
        return ast.Logic("or", terms, self._span(meta))

    def conjunction(self, meta: Meta, *terms: ast.Expression) -> ast.Logic:
        return ast.Logic("and", terms, self._span(meta))

    def not_(self, meta: Meta, operand: ast.Expression) -> ast.Not:
        return ast.Not(operand, self._span(meta))

    def comparison(self, meta: Meta, first: ast.Expression, *rest: _Operands) -> ast.Comparison:
        return ast.Comparison(first, self._chain(rest), self._span(meta))

    def range(self, meta: Meta, low: ast.Expression, high: ast.Expression) -> ast.Range:
        return ast.Range(low, high, self._span(meta))

    def sum(self, meta: Meta, first: ast.Expression, *rest: _Operands) -> ast.Arithmetic:
        return ast.Arithmetic(first, self._chain(rest), self._span(meta))

    product = sum

    def power(self, meta: Meta, base: ast.Expression, exponent: ast.Expression) -> ast.Arithmetic:
        place = self._source.text.index("^", base.span.end)
        sign = ast.Name("^", self._source.span(place, place + 1))
        return ast.Arithmetic(base, ((sign, exponent),), self._span(meta))

    def signed(self, meta: Meta, sign: Token, operand: ast.Expression) -> ast.Sign:
        return ast.Sign(self._name(sign), operand, self._span(meta))

    def member(self, meta: Meta, owner: ast.Expression, name: Token) -> ast.Member:
        return ast.Member(owner, self._name(name), self._span(meta))

    def index(
        self, meta: Meta, owner: ast.Expression, bracket: Token, position: ast.Expression
    ) -> ast.Index:
        return ast.Index(owner, position, self._span(meta))

    def number(self, meta: Meta, token: Token) -> ast.Number:
        value = int(token) if is_integer(token) else float(token)
        return ast.Number(value, self._span(meta))

    def text(self, meta: Meta, token: Token) -> ast.Text:
        return self._text(token)

    def true(self, meta: Meta) -> ast.Truth:
        return ast.Truth(True, self._span(meta))

    def false(self, meta: Meta) -> ast.Truth:
        return ast.Truth(False, self._span(meta))

    def here(self, meta: Meta) -> ast.Here:
        return ast.Here(self._span(meta))

    def sequence(self, meta: Meta, *items: ast.Expression | None) -> ast.Sequence:
        return ast.Sequence(tuple(item for item in items if item), self._span(meta))
