"""Tuning a net: layer by layer, into a file that is whole after each of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cnnc import driver
from cnnc.base.errors import fail
from cnnc.ir.graph import Graph
from cnnc.options import Options
from cnnc.tunefile import (
    Entry,
    TuneFile,
    facts_of,
    read_tune_file,
    target_line,
    write_tune_file,
)
from cnnc.tuning.report import TunedLayer, TuneReport
from cnnc.tuning.search import Found, search
from cnnc.tuning.stopwatch import Measure, Stopwatch
from cnnc.tuning.subjects import Subject, find_subjects
from cnnc.tuning.whole import Whole, time_whole

Progress = Callable[[int, int], None]
_ANOTHER = "name a file that `cnnc tune` wrote, or a new one: this is something else"


@dataclass(frozen=True, slots=True)
class Tools:
    """What tuning measures with; each can be replaced.

    `measure` times choices for a layer, `whole` a net without and with a tune file, `clock` gives
    the seconds that the budget is counted in.
    """

    measure: Measure | None = None
    whole: Callable[[Graph, Options, Path], Whole] = time_whole
    clock: Callable[[], float] = time.monotonic


def tune(
    graph: Graph,
    options: Options,
    path: Path,
    seconds: float = 60.0,
    *,
    again: bool = False,
    progress: Progress = lambda done, total: None,
    tools: Tools | None = None,
) -> TuneReport:
    """Measure what may be chosen for the net's layers, for about so long, and write the file.

    Layers that the file has already are not measured, unless `again`; those of other nets stay in
    it. The file is written anew after every layer. UserError for a file of another target, a
    damaged one, and a target that this machine cannot run.
    """
    tools = tools or Tools()
    target = replace(driver.find_target(options.target), cores=options.threads)
    if options.backend != "native" or not driver.can_run(target):
        raise fail("E0801", "only code that runs on this machine can be measured")
    facts = facts_of(target, exact=options.exact)
    tuned = TuneFile(target_line(target), {})
    if path.exists():
        tuned = read_tune_file(path, target, _ANOTHER)
    choices = tuned.choices(target, exact=options.exact)
    subjects = find_subjects(graph, target, replace(choices, entries={}), exact=options.exact)
    known = {} if again else {each.key: each for each in _known(tuned, subjects)}
    measure = tools.measure or Stopwatch(target, options, facts)
    start = tools.clock()
    found: dict[str, Found] = {}
    waiting = [subject for subject in subjects if subject.key not in known]
    for number, subject in enumerate(waiting):
        progress(number, len(waiting))
        left = seconds - (tools.clock() - start)
        if left <= 0:
            break
        end = tools.clock() + left * _share(subject, waiting[number:])
        made = search(subject, measure, partial(_is_before, end, tools.clock))
        found[subject.key] = made
        tuned = replace(tuned, entries={**tuned.entries, subject.key: _entry(made)})
        write_tune_file(path, tuned)
    progress(1, 1)
    rows = tuple(
        TunedLayer.of(subject, tuned.entries[subject.key], found.get(subject.key))
        for subject in subjects
        if subject.key in known or subject.key in found
    )
    whole = tools.whole(graph, options, path) if any(row.gain for row in rows) else None
    return TuneReport(graph.name, path, options.threads, rows, len(waiting) - len(found), whole)


def _known(tuned: TuneFile, subjects: list[Subject]) -> list[Entry]:
    """The entries for these layers whose choices are still offered."""
    entries = ((subject, tuned.entries.get(subject.key)) for subject in subjects)
    return [entry for subject, entry in entries if entry and subject.estimate(entry.choice)]


def _is_before(end: float, clock: Callable[[], float]) -> bool:
    return clock() < end


def _share(subject: Subject, waiting: list[Subject]) -> float:
    """The part of the time left that a layer gets. Compiling takes as long for fast layers."""
    weights = [each.cycles**0.5 for each in waiting]
    return float(subject.cycles**0.5 / sum(weights))


def _entry(found: Found) -> Entry:
    return Entry(
        found.subject.key,
        found.best,
        round(found.default_seconds * 1e6, 2),
        round(found.best_seconds * 1e6, 2),
        len(found.seconds),
        None if found.rank is None else round(found.rank, 2),
        found.subject.name,
    )
