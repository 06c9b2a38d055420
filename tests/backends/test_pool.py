"""The pool keeps its threads together, lets others work, and ends in good order."""

import ctypes
import gc
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from llvmlite import binding as llvm

from cnnc.backends.native import pool as pool_module
from cnnc.backends.native import runtime as runtime_module
from cnnc.backends.native.host import host_target
from cnnc.backends.native.pool import Pool, shared_pool
from cnnc.backends.native.runtime import (
    LINE,
    LONGEST_TURN,
    SPIN_SECONDS,
    Runtime,
    jit_compile,
    runtime,
    runtime_module_text,
)
from cnnc.backends.native.targets import named_target, target_machine
from cnnc.base.errors import InternalError, UserError
from tests.backends.nets import (
    MEETING,
    PHASES,
    SIGNATURE,
    Net,
    compile_net,
    phases_net,
    without_barriers,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_barriers_keep_threads_together(threads: int) -> None:
    """More threads than cores, too; slots and wrong reads are counted by the net itself."""
    net = phases_net(300)
    with Pool(threads) as pool:
        for _ in range(3):
            net.run(pool)
    assert net.outputs[0] == 0
    assert [net.arena[slot * LINE // 8] for slot in range(threads)] == [300] * threads
    assert net.arena[threads * LINE // 8] == 0


def test_missing_barriers_are_noticed() -> None:
    """The net above can tell: without barriers it counts wrong reads."""
    net = phases_net(300, without_barriers(PHASES))
    with Pool(4) as pool:
        for _ in range(50):
            net.run(pool)
            if net.outputs[0]:
                return
    pytest.fail("threads that do not wait were never caught")


def test_more_threads_than_cores_do_not_collapse() -> None:
    """A thousand barriers of eight threads; were each to cost a time slice, it would take 10 s."""
    net = phases_net(500)
    with Pool(8) as pool:
        start = time.perf_counter()
        net.run(pool)
        assert time.perf_counter() - start < 8
    assert net.outputs[0] == 0


def test_waiting_workers_sleep() -> None:
    net = phases_net(1)
    with Pool(4) as pool:
        net.run(pool)
        time.sleep(0.05)
        before = time.process_time()
        time.sleep(0.4)
        assert time.process_time() - before < 0.1


def test_python_threads_take_turns() -> None:
    """They share the net's memory here, so runs that overlapped would disturb each other."""
    net = phases_net(50)
    with Pool(2) as pool:

        def call_often() -> None:
            for _ in range(40):
                net.run(pool)

        callers = [threading.Thread(target=call_often) for _ in range(3)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert net.outputs[0] == 0


def test_callers_add_no_workers() -> None:
    """However many threads call at once, and whatever they call, the workers stay the same few."""
    nets = [phases_net(30) for _ in range(4)]
    before = set(threading.enumerate())
    seen: set[threading.Thread] = set()
    with Pool(3) as pool:

        def call_often(net: Net) -> None:
            for _ in range(20):
                net.run(pool)
                seen.update(threading.enumerate())

        callers = [threading.Thread(target=call_often, args=(net,)) for net in [*nets, *nets]]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert len(seen - before - set(callers)) == 2
    assert [net.outputs[0] for net in nets] == [0] * 4


def test_one_thread_runs_side_by_side() -> None:
    """Two calls that wait for each other both end."""
    net = compile_net(MEETING)
    net.weights[0] = 2
    with Pool(1) as pool:
        other = threading.Thread(target=net.run, args=(pool,))
        other.start()
        net.run(pool)
        other.join()
    assert net.outputs[0] == 0
    assert net.inputs[0] == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_interpreter_runs_on(threads: int) -> None:
    """A net that waits for what only another Python thread can do."""
    net = compile_net(MEETING)
    net.weights[0] = 2

    def help_out() -> None:
        while not net.inputs[0]:
            time.sleep(0.001)
        net.inputs[0] = 2

    helper = threading.Thread(target=help_out)
    helper.start()
    with Pool(threads) as pool:
        net.run(pool)
    helper.join()
    assert net.outputs[0] == 0


def test_closed_pool() -> None:
    net = phases_net(2)
    pool = Pool(3)
    net.run(pool)
    pool.close()
    pool.close()
    with pytest.raises(InternalError, match="closed pool"):
        net.run(pool)


@pytest.mark.parametrize("threads", [1, 3])
def test_bound_runs(threads: int) -> None:
    """What was bound once runs as often as one likes, but not on a closed pool."""
    net = phases_net(5)
    addresses = [each.address for each in (net.weights, net.arena, net.inputs, net.outputs)]
    pool = Pool(threads)
    run = pool.bind(net.address, *addresses)
    for phases in (5, 7, 2):
        net.weights[0] = phases
        run()
        assert [net.arena[slot * LINE // 8] for slot in range(threads)] == [phases] * threads
    pool.close()
    assert net.outputs[0] == 0
    with pytest.raises(InternalError, match="closed pool"):
        pool.bind(net.address, *addresses)()


def test_forgotten_pool_ends_its_workers() -> None:
    net = phases_net(2)
    before = threading.active_count()
    pool = Pool(4)
    net.run(pool)
    assert threading.active_count() == before + 3
    del pool
    gc.collect()
    assert threading.active_count() == before


def test_shared_and_pickled() -> None:
    assert shared_pool(2) is shared_pool(2)
    assert shared_pool(2) is not shared_pool(3)
    assert pickle.loads(pickle.dumps(shared_pool(2))) is shared_pool(2)
    with pytest.raises(InternalError):
        shared_pool(0)


@pytest.mark.parametrize(
    ("cause", "raised"),
    [(RuntimeError("can't start new thread"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_no_thread_to_be_had(
    monkeypatch: pytest.MonkeyPatch, cause: BaseException, raised: type[BaseException]
) -> None:
    """The second worker cannot start: a user's error, and the pool works again later."""
    start, started = threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if started:
            raise cause
        started.append(thread)
        start(thread)

    net = phases_net(5)
    with Pool(3) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(raised) as caught:
                net.run(pool)
        if raised is UserError:
            assert "refuses to start 3 threads" in str(caught.value)
        assert not started[0].is_alive()
        net.run(pool)
    assert net.outputs[0] == 0
    assert net.arena[2 * LINE // 8] == 5


def test_every_thread_keeps_tiny_numbers() -> None:
    """Also when the caller's processor flushes them to zero, which it does again afterwards."""
    if not host_target().triple.startswith("x86_64"):
        pytest.skip("sets the floating-point mode the x86-64 way")
    text = f"""
    declare void @llvm.x86.sse.ldmxcsr(ptr)
    declare void @llvm.x86.sse.stmxcsr(ptr)
    define void @set(ptr %mode) {{
      call void @llvm.x86.sse.ldmxcsr(ptr %mode)
      ret void
    }}
    define void @get(ptr %mode) {{
      call void @llvm.x86.sse.stmxcsr(ptr %mode)
      ret void
    }}
    define void @net({SIGNATURE}) {{
      %tiny = load volatile float, ptr %w
      %half = fmul float %tiny, 0.5
      %place = getelementptr i64, ptr %out, i64 %thread
      store volatile float %half, ptr %place
      ret void
    }}"""
    net = compile_net(text)
    net.weights[0] = 0x00800000  # the smallest normal number
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    put, get = (call(net.engine.get_function_address(name)) for name in ("set", "get"))
    flushing, before, after = (ctypes.c_uint32(mode) for mode in (0x9FC0, 0, 0))
    with Pool(3) as pool:
        get(ctypes.addressof(before))
        put(ctypes.addressof(flushing))
        try:
            net.run(pool)
            get(ctypes.addressof(after))
        finally:
            put(ctypes.addressof(before))
    assert [net.outputs[thread] for thread in range(3)] == [0x00400000] * 3
    assert after.value & ~0x3F == flushing.value


def test_polling_where_there_is_no_futex(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime for other systems than Linux, run here."""
    architecture = host_target().triple.split("-")[0]
    text = runtime_module_text(replace(host_target(), triple=f"{architecture}-apple-darwin"))
    assert "@usleep" in text
    assert "@syscall" not in text
    engine = jit_compile(text, host_target())
    barrier = engine.get_function_address("cnnc_barrier")
    polling = Runtime(engine)
    monkeypatch.setattr(pool_module, "runtime", lambda: polling)
    by_address = PHASES.replace("declare void @cnnc_barrier(ptr, i64)", "").replace(
        "@cnnc_barrier", f"inttoptr (i64 {barrier} to ptr)"
    )
    net = phases_net(20, by_address)
    with Pool(4) as pool:
        net.run(pool)
        time.sleep(0.02)
        net.run(pool)
    assert net.outputs[0] == 0
    assert net.arena[3 * LINE // 8] == 20


@pytest.mark.parametrize(("name", "number"), [("aarch64", "#98"), ("x86-64", "$202")])
def test_linux_sleeps_on_a_futex(name: str, number: str) -> None:
    """The system call's number is the architecture's own."""
    target = named_target(name)
    module = llvm.parse_assembly(runtime_module_text(target), llvm.create_context())
    module.triple = target.triple
    assembly = str(target_machine(target, jit=False).emit_assembly(module))
    (sleep,) = [part for part in assembly.split("\ncnnc_sleep:")[1:]]
    assert number in sleep.split("syscall")[0]


def test_no_runtime_elsewhere() -> None:
    with pytest.raises(UserError, match="no threads for"):
        runtime_module_text(replace(host_target(), triple="riscv64-unknown-linux-gnu"))
    with pytest.raises(UserError, match="no threads for"):
        runtime_module_text(replace(host_target(), triple="x86_64-pc-windows-msvc"))


def test_spinning_is_calibrated() -> None:
    assert 1_000 <= runtime().spins <= 1_000_000


def test_a_clock_that_is_read_late_does_not_shorten_the_spinning() -> None:
    """While other threads have the interpreter or the core: all would sleep at every barrier."""
    readings = (number * 5e-3 for number in count())
    late = runtime_module.turns_of(lambda turns: None, lambda: next(readings))
    assert late == round(SPIN_SECONDS / LONGEST_TURN)
    readings = (number * 20e-6 for number in count())
    assert runtime_module.turns_of(lambda turns: None, lambda: next(readings)) == 5000


PRELUDE = """
import os, sys, threading, time
from cnnc.backends.native.pool import Pool, shared_pool
from tests.backends.nets import MEETING, compile_net, phases_net
net = phases_net(20)
def works(pool):
    net.run(pool)
    return net.outputs[0] == 0
"""


def run_script(text: str) -> None:
    """Run it in an interpreter of its own, which must end well, soon and silently."""
    command = [sys.executable, "-c", PRELUDE + text]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("pause", [0, 0.05], ids=["awake", "asleep"])
def test_exit_with_workers(pause: float) -> None:
    """The interpreter ends while workers wait, whether still awake or asleep."""
    run_script(f"""
assert works(shared_pool(3)) and works(Pool(2))
kept = Pool(4)
assert works(kept)
time.sleep({pause})
""")


def test_exit_under_load() -> None:
    """The interpreter ends while a daemon thread calls the net over and over."""
    run_script("""
from cnnc.base.errors import InternalError
def call():
    try:
        while True:
            net.run(shared_pool(3))
    except InternalError:
        pass  # the pool closed, as it should
threading.Thread(target=call, daemon=True).start()
time.sleep(0.2)
""")


def test_fork() -> None:
    """A child has workers of its own, even if the parent is in the middle of a run."""
    if sys.platform == "win32":
        pytest.skip("no fork here")
    run_script("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of any fork with threads
pool = shared_pool(3)
assert works(pool)
meeting = compile_net(MEETING)
meeting.weights[0] = 2
busy = threading.Thread(target=meeting.run, args=(pool,))
busy.start()
while not meeting.inputs[0]:
    time.sleep(0.001)
child = os.fork()
if not child:
    good = works(pool) and works(shared_pool(2))
    sys.exit(0 if good else 3)
assert os.waitpid(child, 0)[1] == 0
meeting.inputs[0] = 2
busy.join()
assert works(pool) and not meeting.outputs[0]
""")
