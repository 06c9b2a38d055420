"""Contenders take turns: one at a time, all others stopped, the order moving on every round."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peers.agreement import compare, read_arrays
from peers.process import FailedError, Process, Worker
from peers.results import CNNC, Figure, Row
from peers.task import Task

Start = Callable[[str, Task, Sequence[int]], Process]
Say = Callable[[str], None]

PAUSE = 0.05
"""Seconds between a turn and the next: the machine comes to rest."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How often and how long, and how long to wait for an answer."""

    rounds: int = 5
    seconds: float = 0.5
    calls: int = 5
    timeout: float = 900.0


@dataclass(frozen=True, slots=True)
class Contest:
    """The rules, who takes part, where, and how processes are started and progress is told."""

    rules: Rules
    contenders: Sequence[str]
    cores: Sequence[int]
    say: Say
    start: Start = Worker
    sleep: Callable[[float], None] = time.sleep

    def run(self, task: Task, row: Row) -> None:
        """Fill a row with the figures of all contenders."""
        cores = self.cores[-task.threads :]
        running: dict[str, Process] = {}
        try:
            row.peak = self._peak(task, cores)
            for name in self.contenders:
                self.say(f"{name} loads")
                running[name] = self.start(name, task, cores)
                row.figures[name] = self._load(running[name], name, task)
                self._drop_failed(name, row, running)
                if CNNC not in running:
                    return  # there is nothing to compare the others with
            for number in range(self.rules.rounds):
                self._round(number, row, running)
            row.peak = max(row.peak, self._peak(task, cores))
        finally:
            for process in running.values():
                process.close()

    def _load(self, process: Process, name: str, task: Task) -> Figure:
        try:
            answer = process.ask("load", self.rules.timeout)
        except FailedError as error:
            return Figure(failed=str(error))
        figure = Figure(
            version=answer["version"],
            load=answer["seconds"],
            memory=answer["memory"],
            notes=answer["notes"],
        )
        wanted, found = (read_arrays(task.outputs(each)) for each in (CNNC, name))
        figure.difference, figure.failed = compare(wanted, found)
        return figure

    def _round(self, number: int, row: Row, running: dict[str, Process]) -> None:
        names = [*running]
        first = number % max(1, len(names))
        request = f"turn {self.rules.seconds} {self.rules.calls}"
        for name in names[first:] + names[:first]:
            self.say(f"round {number + 1} of {self.rules.rounds}: {name}")
            self.sleep(PAUSE)
            figure = row.figures[name]
            try:
                answer = running[name].ask(request, self.rules.timeout)
            except FailedError as error:
                figure.failed = str(error)
                self._drop_failed(name, row, running)
            else:
                figure.turns.append(answer["median"])
                figure.waited = max(figure.waited, answer["waited"])
                figure.memory = answer["memory"]

    def _drop_failed(self, name: str, row: Row, running: dict[str, Process]) -> None:
        if (reason := row.figures[name].failed) is not None:
            self.say(f"{name} is out: {reason}")
            running.pop(name).close()

    def _peak(self, task: Task, cores: Sequence[int]) -> float:
        """The machine's peak now; 0 where it cannot be measured."""
        self.say("the machine's peak")
        process = self.start("peak", task, cores)
        try:
            return float(process.ask("peak", self.rules.timeout)["gflops"])
        except FailedError as error:
            self.say(f"no peak: {error}")
            return 0.0
        finally:
            process.close()
