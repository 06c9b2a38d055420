"""Several pipelines of one form → what they share, with parameters for what differs."""

from collections.abc import Mapping, Sequence

from cnnc.base.record import record
from cnnc.onnx.reroll.names import free_name, is_name
from cnnc.onnx.reroll.tree import Chain, Formula, Hole, change_holes, holes, labels, leaf

USUAL: Mapping[str, Hole] = {"stride": 1, "pad": 0, "dilation": 1, "groups": 1}
"""Defaults of parameters, where some use has this value."""
FACTORS = range(2, 17)
Column = tuple[Hole, ...]


@record
class Pattern:
    """A body, and for each pipeline the values of the parameters in order."""

    parameters: tuple[str, ...]
    body: Chain
    arguments: tuple[tuple[Hole, ...], ...]
    defaults: tuple[tuple[str, Hole], ...]


def abstract(chains: Sequence[Chain]) -> Pattern:
    """What the pipelines have in common; all have one skeleton."""
    found = [holes(chain) for chain in chains]
    names = [name for name, _ in found[0]]
    columns: list[Column] = [*zip(*([value for _, value in row] for row in found), strict=True)]
    known: dict[str, Column] = {}
    filled = [_fill(name, column, known) for name, column in zip(names, columns, strict=True)]
    order = sorted(known, key=lambda name: _usual(name, known[name]) is not None)
    values, kept = iter(filled), iter(_labels(chains))
    body = change_holes(chains[0], lambda name, value: next(values), lambda label: next(kept))
    usual = ((name, _usual(name, known[name])) for name in order)
    defaults = tuple((name, value) for name, value in usual if value is not None)
    arguments = tuple(tuple(known[name][row] for name in order) for row in range(len(chains)))
    return Pattern(tuple(order), body, arguments, defaults)


def _fill(name: str, column: Column, known: dict[str, Column]) -> Hole:
    """What stands in the body for the values of one hole; a new parameter where nothing else."""
    first = column[0]
    if all(_same(value, first) for value in column) and not isinstance(first, Formula):
        return first
    for parameter, values in known.items():
        if all(map(_same, column, values)):
            return Formula(parameter)
    for parameter, values in known.items():
        if (text := _relation(name, column, parameter, values)) is not None:
            return Formula(text)
    parameter = free_name(name, known)
    known[parameter] = column
    return Formula(parameter)


def _same(one: Hole, two: Hole) -> bool:
    return type(one) is type(two) and one == two


def _relation(name: str, column: Column, parameter: str, values: Column) -> str | None:
    """The one as a multiple, a part or, for padding, half of the other."""
    pairs = [*zip(column, values, strict=True)]
    if name == "pad":
        half = parameter.startswith("kernel") and all(
            type(one) is int and type(two) is int and one == two // 2 for one, two in pairs
        )
        return f"{parameter} // 2" if half else None
    if name.rstrip("_0123456789") not in ("channels", "groups", "features"):
        return None
    for factor in FACTORS:
        if all(_is_multiple(one, factor, two) for one, two in pairs):
            return f"{factor} * {parameter}"
        if all(_is_multiple(two, factor, one) for one, two in pairs):
            return f"{parameter} // {factor}"
    return None


def _is_multiple(large: Hole, factor: int, small: Hole) -> bool:
    if isinstance(large, Formula) and isinstance(small, Formula):
        return large.text == f"{factor} * {small.text}" and is_name(small.text)
    return type(large) is int and type(small) is int and 0 < large == factor * small


def _usual(name: str, column: Column) -> Hole | None:
    """The default of a parameter, None if calls must say it."""
    usual = USUAL.get(name.rstrip("0123456789").rstrip("_"))
    return usual if usual is not None and usual in column else None


def _labels(chains: Sequence[Chain]) -> list[str | None]:
    """The labels that all pipelines have."""
    rows = zip(*([*map(leaf, labels(chain))] for chain in chains), strict=True)
    return [row[0] if len({*row}) == 1 else None for row in rows]
