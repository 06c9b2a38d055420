"""The process of one form: the driver with a network linked to it."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peers.process import Worker
from peers.task import Task

from standalone.ends import read_ends

Command = Sequence[str]


class FormProcess(Worker):
    """Answers as contenders of `peers` do. What the driver cannot know is read from the system."""

    def __init__(self, name: str, task: Task, cores: Sequence[int], command: Command) -> None:
        super().__init__(name, task, cores, command)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self._process.pid, cores)
        self._task = task

    def ask(self, request: str, timeout: float) -> Mapping[str, Any]:
        """See Process."""
        if request == "load":
            return self._load(timeout)
        start, before = time.perf_counter(), self._waited()
        answer = super().ask(request, timeout)
        waited = (self._waited() - before) / (time.perf_counter() - start)
        return {**answer, "waited": waited, "memory": self._peak_memory()}

    def _load(self, timeout: float) -> Mapping[str, Any]:
        folder = Path(self._task.folder)
        results = folder / f"results_{self.name}"
        results.mkdir(exist_ok=True)
        answer = super().ask(f"load {folder / 'inputs'} {results}", timeout)
        outputs = {end.name: end.read(results) for end in read_ends(folder / "outputs.ends")}
        np.savez(self._task.outputs(self.name), **outputs)
        return {"version": "", "memory": self._peak_memory(), "notes": (), **answer}

    def _waited(self) -> float:
        """Seconds it was ready and got no core, as others had it; 0 where nobody counts."""
        counts = Path(f"/proc/{self._process.pid}/schedstat")
        return int(counts.read_text(encoding="utf-8").split()[1]) * 1e-9 if counts.exists() else 0.0

    def _peak_memory(self) -> int:
        """Bytes it held at most so far; 0 where nobody counts."""
        status = Path(f"/proc/{self._process.pid}/status")
        lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
        peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
        return peaks[0] if peaks else 0
