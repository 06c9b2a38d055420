"""The analysis as text: one table for each idea."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING

from cnnc.analysis.equivariance import AxisShift
from cnnc.analysis.fields import AxisField, Field
from cnnc.analysis.pooling import Movement
from cnnc.table import Column, count_text, format_table, shape_text, shorten

if TYPE_CHECKING:
    from cnnc.analysis.analysis import Analysis

NONE = "–"
OfAxis = Callable[[AxisField], int | Fraction | None]


def format_analysis(analysis: "Analysis") -> str:
    """All tables, and below them what could not be done."""
    parts = [
        _interactions(analysis),
        _fields(analysis.fields),
        _sharing(analysis),
        _shifts(analysis),
        _others(analysis),
        _pooling(analysis),
    ]
    parts += [f"note: {note}" for note in analysis.notes]
    return "\n\n".join(part for part in parts if part)


def _interactions(analysis: "Analysis") -> str:
    rows = [each for each in analysis.counts if each.name in analysis.chosen]
    columns = [Column("layer"), Column("operator"), Column("result")]
    titles = ("connections", "per element", "dense", "share")
    columns += [Column(title, True) for title in titles]
    lines = [
        [
            *(each.name, shorten(each.op, 48), shape_text(each.shape)),
            ("" if each.is_exact else "≤ ") + count_text(each.connections),
            f"{each.connections / prod(each.shape):.4g}",
            *(count_text(each.dense), _percent(each.density)),
        ]
        for each in rows
    ]
    if not rows:
        return ""
    connections, dense = sum(r.connections for r in rows), sum(r.dense for r in rows)
    share = _percent(connections / dense) if dense else NONE
    total = ["total", "", "", count_text(connections), "", count_text(dense), share]
    title = "sparse interactions: pairs (element read, element of the result) that are connected,"
    return f"{title}\nagainst a dense layer of the same shapes\n" + format_table(
        columns, lines, total
    )


def _fields(fields: Sequence[Field]) -> str:
    if not any(each.axes for each in fields):
        return ""
    several = len({each.input for each in fields}) > 1
    columns = [Column("layer"), *([Column("input")] if several else [])]
    columns += [Column(t) for t in ("size", "stride", "start", "position", "sees")]
    columns += [Column("filled", True), Column("of input", True)]
    rows = []
    for each in fields:
        rows.append(
            [
                *(each.layer, *([each.input] if several else [])),
                _across(each.axes, lambda axis: axis.size),
                _across(each.axes, lambda axis: axis.stride),
                _across(each.axes, lambda axis: axis.start, ", "),
                ", ".join(map(str, each.position)) or NONE,
                " × ".join(f"{axis.first}…{axis.last}" for axis in each.axes),
                *(_percent(each.filled), _percent(each.share)),
            ]
        )
    title = (
        "receptive fields: position o sees `size` pixels from start + o · stride on, and inside the"
        "\ninput's edges what stands under `sees`"
    )
    return f"{title}\n{format_table(columns, rows)}"


def _across(axes: Sequence[AxisField], value: OfAxis, between: str = "×") -> str:
    found = [value(axis) for axis in axes]
    known = [NONE if each is None else _number(each) for each in found]
    return NONE if all(each is None for each in found) else between.join(known)


def _number(number: int | Fraction) -> str:
    exact = Fraction(number)
    return str(exact.numerator) if exact.denominator == 1 else f"{float(exact):.4g}"


def _sharing(analysis: "Analysis") -> str:
    rows = [each for each in analysis.counts if each.name in analysis.chosen and each.weights]
    if not rows:
        return ""
    titles = ("parameters", "unshared", "dense", "min", "mean", "max")
    columns = [Column("layer"), *(Column(title, True) for title in titles)]
    lines = []
    for each in rows:
        uses = each.main.uses if each.main else None
        times = [uses.least, uses.mean, uses.most] if uses else []
        unshared = each.unshared
        lines.append(
            [
                *(each.name, count_text(each.parameters)),
                NONE if unshared is None else count_text(unshared),
                count_text(each.dense_parameters) if each.is_wide else NONE,
                *([f"{number:,.4g}" for number in times] or [NONE] * 3),
            ]
        )
    total = ["total", count_text(sum(each.parameters for each in rows))]
    unshared_all = [each.unshared for each in rows]
    total.append(NONE if None in unshared_all else count_text(sum(u or 0 for u in unshared_all)))
    total += [count_text(sum(each.dense_parameters for each in rows if each.is_wide)), "", "", ""]
    title = (
        "parameter sharing: parameters, against one for every use and against a dense layer;"
        "\nand how often a weight is used in one run"
    )
    return f"{title}\n{format_table(columns, lines, total)}"


def _shifts(analysis: "Analysis") -> str:
    rows = analysis.shifts
    if not rows:
        return ""
    measured = any(row.measured for row in rows)
    several = len({row.inputs for row in rows}) > 1
    columns = [Column("layer"), *([Column("input")] if several else [])]
    columns += [Column("axis"), Column("shifts"), Column("margin")]
    columns += [Column("free", True)]
    columns += [Column(t, True) for t in ("inside", "anywhere")] if measured else []
    # axes along which a layer does the same share a line
    lines: dict[tuple[str, ...], list[AxisShift]] = {}
    for row in rows:
        margin = "{}, {}".format(*row.margin) if row.margin else NONE
        free = NONE if row.free is None else f"{row.free} of {row.extent}"
        head = (row.layer, *([", ".join(row.inputs)] if several else []))
        lines.setdefault((*head, _kind(row), margin, free), []).append(row)
    cells = []
    for line, alike in lines.items():
        letters = " ".join(row.letter for row in alike)
        line = (*line[: 1 + several], letters, *line[1 + several :])
        cells.append([*line, *(_measurements(alike) if measured else [])])
    title = "equivariance: shifts of the input that only shift the result, but for the margin"
    if measured:
        title += f",\nand the largest relative deviation from that on {analysis.measured_on}"
    reasons = dict.fromkeys(f"none: {row.reason}" for row in rows if row.reason)
    return "\n".join([title, format_table(columns, cells), *reasons])


def _measurements(rows: Sequence[AxisShift]) -> list[str]:
    """The largest deviations of several axes."""
    found = [row.measured for row in rows if row.measured]
    inside = [each.inside for each in found if each.inside is not None]
    anywhere = max((each.anywhere for each in found), default=None)
    return [_deviation(max(inside, default=None)), _deviation(anywhere)]


def _kind(row: AxisShift) -> str:
    if row.kind == "equivariant":
        return f"{row.pixels} px → {row.positions}"
    return f"{row.pixels} px → invariant" if row.kind == "invariant" else "none"


def _others(analysis: "Analysis") -> str:
    if not analysis.others:
        return ""
    columns = [Column("layer"), Column("rotation by 90°", True), Column("scaling by 2", True)]
    rows = [
        [each.layer, _deviation(each.rotation), _deviation(each.scaling)]
        for each in analysis.others
    ]
    title = (
        "rotation and scaling, which convolution does not follow: the largest deviation from the"
        "\nturned and from the scaled result, relative to the largest value"
    )
    return f"{title}\n{format_table(columns, rows)}"


def _pooling(analysis: "Analysis") -> str:
    if not analysis.has_pools:
        return "invariance from pooling: the net has no pooling layer"
    rows: Sequence[Movement] = analysis.movements
    if not rows:
        return ""
    count = len(rows[0].by_pixels)
    columns = [Column("value"), Column("pools")]
    columns += [Column(f"{k} px", True) for k in range(1, count + 1)]
    lines = [[row.layer, row.kind, *(_percent(each) for each in row.by_pixels)] for row in rows]
    title = (
        "invariance from pooling: how far values move, ‖y' − y‖ / ‖y‖, when the input is shifted,"
        "\nwith the pools as written and with each kind in their place"
    )
    return f"{title}\n{format_table(columns, lines)}"


def _deviation(number: float | None) -> str:
    return NONE if number is None else f"{number:.2g}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
