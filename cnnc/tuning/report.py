"""What tuning found, as a table and as data."""

import statistics
from dataclasses import dataclass, field
from pathlib import Path

from cnnc.base.report import Json
from cnnc.html import Printer, table_html, text_html
from cnnc.offers.winograd import WINOGRAD
from cnnc.table import Column, Table, plural, seconds_text
from cnnc.tunefile import Entry
from cnnc.tuning.ranks import rank_correlation
from cnnc.tuning.search import GAIN, Found
from cnnc.tuning.subjects import Subject
from cnnc.tuning.whole import Whole

COARSE = f"{WINOGRAD} points=8 "
"""How choices begin that round more (docs/numerics.md)."""


@dataclass(frozen=True, slots=True)
class TunedLayer:
    """One line: the layers with one key. `points` are (estimate, seconds) measured in this run."""

    names: tuple[str, ...]
    op: str
    default: str
    best: str
    default_seconds: float
    best_seconds: float
    tried: int
    rank: float | None
    points: tuple[tuple[float, float], ...] = ()

    @staticmethod
    def of(subject: Subject, entry: Entry, found: Found | None) -> "TunedLayer":
        """A line about an entry, which was found now or in a run before."""
        points = zip(found.estimates, found.seconds, strict=True) if found else ()
        return TunedLayer(
            *(subject.names, subject.op, str(subject.default), str(entry.choice)),
            *(entry.default_us * 1e-6, entry.best_us * 1e-6, entry.tried, entry.rank),
            tuple(points),
        )

    @property
    def is_coarser(self) -> bool:
        """Whether the best rounds more than the default."""
        return self.best.startswith(COARSE) and not self.default.startswith(COARSE)

    @property
    def gain(self) -> float:
        """How much longer the default takes, as a share of the best; 0 if nothing else is best."""
        same = self.best == self.default or not self.best_seconds
        return 0.0 if same else self.default_seconds / self.best_seconds - 1


@dataclass(frozen=True, slots=True)
class TuneReport:
    """All lines. `unreached` layers had no time; `whole` is timed where a layer gains."""

    net: str
    path: Path
    threads: int
    layers: tuple[TunedLayer, ...]
    unreached: int
    whole: Whole | None = field(default=None)

    @property
    def rank(self) -> float | None:
        """The mean rank correlation of estimates and times within the layers."""
        ranks = [layer.rank for layer in self.layers if layer.rank is not None]
        return statistics.fmean(ranks) if ranks else None

    @property
    def rank_of_all(self) -> float | None:
        """The rank correlation over all candidates of all layers measured in this run."""
        points = [point for layer in self.layers for point in layer.points]
        return rank_correlation([each[0] for each in points], [each[1] for each in points])

    def format(self) -> str:
        """The table and what it comes to."""
        return f"{self._table()}\n\n{self._summary()}" if self.layers else self._summary()

    def __str__(self) -> str:
        return self.format()

    def _repr_html_(self) -> str:
        return (table_html(self._table()) if self.layers else "") + text_html(self._summary())

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        printer.text(self.format())

    def _table(self) -> Table:
        columns = [Column("layer"), Column("default"), Column("time", True)]
        columns += [Column("best"), *(Column(t, True) for t in ("time", "gain", "tried", "rank"))]
        rows = []
        for layer in self.layers:
            more = f" and {len(layer.names) - 1} more" if len(layer.names) > 1 else ""
            gains = bool(layer.gain)
            rows.append(
                [
                    *(layer.names[0] + more, layer.default, seconds_text(layer.default_seconds)),
                    layer.best if gains else "",
                    seconds_text(layer.best_seconds) if gains else "",
                    f"{layer.gain:.0%}" if gains else "",
                    *(str(layer.tried), _rank_text(layer.rank)),
                ]
            )
        return Table(columns, rows)

    def _summary(self) -> str:
        gaining = [layer for layer in self.layers if layer.gain]
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        lines = []
        if not self.layers and not self.unreached:
            lines.append(f"{self.net} has no layer with several choices: no tuning is needed")
        elif not gaining:
            what = "no layer" if not self.unreached else "no layer that was measured"
            end = "" if self.unreached else ": no tuning is needed"
            lines.append(f"{what} gains {GAIN:.0%} or more on {threads}{end}")
        else:
            count = f"{len(gaining)} of {plural(len(self.layers), 'distinct layer')}"
            lines.append(f"{count} gain {GAIN:.0%} or more on {threads}")
        if coarse := [layer for layer in gaining if layer.is_coarser]:
            lines.append(
                f"{len(coarse)} of them with tiles of 8 points, whose errors are four to five "
                "times those of 6: see `cnnc diff --tuning`"
            )
        if self.whole:
            before, after = self.whole.default, self.whole.tuned
            lines.append(
                f"the whole net takes {seconds_text(after.seconds)} ± {after.spread:.0%}, "
                f"and {seconds_text(before.seconds)} ± {before.spread:.0%} without"
            )
        if self.rank is not None:
            lines.append(
                "rank correlation of estimates and times: "
                f"{self.rank:.2f} within a layer on average"
            )
            if self.rank_of_all is not None:
                lines[-1] += f", {self.rank_of_all:.2f} over all candidates of this run"
        if self.unreached:
            lines.append(f"{plural(self.unreached, 'layer')} had no time: run it again to go on")
        if self.layers:
            use = f": use it with --tuning {self.path}" if gaining else ""
            lines.append(f"written to {self.path}{use}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Json]:
        """The report as plain data; seconds, and gains as shares."""
        whole: Json = None
        if self.whole:
            before, after = self.whole.default, self.whole.tuned
            whole = {"default_seconds": before.seconds, "tuned_seconds": after.seconds}
        return {
            "net": self.net,
            "path": str(self.path),
            "threads": self.threads,
            "layers": [
                {
                    "names": list(layer.names),
                    "op": layer.op,
                    "default": layer.default,
                    "default_seconds": layer.default_seconds,
                    "best": layer.best,
                    "best_seconds": layer.best_seconds,
                    "gain": layer.gain,
                    "tried": layer.tried,
                    "rank": layer.rank,
                    "measured_now": bool(layer.points),
                }
                for layer in self.layers
            ],
            "gaining": sum(bool(layer.gain) for layer in self.layers),
            "unreached": self.unreached,
            "rank": self.rank,
            "rank_of_all": self.rank_of_all,
            "whole": whole,
        }


def _rank_text(rank: float | None) -> str:
    return "" if rank is None else f"{rank:.2f}"
