"""Index arithmetic as LLVM IR, done at compile time where unrolled loops make numbers known."""

from collections.abc import Mapping
from functools import reduce

from cnnc.backends.native import ir, values
from cnnc.loop.affine import Affine, affine
from cnnc.loop.expr import Binary, Const, Expr, Var


class Indices:
    """Indices where they are written: `numbers` are what loop variables are there."""

    def __init__(self, builder: ir.IRBuilder, word: ir.IntType) -> None:
        self.numbers: dict[str, int | ir.Value] = {}
        self._builder, self._word = builder, word
        self._sums: dict[int, tuple[Expr, Affine]] = {}

    def split(self, index: Expr) -> tuple[dict[ir.Value, int], int]:
        """An index as values known at run time with coefficients, and a constant."""
        # Unrolled bodies ask for the same index many times. Keeping it keeps its id its own.
        if (known := self._sums.get(id(index))) is None:
            known = self._sums[id(index)] = (index, affine(index))
        _, form = known
        constant, varying = form.constant, dict[ir.Value, int]()
        for term, coefficient in form.terms:
            number = self.numbers[term.name] if type(term) is Var else self.number(term)
            if isinstance(number, int):
                constant += number * coefficient
            else:
                varying[number] = varying.get(number, 0) + coefficient
        return varying, constant

    def total(self, varying: Mapping[ir.Value, int]) -> ir.Value:
        """The sum of values times coefficients."""
        b = self._builder
        parts = [
            number if coefficient == 1 else b.mul(number, self._word(coefficient), flags=("nsw",))
            for number, coefficient in varying.items()
        ]
        return reduce(lambda total, part: b.add(total, part, flags=("nsw",)), parts)

    def number(self, expr: Expr) -> int | ir.Value:
        """An index: a Python int where unrolling made it known."""
        match expr:
            case Const(value, None):
                return int(value)
            case Var(name):
                return self.numbers[name]
            case (
                Binary("add" | "sub", _, _) | Binary("mul", Const(), _) | Binary("mul", _, Const())
            ):
                varying, constant = self.split(expr)
                if not varying:
                    return constant
                total = self.total(varying)
                return self._builder.add(total, self._word(constant)) if constant else total
            case Binary(op, left, right):
                parts = self.number(left), self.number(right)
                return values.index_binary(self._builder, op, *parts, self._word)
        raise TypeError(f"{expr!r} is no index")

    def value(self, expr: Expr) -> ir.Value:
        """An index as a value."""
        number = self.number(expr)
        return self._word(number) if isinstance(number, int) else number
