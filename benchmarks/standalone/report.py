"""The table, as Markdown."""

from collections.abc import Sequence

from peers.agreement import TOLERANCE
from peers.report import NONE, count, markdown, milliseconds, notes, number
from peers.results import CNNC, Results, Row


def format_report(results: Results, names: Sequence[str]) -> str:
    """What was found, and at the foot who is missing and why."""
    machine, settings, rows = results.machine, results.settings, results.rows
    head = (
        f"{machine['cpu']}, {machine['system']}, one thread; {settings['rounds']} rounds of "
        f"{settings['seconds']:g} s."
    )
    found = {name: f.version for row in rows for name, f in row.figures.items() if f.version}
    versions = "; ".join(f"{name}: {version}" for name, version in found.items())
    text = (
        "Milliseconds of processor time, the median over rounds of each turn's median, and in "
        "brackets how many times that of cnnc's native code in process it is. Spread: the widest "
        "middle half of rounds over their median. Outputs agree with cnnc's within "
        f"{TOLERANCE:g} of the largest element, or there is no time."
    )
    parts = [head, versions, times(rows, names), text]
    parts += ["\n".join(f"- {line}" for line in notes(rows))]
    return "\n\n".join(part for part in parts if part)


def times(rows: Sequence[Row], names: Sequence[str]) -> str:
    """The table of times and ratios."""
    lines = []
    for row in rows:
        cells = [_cell(row, name) for name in names]
        found = [f.spread for f in row.figures.values() if f.seconds is not None]
        spreads = [spread for spread in found if spread is not None]
        spread = number(max(spreads, default=None), "{:.0%}")
        lines.append([row.net, count(row.macs), *cells, spread])
    return markdown(["net", "MACs", *names, "spread"], lines, left=1)


def _cell(row: Row, name: str) -> str:
    figure = row.figures.get(name)
    if figure is None or figure.seconds is None:
        return NONE
    ratio = row.ratio_to(name)
    more = f" ({ratio:.3g}×)" if name != CNNC and ratio else ""
    return f"{milliseconds(figure)}{more}"
