"""What was found: figures of contenders, and rows of them."""

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CNNC = "cnnc"
BEFOREHAND = ("import", "convert")
"""Steps that are no part of loading: importing the library, making another kind of file."""


@dataclass(slots=True)
class Figure:
    """One contender on one network. `turns` are the medians of its turns, in seconds.

    `waited` is the largest share of a turn in which it had no core, as another process had it.
    `failed` says why there are none, or why they do not count.
    """

    turns: list[float] = field(default_factory=list)
    version: str = ""
    load: Mapping[str, float] = field(default_factory=dict)
    memory: int = 0
    waited: float = 0.0
    difference: float = 0.0
    notes: Sequence[str] = ()
    failed: str | None = None

    @property
    def seconds(self) -> float | None:
        """The median of the turns; None if it failed."""
        return statistics.median(self.turns) if self.turns and self.failed is None else None

    @property
    def spread(self) -> float | None:
        """The middle half of the turns over their median; None of a single one."""
        if len(self.turns) < 2:
            return None
        low, middle, high = statistics.quantiles(self.turns, n=4, method="inclusive")
        return (high - low) / middle

    @property
    def loading(self) -> float:
        """Seconds from the file to the first result, without what is done once beforehand."""
        return sum(seconds for step, seconds in self.load.items() if step not in BEFOREHAND)


@dataclass(slots=True)
class Row:
    """All contenders on a network, for some number of samples and threads.

    `peak` is in billions of operations a second on these threads. `failed` says why there is
    nothing at all.
    """

    net: str
    batch: int
    threads: int
    macs: int = 0
    peak: float = 0.0
    figures: dict[str, Figure] = field(default_factory=dict)
    failed: str | None = None

    @property
    def best_peer(self) -> tuple[str, Figure] | None:
        """The fastest contender but cnnc."""
        known = [(name, each) for name, each in self.figures.items() if each.seconds is not None]
        peers = [pair for pair in known if pair[0] != CNNC]
        return min(peers, key=lambda pair: pair[1].seconds or 0.0) if peers else None

    @property
    def ratio(self) -> float | None:
        """The best peer's time over cnnc's: above 1 where cnnc is faster."""
        best = self.best_peer
        return None if best is None else self.ratio_to(best[0])

    def ratio_to(self, peer: str) -> float | None:
        """A peer's time over cnnc's."""
        own, other = (self.figures.get(name, Figure()).seconds for name in (CNNC, peer))
        return other / own if own and other else None

    @property
    def of_peak(self) -> float | None:
        """The share of the measured peak that cnnc's multiply-adds make up."""
        own = self.figures.get(CNNC, Figure()).seconds
        return 2e-9 * self.macs / own / self.peak if own and self.peak else None


@dataclass(slots=True)
class Results:
    """Everything one call of the benchmark found, and on what."""

    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        data = {
            "machine": self.machine,
            "settings": self.settings,
            "rows": [{**asdict(row), **_derived(row)} for row in self.rows],
        }
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)


def _derived(row: Row) -> dict[str, object]:
    return {
        "ratio": row.ratio,
        "of_peak": row.of_peak,
        "seconds": {name: each.seconds for name, each in row.figures.items()},
        "spread": {name: each.spread for name, each in row.figures.items()},
    }


def geometric_mean(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return statistics.geometric_mean(values) if values else None
