"""Reads kernels from the text that `cnnc.loop.text` prints."""

import json
import math
from collections import ChainMap
from functools import cache
from typing import NoReturn

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout
from cnnc.base.resources import read_resource
from cnnc.loop.expr import (
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    Fma,
    Lanes,
    Load,
    Local,
    Ramp,
    Space,
    Var,
    binary,
    compare,
    select,
)
from cnnc.loop.functions import FUNCTIONS
from cnnc.loop.kernel import Alloc, Body, For, Kernel, Kind, Let, Origin, Prefetch, Stmt, Store
from cnnc.loop.text import COMPARISONS

Syntax = Tree[Token]
_TYPES = {dtype.value: dtype for dtype in DType}
_COMPARISONS = {symbol: op for op, symbol in COMPARISONS.items()}
_NO_NUMBERS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan, "-nan": math.nan}


class LoopTextError(ValueError):
    """Text that is no kernel; names the line and column."""


def parse_kernel(text: str) -> Kernel:
    """The kernel a text describes; raises LoopTextError."""
    try:
        tree = _language().parse(text)
    except UnexpectedInput as error:
        raise LoopTextError(f"line {error.line}, column {error.column}: {error}") from None
    return _Reader().kernel(tree)


@cache
def _language() -> Lark:
    return Lark(
        read_resource("grammar", "loops.lark"),
        start="kernel",
        parser="lalr",
        propagate_positions=True,
    )


class _Reader:
    """From the syntax tree to a kernel; `names` is what each name stands for in this place."""

    def __init__(self) -> None:
        self.names: ChainMap[str, Expr | Buffer] = ChainMap()

    def kernel(self, tree: Syntax) -> Kernel:
        """The whole text."""
        name, *rest = tree.children
        about: dict[str, str | int] = {"op": "", "layer": ""}
        params: list[Buffer] = []
        outputs: list[str] = []
        statements: list[Syntax] = []
        for part in map(_tree, rest):
            match part.data, part.children:
                case "about", [Token() as key, Token() as value]:
                    about[key] = json.loads(value)
                case "about", [Token() as macs]:
                    about["macs"] = int(macs)
                case "param", [Token() as role, Tree() as described]:
                    params.append(self._buffer(described, Space.MEMORY))
                    outputs += [params[-1].name] if role == "out" else []
                case _:
                    statements.append(part)
        origin = Origin(**about)  # type: ignore[arg-type]
        return Kernel(str(name), tuple(params), tuple(outputs), self._body(statements), origin)

    def _buffer(self, tree: Syntax, space: Space) -> Buffer:
        name, dtype, *extents, tag = map(_token, tree.children)
        shape = tuple(int(extent) for extent in extents if extent)
        if dtype not in _TYPES:
            _fail(tree, f"unknown element type {dtype}")
        try:
            layout = Layout.parse(str(tag)) if tag else Layout.plain(len(shape))
        except ValueError as error:
            _fail(tree, str(error))
        buffer = Buffer(str(name), shape, _TYPES[dtype], layout, space)
        self.names[buffer.name] = buffer
        return buffer

    def _body(self, statements: list[Syntax]) -> Body:
        self.names = self.names.new_child()
        body = tuple(map(self._statement, statements))
        self.names = self.names.parents
        return body

    def _statement(self, tree: Syntax) -> Stmt:
        match tree.data, tree.children:
            case "loop", [var, extent, samples, reduces, turned, kind, grain, *body]:
                self.names = self.names.new_child({str(var): Var(str(var))})
                inner = self._body(list(map(_tree, body)))
                self.names = self.names.parents
                how = Kind(str(kind)) if kind else Kind.SERIAL
                marks = (reduces is not None, samples is not None, turned is not None)
                least = int(str(grain)) if grain else 0
                return For(str(var), int(str(extent)), inner, how, *marks, least)
            case "alloc", [Token() as space, Tree() as described]:
                return Alloc(self._buffer(described, Space(str(space))))
            case "let", [name, Tree() as described]:
                value = self.expr(described)
                self.names[str(name)] = Local(str(name), value.dtype, value.lanes)
                return Let(str(name), value)
            case "store", [name, Tree() as index, Tree() as described]:
                buffer = self._named(tree, str(name))
                return Store(buffer, self._index(index), self.expr(described))
            case "prefetch", [later, name, Tree() as index]:
                named = self._named(tree, str(name))
                return Prefetch(named, self._index(index), later is not None)
        _fail(tree, f"{tree.data} is no statement")

    def _index(self, tree: Syntax) -> tuple[Expr, ...]:
        return tuple(self.expr(_tree(part)) for part in tree.children if part is not None)

    def _named(self, tree: Syntax, name: str) -> Buffer:
        found = self.names.get(name)
        if not isinstance(found, Buffer):
            _fail(tree, f"no buffer is called {name}")
        return found

    def expr(self, tree: Syntax) -> Expr:
        """One expression."""
        match tree.data, tree.children:
            case "literal", [Token() as number, *suffix]:
                return self._literal(tree, number, suffix)
            case "name", [name]:
                value = self.names.get(str(name))
                if not isinstance(value, Expr):
                    _fail(tree, f"no value is called {name}")
                return value
            case "load", [name, Tree() as index]:
                return Load(self._named(tree, str(name)), self._index(index))
            case "ramp", [Tree() as base, lanes, stride]:
                return Ramp(self.expr(base), int(str(lanes)), int(str(stride or 1)))
            case "lanes", children:
                vectors = [self.expr(part) for part in children if isinstance(part, Tree)]
                places = [int(part) for part in children if isinstance(part, Token)]
                return Lanes(tuple(vectors), tuple(places))
            case "call", [name, *args]:
                return self._call(tree, str(name), [self.expr(_tree(arg)) for arg in args])
            case "compare", [Tree() as left, symbol, Tree() as right]:
                return compare(_COMPARISONS[str(symbol)], self.expr(left), self.expr(right))
            case op, [Tree() as left, Tree() as right]:
                return binary(str(op), self.expr(left), self.expr(right))
        _fail(tree, f"{tree.data} is no expression")

    def _literal(self, tree: Syntax, number: Token, suffix: list[Token | Syntax]) -> Expr:
        if number.type == "TRUTH":
            return Const(int(number == "true"), DType.BOOL)
        dtype = str(suffix[0]) if suffix and suffix[0] else ""
        if dtype and dtype not in _TYPES:
            _fail(tree, f"unknown element type {dtype}")
        if number.type == "NUMBER":
            value = _NO_NUMBERS[number] if number in _NO_NUMBERS else float(number)
            return Const(value, _TYPES[dtype or "f32"])
        return Const(int(number), _TYPES[dtype] if dtype else None)

    def _call(self, tree: Syntax, name: str, args: list[Expr]) -> Expr:
        match name, args:
            case "min" | "max", [left, right]:
                return binary(name, left, right)
            case "fma", [a, b, c]:
                return Fma(a, b, c)
            case "select", [condition, then, otherwise]:
                return select(condition, then, otherwise)
            case _, [value] if name in _TYPES:
                return Cast(value, _TYPES[name])
            case _, [_, *_] if name in FUNCTIONS:
                return Call(name, tuple(args))
        _fail(tree, f"no function {name} of {len(args)} operands")


def _tree(part: Token | Syntax) -> Syntax:
    assert isinstance(part, Tree)
    return part


def _token(part: Token | Syntax | None) -> Token | None:
    assert part is None or isinstance(part, Token)
    return part


def _fail(tree: Syntax, why: str) -> NoReturn:
    raise LoopTextError(f"line {tree.meta.line}, column {tree.meta.column}: {why}")
