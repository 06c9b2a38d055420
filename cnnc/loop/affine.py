"""Index expressions as sums: a constant plus coefficient times term."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import gcd

from cnnc.loop.expr import Binary, Const, Expr, Var, binary, children
from cnnc.loop.interval import Range, bounds
from cnnc.loop.rewrite import with_children


@dataclass(frozen=True, slots=True)
class Affine:
    """constant + sum of coefficient * term; a term is a variable or what cannot be taken apart.

    That is, no sum and no multiple of a number; each stands there once, its coefficient is not 0.
    """

    terms: tuple[tuple[Expr, int], ...]
    constant: int

    def coefficient(self, term: Expr) -> int:
        """The coefficient of a term, 0 if absent."""
        return dict(self.terms).get(term, 0)

    def expr(self) -> Expr:
        """The sum as an expression, terms first."""
        # what the constructors would make, which need not look at terms here
        total: Expr | None = None
        for term, coefficient in self.terms:
            part = term if coefficient == 1 else Binary("mul", term, Const(coefficient))
            total = part if total is None else Binary("add", total, part)
        if total is None:
            return Const(self.constant)
        return Binary("add", total, Const(self.constant)) if self.constant else total


def affine(expr: Expr) -> Affine:
    """Collect an index into a sum."""
    return weighted(((expr, 1),))


def weighted(parts: Iterable[tuple[Expr, int]]) -> Affine:
    """The sum of indices times integers."""
    terms: dict[Expr, int] = {}
    constant = sum([_collect(part, scale, terms) for part, scale in parts])
    return Affine(tuple([(term, k) for term, k in terms.items() if k]), constant)


# Without match, as in `binary`: most of what compiling does to an index begins here.
def _collect(expr: Expr, scale: int, terms: dict[Expr, int]) -> int:
    if isinstance(expr, Binary):
        op, left, right = expr.op, expr.left, expr.right
        if op == "add":
            return _collect(left, scale, terms) + _collect(right, scale, terms)
        if op == "sub":
            return _collect(left, scale, terms) + _collect(right, -scale, terms)
        if op == "mul" and isinstance(right, Const):
            return _collect(left, scale * int(right.value), terms)
        if op == "mul" and isinstance(left, Const):
            return _collect(right, scale * int(left.value), terms)
    elif isinstance(expr, Const) and expr.type is None:
        return scale * int(expr.value)
    terms[expr] = terms.get(expr, 0) + scale
    return 0


def simplify(expr: Expr, ranges: Mapping[str, Range]) -> Expr:
    """An equal index where like terms are collected and divisions are done as far as ranges allow.

    `ranges` bounds every variable. (oc.0 * 16 + oc.1) // 16 becomes oc.0 when 0 <= oc.1 < 16.
    """
    if isinstance(expr, Binary) and expr.op in ("add", "sub", "mul"):
        return simplify_sum(affine(expr), ranges)
    if not (inner := children(expr)):
        return expr
    expr = with_children(expr, tuple(simplify(part, ranges) for part in inner))
    match expr:
        case Binary("floordiv" | "mod" as op, left, Const(divisor)):
            return _divide(op, left, int(divisor), ranges)
        case Binary("min" | "max" as op, left, right):
            return _extreme(op, left, right, ranges)
    return expr


def simplify_sum(whole: Affine, ranges: Mapping[str, Range]) -> Expr:
    """`simplify` of a sum."""
    better = [(_simplify_term(term, ranges), k) for term, k in whole.terms]
    if all(term is old for (term, _), (old, _) in zip(better, whole.terms, strict=True)):
        return _joined(whole).expr()
    return _joined(weighted([*better, (Const(whole.constant), 1)])).expr()


def _simplify_term(term: Expr, ranges: Mapping[str, Range]) -> Expr:
    if isinstance(term, Var):
        return term
    if isinstance(term, Binary) and term.op == "mul":
        return with_children(term, tuple(simplify(part, ranges) for part in children(term)))
    return simplify(term, ranges)


def _joined(form: Affine) -> Affine:
    """Quotients with remainders: a // 4 * 4 + a % 4 is a, a // 4 % 8 * 4 + a % 4 is a % 32."""
    for term, k in form.terms:
        match term:
            case Binary("mod", whole, Const(divisor)):
                quotient = Binary("floordiv", whole, Const(divisor))
            case _:
                continue
        for other, scale in form.terms:
            if scale != k * divisor:
                continue
            made: Expr | None = None
            match other:
                case Binary("floordiv") if other == quotient:
                    made = whole
                case Binary("mod", left, Const(more)) if left == quotient:
                    made = Binary("mod", whole, Const(int(divisor * more)))
            if made is not None:
                rest = Affine(tuple((t, c) for t, c in form.terms if t not in (term, other)), 0)
                return _joined(affine(rest.expr() + made * k + form.constant))
    return form


def _divide(op: str, dividend: Expr, divisor: int, ranges: Mapping[str, Range]) -> Expr:
    whole = affine(dividend)
    multiples = tuple((t, k // divisor) for t, k in whole.terms if k % divisor == 0)
    remaining = tuple((t, k) for t, k in whole.terms if k % divisor)
    rest = Affine(remaining, whole.constant % divisor)
    low, high = bounds(rest.expr(), ranges)
    if low // divisor == high // divisor:
        shift = low // divisor
        if op == "mod":
            return (rest.expr() - shift * divisor) if shift else rest.expr()
        return Affine(multiples, whole.constant // divisor + shift).expr()
    return _divide_scaled(op, Affine(multiples, whole.constant // divisor), rest, divisor, ranges)


def _divide_scaled(
    op: str, whole: Affine, rest: Affine, divisor: int, ranges: Mapping[str, Range]
) -> Expr:
    """Divide what has no whole quotient, first dropping terms too small to matter.

    (32 a + r) // 64 is a // 2 when 0 <= r < 32.
    """
    for scale in sorted({gcd(divisor, k) for _, k in rest.terms}, reverse=True):
        small = Affine(tuple((t, k) for t, k in rest.terms if k % scale), rest.constant % scale)
        low, high = bounds(small.expr(), ranges)
        if scale == 1 or low < 0 or high >= scale:
            continue
        large = Affine(
            tuple((t, k // scale) for t, k in rest.terms if k % scale == 0),
            rest.constant // scale,
        )
        part = binary(op, large.expr(), Const(divisor // scale))
        if op == "mod":
            return affine(part * scale + small.expr()).expr()
        return affine(whole.expr() + part).expr()
    part = binary(op, rest.expr(), Const(divisor))
    return part if op == "mod" else affine(whole.expr() + part).expr()


def _extreme(op: str, left: Expr, right: Expr, ranges: Mapping[str, Range]) -> Expr:
    (a, b), (c, d) = bounds(left, ranges), bounds(right, ranges)
    if op == "min":
        return left if b <= c else right if d <= a else binary(op, left, right)
    return left if a >= d else right if c >= b else binary(op, left, right)
