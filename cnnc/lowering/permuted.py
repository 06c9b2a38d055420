"""Vectors whose lanes come from a few whole ones."""

from collections.abc import Callable, Mapping, Sequence

from cnnc.loop.affine import Affine, affine, simplify
from cnnc.loop.expr import (
    Buffer,
    Compare,
    Const,
    Expr,
    Lanes,
    Load,
    Local,
    Ramp,
    Space,
    Var,
    compare,
)
from cnnc.loop.interval import Range, bounds
from cnnc.loop.kernel import Let
from cnnc.loop.rewrite import transform
from cnnc.lowering.lets import Names


class Permuted:
    """Expressions in a loop over so many lanes, where each lane's part is known beforehand.

    `lets` are the whole vectors that lanes are taken from, under fresh `names`, but for those that
    are loaded as they are. `ranges` bounds the variables around the loop.
    """

    def __init__(
        self, var: Var, lanes: int, ranges: Mapping[str, Range], names: Callable[[], Names]
    ) -> None:
        self.var = var
        self.lanes = lanes
        self.ranges = ranges
        self.names = names
        self.lets: list[Let] = []

    def load(self, buffer: Buffer, index: Expr) -> Expr | None:
        """The elements at an index; None where it is not known how they lie to each other.

        Whole vectors are read: those between multiples of their length. So what does not vary must
        be such a multiple, as it is where blocks of channels have that length.
        """
        if buffer.space is not Space.MEMORY:
            return None
        forms = [affine(each) for each in self._at_each(index)]
        terms = dict(forms[0].terms)
        if any(dict(form.terms) != terms for form in forms):
            return None
        if any(factor % self.lanes for factor in terms.values()):
            return None
        low, high = bounds(Affine(forms[0].terms, 0).expr(), self.ranges)
        numbers, within = zip(*(divmod(form.constant, self.lanes) for form in forms), strict=True)
        vectors = list(dict.fromkeys(numbers))
        if low + min(vectors) * self.lanes < 0:
            return None
        if high + (max(vectors) + 1) * self.lanes > buffer.size:
            return None
        parts = [
            self._whole(buffer, Affine(forms[0].terms, number * self.lanes).expr())
            for number in vectors
        ]
        starts = [vectors.index(number) * self.lanes for number in numbers]
        return Lanes(tuple(parts), tuple(map(sum, zip(starts, within, strict=True))))

    def choice(self, test: Compare, then: Expr, otherwise: Expr) -> Expr | None:
        """Of two vectors, in each lane that which the test says; None where that is not known."""
        sides = zip(self._at_each(test.left), self._at_each(test.right), strict=True)
        holds = [compare(test.op, left, right) for left, right in sides]
        if not all(isinstance(each, Const) for each in holds):
            return None
        first, second = self._in_all(then), self._in_all(otherwise)
        if first is None or second is None or not first.lanes == second.lanes == self.lanes:
            return None
        (parts, places), (others, other_places) = self._taken(first), self._taken(second)
        behind = len(parts) * self.lanes
        chosen = (
            here if isinstance(each, Const) and each.value else there + behind
            for each, here, there in zip(holds, places, other_places, strict=True)
        )
        return Lanes((*parts, *others), tuple(chosen))

    def _in_all(self, value: Expr) -> Expr | None:
        """An element that all lanes have, from the vector where it lies; vectors as they are."""
        if value.lanes == 1 and isinstance(value, Load):
            return self.load(value.buffer, *value.index)
        return value

    def _taken(self, value: Expr) -> tuple[tuple[Expr, ...], Sequence[int]]:
        if isinstance(value, Lanes):
            return value.parts, value.places
        return (value,), range(self.lanes)

    def _at_each(self, index: Expr) -> list[Expr]:
        """An index in each lane."""

        def at(lane: int) -> Expr:
            there = transform(index, lambda part: Const(lane) if part == self.var else None)
            return simplify(there, self.ranges)

        return list(map(at, range(self.lanes)))

    def _whole(self, buffer: Buffer, base: Expr) -> Local:
        load = Load(buffer, (Ramp(base, self.lanes),))
        for let in self.lets:
            if let.value == load:
                return Local(let.name, load.dtype, load.lanes)
        self.lets.append(Let(self.names().fresh(f"{buffer.name}.whole"), load))
        return Local(self.lets[-1].name, load.dtype, load.lanes)
