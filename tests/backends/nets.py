"""Small nets in LLVM IR that show whether threads keep together."""

import ctypes
import re
from dataclasses import dataclass

from llvmlite import binding as llvm

from cnnc.backends.native.host import host_target
from cnnc.backends.native.pool import Pool
from cnnc.backends.native.runtime import LINE, Runtime, jit_compile, runtime, runtime_module_text

SIGNATURE = "ptr %w, ptr %arena, ptr %in, ptr %out, i64 %thread, i64 %threads, ptr %barrier"

# Every thread writes the phase's number into its slot, then reads everybody's, phase after phase.
# %w holds the number of phases; %out counts values that were not the phase's.
PHASES = f"""
declare void @cnnc_barrier(ptr, i64)

define void @net({SIGNATURE}) {{
  %phases = load i64, ptr %w
  %slot.offset = mul i64 %thread, {LINE}
  %slot = getelementptr i8, ptr %arena, i64 %slot.offset
  br label %phase
phase:
  %number = phi i64 [ 1, %0 ], [ %next, %read ]
  store i64 %number, ptr %slot
  call void @cnnc_barrier(ptr %barrier, i64 %threads)
  br label %look
look:
  %other = phi i64 [ 0, %phase ], [ %further, %continue ]
  %offset = mul i64 %other, {LINE}
  %place = getelementptr i8, ptr %arena, i64 %offset
  %seen = load i64, ptr %place
  %wrong = icmp ne i64 %seen, %number
  br i1 %wrong, label %count, label %continue
count:
  %before = atomicrmw add ptr %out, i64 1 seq_cst
  br label %continue
continue:
  %further = add i64 %other, 1
  %others = icmp ult i64 %further, %threads
  br i1 %others, label %look, label %read
read:
  call void @cnnc_barrier(ptr %barrier, i64 %threads)
  %next = add i64 %number, 1
  %more = icmp ule i64 %next, %phases
  br i1 %more, label %phase, label %done
done:
  ret void
}}
"""

# Thread 0 writes how many threads compute the net, and adds the time it takes to the clock at %in:
# %w's first word with several threads, its second word alone.
COUNTING = f"""
define void @net({SIGNATURE}) {{
  %first = icmp eq i64 %thread, 0
  br i1 %first, label %write, label %done
write:
  store volatile i64 %threads, ptr %out
  %alone = icmp eq i64 %threads, 1
  %number = zext i1 %alone to i64
  %time.at = getelementptr i64, ptr %w, i64 %number
  %time = load volatile i64, ptr %time.at
  %before = load volatile i64, ptr %in
  %now = add i64 %before, %time
  store volatile i64 %now, ptr %in
  br label %done
done:
  ret void
}}
"""

# Adds 1 to the word at %in, then waits until it is at least the number at %w; gives up after some
# ten seconds and then counts in %out. Only thread 0 does anything.
MEETING = f"""
define void @net({SIGNATURE}) {{
  %first = icmp eq i64 %thread, 0
  br i1 %first, label %enter, label %done
enter:
  %before = atomicrmw add ptr %in, i64 1 seq_cst
  %wanted = load i64, ptr %w
  br label %look
look:
  %turn = phi i64 [ 0, %enter ], [ %next, %wait ]
  %here = load atomic i64, ptr %in acquire, align 8
  %met = icmp uge i64 %here, %wanted
  br i1 %met, label %done, label %wait
wait:
  %next = add i64 %turn, 1
  %patient = icmp ult i64 %next, 10000000000
  br i1 %patient, label %look, label %gave.up
gave.up:
  %ignored = atomicrmw add ptr %out, i64 1 seq_cst
  br label %done
done:
  ret void
}}
"""


class Words:
    """64-bit words in memory, the first at a multiple of LINE bytes."""

    def __init__(self, number: int) -> None:
        self._memory = ctypes.create_string_buffer(8 * number + LINE)
        start = -ctypes.addressof(self._memory) % LINE
        self.words = (ctypes.c_int64 * number).from_buffer(self._memory, start)
        self.address = ctypes.addressof(self.words)

    def __getitem__(self, index: int) -> int:
        return int(self.words[index])

    def __setitem__(self, index: int, value: int) -> None:
        self.words[index] = value


@dataclass
class Net:
    """A compiled net with memory for its four arguments."""

    engine: llvm.ExecutionEngine
    address: int
    weights: Words
    arena: Words
    inputs: Words
    outputs: Words

    def run(self, pool: Pool) -> None:
        """Run it once."""
        regions = (self.weights, self.arena, self.inputs, self.outputs)
        pool.run(self.address, *(region.address for region in regions))


def compile_net(text: str) -> Net:
    """The net of this text; `cnnc_barrier` is the runtime's."""
    runtime()
    engine = jit_compile(text, host_target())
    address = engine.get_function_address("net")
    return Net(engine, address, Words(64), Words(64 * LINE // 8), Words(64), Words(64))


def runtime_with_clock(clock: Words) -> Runtime:
    """A runtime that reads the time from there; its threads look for long before they sleep."""
    target = host_target()
    body = f"""{{
  %time = load volatile i64, ptr inttoptr (i64 {clock.address} to ptr)
  ret i64 %time
}}"""
    text, changed = re.subn(
        r"(define [^\n]*@cnnc_now\(\)[^{]*)\{.*?\n\}",
        rf"\1{body}",
        runtime_module_text(target),
        flags=re.DOTALL,
    )
    assert changed == 1
    made = Runtime(jit_compile(text, target))
    made.spins = 2_000_000
    return made


def phases_net(phases: int, text: str = PHASES) -> Net:
    """PHASES with so many phases."""
    net = compile_net(text)
    net.weights[0] = phases
    return net


def without_barriers(text: str) -> str:
    """The same net with threads that do not wait for each other."""
    call = "call void @cnnc_barrier(ptr %barrier, i64 %threads)"
    assert call in text
    return text.replace(call, "")
