"""Threads that run a net together."""

import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from functools import cache, partial
from types import TracebackType

from cnnc.backends.native.host import host_target
from cnnc.backends.native.runtime import LINE, Job, Runtime, runtime
from cnnc.base.errors import InternalError, fail

_CLOSED = "a run on a closed pool"


class Pool:
    """So many threads, the calling one among them; the others start at the first run.

    A net is `void net(ptr weights, ptr arena, ptr inputs, ptr outputs, i64 thread, i64 threads,
    ptr barrier)`, called once by each thread. Between runs the others wait in native code: awake
    for a moment, then asleep at no cost. Several Python threads may call `run`: with one thread
    they run side by side, with more one after the other. A forked child gets workers of its own,
    and a pickled pool becomes the shared one of the process that reads it.
    """

    def __init__(self, threads: int) -> None:
        if threads < 1:
            raise InternalError(f"a pool of {threads} threads")
        self.threads = threads
        self._crews: dict[int, _Crew] = {}
        self._closed = False

    def run(self, function: int, weights: int, arena: int, inputs: int, outputs: int) -> None:
        """Call the net at this address on all threads; return when all have finished.

        The other arguments are addresses, handed on to the net as they are. The interpreter lock
        is released meanwhile, and every thread computes in the standard floating-point mode.
        """
        self.bind(function, weights, arena, inputs, outputs)()

    def bind(
        self,
        function: int,
        weights: int,
        arena: int,
        inputs: int,
        outputs: int,
        *,
        is_short: bool = False,
        alive: object = None,
    ) -> Callable[[], None]:
        """What `run` would do with these addresses, to be done many times over.

        A net that `is_short` is not worth the time that waking takes: where workers sleep, the
        calling thread computes it alone. Now and then it wakes them even so, in the first, second,
        fourth, eighth, … of such runs in a row, as more of them may follow in quick succession.
        Where they are awake, it is computed together or alone, whichever took less time. What is
        `alive`, such as the owner of that memory, is kept as long as the result.
        """
        job = Job(function, weights, arena, inputs, outputs, self.threads, is_short)
        job.alive = alive
        if self.threads > 1:
            return partial(self._run_together, job)
        if self._closed:
            raise InternalError(_CLOSED)
        return partial(runtime().run_alone, ctypes.byref(job))

    def _run_together(self, job: Job) -> None:
        process = _process()
        crew = self._crews.get(process) or self._hire(process)
        crew.run(job)

    def close(self) -> None:
        """End the workers, after the runs under way; no run may follow."""
        self._closed = True
        crew = self._crews.pop(_process(), None)
        if crew:
            crew.dismiss()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[int], "Pool"], tuple[int]]:
        return shared_pool, (self.threads,)

    def _hire(self, process: int) -> "_Crew":
        """This process's crew: a parent's locks and threads mean nothing in its child."""
        if self._closed:
            raise InternalError(_CLOSED)
        mine = _Crew(self.threads, process)
        crew = self._crews.setdefault(process, mine)
        if crew is mine:
            weakref.finalize(self, mine.dismiss)
        return crew


class _Crew:
    """The workers of a pool in one process, and the memory they share."""

    def __init__(self, threads: int, process: int) -> None:
        self._threads = threads
        self._process = process
        self._runtime = runtime()
        self._memory = ctypes.create_string_buffer(self._runtime.pool_bytes + (threads + 1) * LINE)
        self._address = -(-ctypes.addressof(self._memory) // LINE) * LINE
        self._prepare()
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []
        self._dismissed = False

    def run(self, job: Job) -> None:
        """See `Pool.run`."""
        with self._lock:
            if not self._workers:
                self._start()
            self._runtime.run(self._address, ctypes.byref(job))

    def dismiss(self) -> None:
        """End the workers after the run under way; a second time, or after a fork, do nothing."""
        if _process() != self._process:
            return
        with self._lock:
            self._end()
            self._dismissed = True

    def _start(self) -> None:
        if self._dismissed:
            raise InternalError(_CLOSED)
        try:
            for thread in range(1, self._threads):
                arguments = (self._runtime, self._memory, self._address, thread)
                name = f"cnnc-{thread}"
                worker = threading.Thread(target=_work, args=arguments, name=name, daemon=True)
                # Known before it runs: an interrupt on the way must not leave it behind.
                self._workers.append(worker)
                worker.start()
        except BaseException as error:
            self._end()
            if not isinstance(error, RuntimeError):
                raise
            raise fail(
                "E0803",
                f"the system refuses to start {self._threads} threads: {error}",
                help="ask for fewer threads",
            ) from error

    def _prepare(self) -> None:
        ctypes.memset(self._memory, 0, len(self._memory))
        spins = self._runtime.spins if self._threads <= host_target().cores else 0
        self._runtime.prepare(self._address, spins)

    def _end(self) -> None:
        if self._workers:
            self._runtime.stop(self._address)
        for worker in self._workers:
            if worker.ident is not None:  # one that never started cannot be joined
                worker.join()
        self._workers.clear()
        self._prepare()  # those who may start later count from zero


def _work(runtime: Runtime, memory: object, address: int, thread: int) -> None:
    """A worker's life; it keeps the memory alive that its native part looks at."""
    runtime.worker(address, thread)


@cache
def _process() -> int:
    """This process's id; asking the system each time would cost as much as the call itself."""
    return os.getpid()


os.register_at_fork(after_in_child=_process.cache_clear)


def shared_pool(threads: int) -> Pool:
    """The process's pool of so many threads; everybody who asks gets the same one."""
    with _LOCK:
        return _pool(threads)


@cache
def _pool(threads: int) -> Pool:
    return Pool(threads)


_LOCK = threading.Lock()
