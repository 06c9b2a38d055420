"""The tables, as Markdown."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from peers.agreement import TOLERANCE
from peers.results import CNNC, Figure, Results, Row, geometric_mean

NONE = "—"
BUSY = 0.02
"""The share of a turn without a core from which times are in doubt."""
AXES = ("net", "batch", "threads")


def format_report(results: Results) -> str:
    """All tables, and at the foot who is missing and why."""
    rows, names = results.rows, contenders(results.rows)
    machine, settings = results.machine, results.settings
    head = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; target "
        f"{settings['cpu']}; {settings['rounds']} rounds of {settings['seconds']:g} s."
    )
    parts = [head, versions(rows), "## Times", times(rows, names)]
    parts += ["Milliseconds, the median over rounds of each turn's median. `best / cnnc` is the "]
    parts[-1] += (
        "fastest peer's time over cnnc's: above 1 cnnc is faster. Of peak: cnnc's multiply-adds "
        "against the peak measured on the same cores in the same minutes. Spread: the middle half "
        "of the rounds over their median, of cnnc and of the fastest peer. Outputs agree with "
        f"cnnc's within {TOLERANCE:g} of the largest element, or there is no time."
    )
    parts += ["## Geometric means of peer / cnnc", means(rows, names)]
    parts += ["## Loading", measure_table(rows, names, loading)]
    parts += [
        "Seconds from the file to the first result, without importing the library; nothing is "
        "kept from earlier runs. In brackets, what it takes of that to read the text and to draw "
        "the weights that other contenders find in their files."
    ]
    parts += ["## Memory", measure_table(rows, names, memory)]
    parts += ["MiB that the process held at most, interpreter and libraries included."]
    feet = [*notes(rows)]
    if feet:
        parts += ["## Notes", "\n".join(f"- {line}" for line in feet)]
    return "\n\n".join(part for part in parts if part)


def contenders(rows: Sequence[Row]) -> list[str]:
    """Everyone who was to take part, in order."""
    return [*dict.fromkeys(name for row in rows for name in row.figures)] or [CNNC]


def versions(rows: Sequence[Row]) -> str:
    """Names with versions."""
    known = {name: f.version for row in rows for name, f in row.figures.items() if f.version}
    return ", ".join(f"{name} {version}" for name, version in known.items())


def times(rows: Sequence[Row], names: Sequence[str]) -> str:
    """The main table."""
    peers = [name for name in names if name != CNNC]
    titles = ["net", "batch", "threads", "MACs", "cnnc", *peers, "best / cnnc", "of peak", "spread"]
    lines = []
    for row in rows:
        cells = [milliseconds(row.figures.get(name)) for name in [CNNC, *peers]]
        best = row.best_peer
        cells += [
            number(row.ratio, "{:.2f}"),
            number(row.of_peak, "{:.0%}"),
            f"{spread(row.figures.get(CNNC))}, {spread(best and best[1])}",
        ]
        lines.append([row.net, str(row.batch), str(row.threads), count(row.macs), *cells])
    return markdown(titles, lines, left=1)


def means(rows: Sequence[Row], names: Sequence[str]) -> str:
    """How many times cnnc's time peers take, for each number of samples and threads."""
    peers = [name for name in names if name != CNNC]
    settings = [*dict.fromkeys((row.threads, row.batch) for row in rows)]
    lines = []
    for threads, batch in settings:
        some = [row for row in rows if (row.threads, row.batch) == (threads, batch)]
        found = [[row.ratio for row in some]]
        found += [[row.ratio_to(name) for row in some] for name in peers]
        known = [[ratio for ratio in ratios if ratio is not None] for ratios in found]
        cells = [number(geometric_mean(ratios), "{:.2f}") for ratios in known]
        counted = [f"{cell} ({len(r)})" for cell, r in zip(cells, known, strict=True)]
        lines.append([str(threads), str(batch), *counted])
    return markdown(["threads", "batch", "best peer", *peers], lines)


def measure_table(rows: Sequence[Row], names: Sequence[str], cell: Callable[[Figure], str]) -> str:
    """One figure of every contender on every network."""
    lines = []
    for row in rows:
        figures = (row.figures.get(name) for name in names)
        cells = [cell(each) if each and each.version else NONE for each in figures]
        lines.append([row.net, str(row.batch), str(row.threads), *cells])
    return markdown(["net", "batch", "threads", *names], lines, left=1)


def loading(figure: Figure) -> str:
    """Seconds, and how many of them are for reading."""
    read = f" ({figure.load['read']:.2f})" if "read" in figure.load else ""
    return f"{figure.loading:.2f}{read}"


def memory(figure: Figure) -> str:
    """MiB."""
    return f"{figure.memory / 2**20:.0f}"


def notes(rows: Sequence[Row]) -> Iterator[str]:
    """Who failed on what and why, and what contenders say of themselves; each once."""
    said: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.failed is not None:
            said["all", row.failed].append(row)
        for name, figure in row.figures.items():
            for what in (figure.failed, *figure.notes):
                if what is not None:
                    said[name, what].append(row)
    busy = [row for row in rows if any(f.waited > BUSY for f in row.figures.values())]
    if busy:
        worst = max(figure.waited for row in busy for figure in row.figures.values())
        what = f"other processes had the cores for up to {worst:.0%} of a turn: measure again"
        said["the machine", what] = busy
    for (name, what), some in said.items():
        yield f"{name}: {what} — {places(some, rows)}"


def places(some: Sequence[Row], rows: Sequence[Row]) -> str:
    """Some of the rows in words, as short as may be."""
    kept = {id(row) for row in some}
    words = []
    for name in AXES:
        values = [*dict.fromkeys(getattr(row, name) for row in some)]
        if len(values) < len({getattr(row, name) for row in rows}):
            words.append(f"{name} {', '.join(map(str, values))}")
    block = [
        row
        for row in rows
        if all(getattr(row, name) in {getattr(each, name) for each in some} for name in AXES)
    ]
    if {id(row) for row in block} == kept:
        return ", ".join(words) or "everywhere"
    return "; ".join(f"{row.net} (batch {row.batch}, threads {row.threads})" for row in some)


def milliseconds(figure: Figure | None) -> str:
    """Three digits that count."""
    seconds = figure.seconds if figure else None
    if seconds is None:
        return NONE
    ms = seconds * 1e3
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.3g}"


def spread(figure: Figure | None) -> str:
    """The spread of one that has a time."""
    return NONE if figure is None or figure.seconds is None else number(figure.spread, "{:.0%}")


def number(value: float | None, form: str) -> str:
    """A number in some form, if there is one."""
    return NONE if value is None else form.format(value)


def count(macs: int) -> str:
    """A number with a prefix."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if macs >= limit:
            return f"{macs / limit:.3g} {unit}"
    return str(macs)


def markdown(titles: Sequence[str], lines: Sequence[Sequence[str]], left: int = 0) -> str:
    """A table whose columns are padded, all but the first few to the right."""
    widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
    aligned = [
        [cell.ljust(w) if place < left else cell.rjust(w) for place, (cell, w) in enumerate(pairs)]
        for pairs in (list(zip(cells, widths, strict=True)) for cells in (titles, *lines))
    ]
    rule = ["-" * w if place < left else "-" * (w - 1) + ":" for place, w in enumerate(widths)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (aligned[0], rule, *aligned[1:]))
