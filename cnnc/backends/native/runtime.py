"""The runtime generated code needs: a barrier and a pool of threads, as LLVM IR."""

import ctypes
from collections.abc import Callable
from threading import Lock
from time import perf_counter
from typing import ClassVar

from llvmlite import binding as llvm

from cnnc.backends.native.host import host_target
from cnnc.backends.native.keys import code_key
from cnnc.backends.native.link import link
from cnnc.backends.native.signature import BARRIER, TAKE
from cnnc.backends.native.targets import target_machine
from cnnc.base.errors import fail
from cnnc.base.record import record
from cnnc.base.resources import read_resource
from cnnc.base.store import Store
from cnnc.base.target import Target
from cnnc.base.templates import fill

LINE = 128
"""Bytes between words of different threads: two cache lines, as processors fetch them in pairs."""

SPIN_SECONDS = 100e-6
"""How long a thread looks before it sleeps: some twice what waking one up on another core takes."""
LONGEST_TURN = 60e-9
"""Seconds of one turn of spinning at most: 4 to 60 ns, depending on the model."""

_FUTEX = {"x86_64": 202, "aarch64": 98}
_PARTS = ("signal", "wait", "barrier", "take", "pool", "run", "worker")


@record
class RuntimeView:
    """What the runtime's templates may see: bytes of a line, number of the system call."""

    line: int
    futex: int


def runtime_module_text(target: Target) -> str:
    """LLVM IR of the barrier and the pool, needing only `syscall` or `usleep`.

    Generated code calls `void cnnc_barrier(ptr barrier, i64 threads)`. A barrier's memory is zeroed
    at first; then threads sleep at once, unless the third word says how many turns to spin before.
    Behind its two lines lies one for each thread, for `cnnc_take`, which hands out iterations.
    """
    names, view = _parts(target)
    layout = target_machine(target, jit=False).target_data
    head = f'target triple = "{target.triple}"\ntarget datalayout = "{layout}"\n'
    return "\n".join([head, *(fill(f"native/{name}.ll", view) for name in names)])


def _parts(target: Target) -> tuple[tuple[str, ...], RuntimeView]:
    """The names of the templates, and what they see."""
    architecture, system = _platform(target.triple)
    sleep = "sleep_futex" if system == "linux" else "sleep_poll"
    names = ("memory", f"arch_{architecture}", sleep, *_PARTS)
    return names, RuntimeView(LINE, _FUTEX[architecture])


def _template(name: str) -> str:
    return read_resource("templates", f"native/{name}.ll.j2")


def _platform(triple: str) -> tuple[str, str]:
    architecture, _, rest = triple.partition("-")
    architecture = {"arm64": "aarch64"}.get(architecture, architecture)
    if architecture not in _FUTEX or "windows" in rest:
        raise fail("E0801", f"the native backend has no threads for `{triple}`")
    return architecture, "linux" if "linux" in rest else "other"


class Job(ctypes.Structure):
    """A net at an address, its four arguments, threads, and whether it is short.

    `%prepared` in LLVM IR, which keeps the last four words. What is `alive` lives as long as it.
    """

    alive: object

    _fields_: ClassVar = [
        *[(name, ctypes.c_void_p) for name in ("net", "weights", "arena", "inputs", "outputs")],
        ("threads", ctypes.c_int64),
        ("is_short", ctypes.c_int64),
        ("kept", ctypes.c_int64 * 4),
    ]


class Runtime:
    """The runtime's machine code; calling it releases the interpreter lock."""

    def __init__(self, engine: llvm.ExecutionEngine) -> None:
        pointer, word, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32

        def address(name: str) -> int:
            return int(engine.get_function_address(name))

        self.pool_bytes: int = ctypes.CFUNCTYPE(word)(address("cnnc_pool_bytes"))()
        assert self.pool_bytes % LINE == 0, "parts of threads lie on lines behind the pool"
        self.prepare = ctypes.CFUNCTYPE(None, pointer, number)(address("cnnc_pool_prepare"))
        self.stop = ctypes.CFUNCTYPE(None, pointer)(address("cnnc_pool_stop"))
        self.worker = ctypes.CFUNCTYPE(None, pointer, word)(address("cnnc_worker"))
        self.run = ctypes.CFUNCTYPE(None, pointer, pointer)(address("cnnc_run"))
        # Takes `byref(job)`; ctypes passes what is not declared on without looking twice.
        self.run_alone = ctypes.CFUNCTYPE(None)(address("cnnc_run_alone"))
        # This one keeps the interpreter lock: it would not get it back at once from other threads.
        self.spins = turns_of(ctypes.PYFUNCTYPE(None, word)(address("cnnc_spin")))
        self.addresses = {name: address(name) for name in (BARRIER, TAKE)}
        # The code stays for as long as the process: a thread may be in it at the very end.
        engine.detach()


def turns_of(spin: Callable[[int], None], clock: Callable[[], float] = perf_counter) -> int:
    """How many turns of spinning take SPIN_SECONDS.

    However late the clock is read, as the system may have had something else to do: threads that
    spin too short sleep at every barrier.
    """
    probe, times = 1000, []
    for _ in range(5):
        start = clock()
        spin(probe)
        times.append(clock() - start)
    return round(SPIN_SECONDS / min(min(times) / probe, LONGEST_TURN))


def jit_compile(text: str, target: Target) -> llvm.ExecutionEngine:
    """An engine of LLVM IR that is written by hand: inlined where it says so, else as it is."""
    return link([_object_code(text, target)], target)


def _object_code(text: str, target: Target) -> bytes:
    machine = target_machine(target, jit=True)
    module = llvm.parse_assembly(text, llvm.create_context())
    module.triple, module.data_layout = target.triple, str(machine.target_data)
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(0))
    builder.getModulePassManager().run(module, builder)
    code: bytes = machine.emit_object(module)
    return code


def runtime(store: Store | None = None) -> Runtime:
    """This process's runtime, made at the first call, of code from the store where it has it.

    From then on every engine in the process finds `cnnc_barrier` by its name: MCJIT looks for what
    a module only declares among the symbols LLVM was told of. An engine that links the runtime's
    own object works as well: all copies agree on what a barrier's memory holds.
    """
    with _LOCK:
        if not _MADE:
            made = Runtime(link([_runtime_code(store)], host_target()))
            for name, address in made.addresses.items():
                llvm.add_symbol(name, address)
            _MADE.append(made)
        return _MADE[0]


def _runtime_code(store: Store | None) -> bytes:
    target = host_target()
    names, view = _parts(target)
    key = code_key("\n".join([repr(view), *map(_template, names)]), target)
    code = store.get(key) if store else None
    if code is None:
        code = _object_code(runtime_module_text(target), target)
        if store:
            store.put(key, code)
    return code


_LOCK = Lock()
_MADE: list[Runtime] = []
