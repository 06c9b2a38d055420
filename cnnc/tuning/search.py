"""The search for the fastest choice for one layer."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cnnc.base.choice import Choice
from cnnc.tuning.ranks import rank_correlation
from cnnc.tuning.stopwatch import Measure
from cnnc.tuning.subjects import Subject

GAIN = 0.03
"""What another choice must gain over the default to replace it."""
FIRST, AGAIN, DUEL = 3, 7, 25
"""Measurements of each candidate at first, of those that are left, and of the last two."""
FINALISTS = 8
FEWEST_TRIED = 4
"""Candidates that are measured whatever time is left: those with the best estimates."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured for a layer: the fastest choice that gains enough, or the default.

    `default_seconds` and `best_seconds` are of the last, longest measurement; `estimates` and
    `seconds` those of all candidates, in the same order.
    """

    subject: Subject
    best: Choice
    default_seconds: float
    best_seconds: float
    estimates: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def rank(self) -> float | None:
        """The rank correlation of estimates and times."""
        return rank_correlation(self.estimates, self.seconds)


def undisturbed(samples: Sequence[float]) -> float:
    """The lower quartile: what disturbs a measurement makes it longer, never shorter."""
    return statistics.quantiles(samples, n=4, method="inclusive")[0]


def search(
    subject: Subject,
    measure: Measure,
    has_time: Callable[[], bool],
) -> Found:
    """Measure candidates, best estimates first, as long as there is time; half of them again, …

    The last one left is held against the default in measurements of their own: no choice gains
    because of the luck that brought it there. Both the median and the lower quartile must gain.
    """
    default = subject.default
    others = [each.choice for each in subject.candidates if each.choice != default]
    times = {default: undisturbed(measure(subject, [default], FIRST)[0])}
    for number, choice in enumerate(others):
        if number >= FEWEST_TRIED and not has_time():
            break
        times[choice] = undisturbed(measure(subject, [choice], FIRST)[0])
    left = sorted((each for each in times if each != default), key=times.__getitem__)
    left = left[: min(FINALISTS, -(-len(left) // 2))]
    while len(left) > 1:
        found = [undisturbed(each) for each in measure(subject, left, AGAIN)]
        order = sorted(range(len(left)), key=found.__getitem__)
        left = [left[place] for place in order[: len(left) // 2]]
    pair = measure(subject, [default, left[0]], DUEL)
    before, after = map(undisturbed, pair)
    gains = all(
        second <= first * (1 - GAIN)
        for first, second in ((before, after), map(statistics.median, pair))
    )
    return Found(
        *(subject, left[0] if gains else default, before, after if gains else before),
        estimates=tuple(map(subject.estimate, times)),
        seconds=tuple(times.values()),
    )
