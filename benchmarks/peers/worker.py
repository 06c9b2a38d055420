"""The process of one contender: `python -m peers.worker NAME TASK CORES`.

It answers each line of its input with a line of JSON: `load`, then `turn SECONDS CALLS` as often as
asked. What libraries print goes to the error stream, so that nothing gets between the answers.
"""

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from peers.task import Loaded, Task
from peers.unsupported import UnsupportedError

Answer = dict[str, Any]
PR_SET_PDEATHSIG = 1


class Worker:
    """A contender that is loaded and timed on request."""

    def __init__(self, name: str, task: Task) -> None:
        self.name = name
        self.task = task
        self._loaded: Loaded | None = None

    def answer(self, request: str) -> Answer:
        """What a request asks for; whatever goes wrong becomes `failed`, with the reason."""
        verb, *words = request.split()
        try:
            match verb:
                case "load":
                    return self._load()
                case "peak":
                    return importlib.import_module("peers.contenders.peak").measure(self.task)
            seconds, calls = words
            return self._turn(float(seconds), int(calls))
        except ImportError as error:
            return {"failed": f"not installed: {error}"}
        except UnsupportedError as error:
            return {"failed": _shortened(str(error))}
        except Exception as error:
            return {"failed": _shortened(f"{type(error).__name__}: {error}")}

    def _load(self) -> Answer:
        start = perf_counter()
        module = importlib.import_module(f"peers.contenders.{self.name}")
        imported = perf_counter()
        loaded: Loaded = module.load(self.task)
        seconds = {"import": imported - start, **loaded.seconds}
        loaded.run()
        seconds["first run"] = perf_counter() - imported - sum(loaded.seconds.values())
        np.savez(self.task.outputs(self.name), **loaded.results())
        self._loaded = loaded
        gc.collect()
        gc.freeze()
        return {
            "version": loaded.version,
            "seconds": seconds,
            "notes": loaded.notes,
            "memory": _peak_memory(),
        }

    def _turn(self, seconds: float, calls: int) -> Answer:
        assert self._loaded is not None
        gc.disable()
        start, before = perf_counter(), _waited()
        measured = time_calls(self._loaded.run, seconds, calls)
        waited = (_waited() - before) / (perf_counter() - start)
        gc.enable()
        return {
            "median": statistics.median(measured),
            "waited": waited,
            "calls": len(measured),
            "memory": _peak_memory(),
        }


def time_calls(
    run: Callable[[], object],
    seconds: float,
    calls: int,
    clock: Callable[[], float] = perf_counter,
) -> list[float]:
    """Seconds of single calls: at least so many, for at least so long, after a warm-up.

    Slow ones are not repeated for ever: ten times the seconds are enough for any number.
    """
    start = clock()
    while True:  # a quarter of the time, and one call at least, fills the caches again
        run()
        if clock() - start >= seconds / 4:
            break
    measured: list[float] = []
    begin = now = clock()
    while now - begin < seconds or (len(measured) < calls and now - begin < 10 * seconds):
        run()
        then, now = now, clock()
        measured.append(now - then)
    return measured


def _waited() -> float:
    """Seconds this thread was ready and got no core, as others had it; 0 where nobody counts."""
    counts = Path("/proc/thread-self/schedstat")
    return int(counts.read_text(encoding="utf-8").split()[1]) * 1e-9 if counts.exists() else 0.0


def _peak_memory() -> int:
    """Bytes this process held at most so far.

    Linux passes the figure of `getrusage` on from the parent; that of /proc begins anew.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _shortened(text: str) -> str:
    """One line of a message."""
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:297]}…"


def settle(cores: list[int]) -> None:
    """Run on these cores only, leave interruptions to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.sched_setaffinity(0, cores)


def main(name: str, task: str, cores: str) -> None:
    """Answer requests until there are no more."""
    settle([int(core) for core in cores.split(",")])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker(name, Task.loads(task))
    for request in sys.stdin:
        answers.write(json.dumps(worker.answer(request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
