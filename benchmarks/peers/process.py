"""A contender's process as its parent sees it: asked, stopped between turns, ended."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from peers.task import Task

HOME = Path(__file__).resolve().parents[1]
"""The folder that holds this package."""


class FailedError(Exception):
    """A contender did not do what it was asked; the text says why."""


class Process(Protocol):
    """What the rounds need of a contender."""

    def ask(self, request: str, timeout: float) -> Mapping[str, Any]:
        """The answer to a request; FailedError if there is none, or it tells of a failure."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Worker:
    """A process of `peers.worker`. It is stopped by a signal whenever nothing is asked of it.

    So no thread of an idle contender can spin, whatever its runtime does while it waits, and
    none needs settings against that, which would slow down its own turns. Another `command` answers
    the same requests.
    """

    def __init__(
        self, name: str, task: Task, cores: Sequence[int], command: Sequence[str] = ()
    ) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._buffer = b""
        given = (name, task.dumps(), ",".join(map(str, cores)))
        self._process = subprocess.Popen(
            command or (sys.executable, "-m", "peers.worker", *given),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(task),
        )

    def ask(self, request: str, timeout: float) -> Mapping[str, Any]:
        """See Process."""
        process = self._process
        assert process.stdin is not None
        try:
            process.send_signal(signal.SIGCONT)
            process.stdin.write(request.encode() + b"\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._line(timeout))
        except BrokenPipeError:
            raise FailedError(self._end()) from None
        process.send_signal(signal.SIGSTOP)
        if "failed" in answer:
            raise FailedError(answer["failed"])
        return answer

    def close(self) -> None:
        """See Process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None and not stream.closed:
                with suppress(BrokenPipeError):  # something was still to be written
                    stream.close()

    def _line(self, timeout: float) -> bytes:
        """The next line of answers."""
        assert self._process.stdout is not None
        end, pipe = monotonic() + timeout, self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, end - monotonic())):
                    raise FailedError(f"no answer within {timeout:g} s")
                part = os.read(pipe, 1 << 16)
                if not part:
                    raise FailedError(self._end())
                self._buffer += part
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _end(self) -> str:
        """How the process ended, and the last line it wrote."""
        code = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return ": ".join([how, *(line[:200] for line in last)])


def environment(task: Task) -> dict[str, str]:
    """No code from earlier runs, and as many threads as there are to be, whatever the library."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    path = [str(HOME), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **dict.fromkeys(threads, str(task.threads)),
        "CNNC_CACHE": "off",
        "PYTHONPATH": os.pathsep.join(path),
        "TORCHINDUCTOR_CACHE_DIR": str(Path(task.folder, "inductor")),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }
