"""Elementary functions as primitives, for values that backends have no instruction for.

Largest errors in units in the last place, with a fused multiply-add or without, over all float32
arguments: log 0.9, log1p 1.0, exp 1.1, erf 1.3, expm1 1.7, sigmoid 2.5, tanh 2.6; pow 0.51, but
1.6 for x**3 and 2.1 for x**4; silu 2.5 for x ≥ -87. tests/lowering/test_elementary.py asserts them,
and tests/lowering/test_doubles.py those of float64, over a sample. NaN, infinities, both zeros,
subnormal arguments and subnormal results are right; silu's are off by 1.5e-43.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from cnnc.loop.expr import Call, Expr
from cnnc.loop.kernel import Body, For, Kernel, Kind, Let, Stmt, Store, expressions
from cnnc.loop.rewrite import parts, transform
from cnnc.lowering import exponentials, logarithms, powers
from cnnc.lowering.interleave import Turn, is_elementary, mixed, side_by_side
from cnnc.lowering.lets import Names, Scope, names_in

_EXPANSIONS: dict[str, Callable[..., Expr]] = {
    "exp": exponentials.exp,
    "expm1": exponentials.expm1,
    "sigmoid": exponentials.sigmoid,
    "silu": exponentials.silu,
    "tanh": exponentials.tanh,
    "erf": exponentials.erf,
    "log": logarithms.log_,
    "log1p": logarithms.log1p,
    "pow": powers.pow_,
}


def expand_elementary(kernel: Kernel) -> Kernel:
    """y = 1 + exp(x)  →  let e = …; y = 1 + e, with primitives and arithmetic only.

    For flat kernels whose vectors are expanded; several of these are computed side by side.
    """
    if not any(is_elementary(part) for root in expressions(kernel.body) for part in parts(root)):
        return kernel
    return kernel.with_body(_expand(kernel.body, Names(names_in(kernel)), 1))


def _expand(body: Body, names: Names, tasks: int) -> Body:
    """The statements inside parallel loops of so many tasks; 0 where these are handed out."""
    result: list[Stmt] = []
    for stmt in body:
        match stmt:
            case For():
                result += _expand_loop(stmt, names, tasks)
            case Let(_, value) | Store(_, _, value):
                scope = Scope(names)
                changed = replace(stmt, value=transform(value, _Expansion(scope)))
                result += [*scope.lets, changed]
            case _:
                result.append(stmt)
    return tuple(result)


def _expand_loop(loop: For, names: Names, tasks: int) -> Iterator[Stmt]:
    if loop.kind is Kind.PARALLEL:
        tasks *= loop.extent * (not loop.grain)
    for turn in side_by_side(loop, names, tasks) or [Turn(loop, [loop.body])]:
        made = mixed([_expand(each, names, tasks) for each in turn.bodies])
        if turn.loop:
            yield replace(turn.loop, body=made)
        else:
            yield from made


class _Expansion:
    """The value of an elementary function; None for all other expressions."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._known: dict[Expr, Expr] = {}

    def __call__(self, expr: Expr) -> Expr | None:
        if not is_elementary(expr):
            return None
        assert isinstance(expr, Call)
        if expr not in self._known:
            made = _EXPANSIONS[expr.function](self._scope, *expr.args)
            self._known[expr] = self._scope.let(expr.function, made)
        return self._known[expr]
