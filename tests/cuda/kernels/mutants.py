"""Seeded bugs, each of which the checks on the CPU must find; run as a script, as some crash.

What no run on a CPU shows is not here: memory fences, and races within a warp. Of fences, see
test_text.py.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from cnnc.backends.cuda.kernels import (
    dense,
    igemm_ffma,
    igemm_mma,
    stem,
    stem_mma,
)
from tests.cuda.kernels.cases import (
    DENSE,
    DEPTHWISE,
    PRODUCTS,
    STEMS,
    added,
    ffma,
    in_registers,
    layer,
    mma,
    pooled,
)
from tests.cuda.kernels.chains import chains
from tests.cuda.kernels.harness import Case, Make, build, case, check, load, write_sources
from tests.cuda.shim import SANITIZE

ORDERS = ("forward", "reverse", "shuffled:1")
COUNTED = "  __syncthreads();\n  __shared__ unsigned arrived;\n"
LOOP_BARRIER = "    __syncthreads();\n    if (slab + STAGES - 1 < end_slab)"


@dataclass(frozen=True)
class Mutant:
    """A bug: text of the kernel that is replaced, or bytes of shared memory that are missing."""

    name: str
    kernel: str
    before: str = ""
    after: str = ""
    shared_bytes: int = 0


MUTANTS = (
    Mutant("no barrier before a slab is read", "mma", LOOP_BARRIER, LOOP_BARRIER[21:]),
    Mutant("a slab is read before it has come", "mma", "wait<STAGES - 2>", "wait<STAGES - 1>"),
    Mutant("rows beyond the result are stored", "mma", "if (m >= POSITIONS) continue;", ""),
    Mutant(
        "filters beyond the result are stored", "mma_groups", "if (column >= FILTERS) continue;", ""
    ),
    Mutant("shared memory is a row short", "mma", shared_bytes=-128),
    Mutant(
        "weights are swizzled only where they are read",
        "mma",
        "w_tile + row * W_ROW + (piece ^ ((row / 4 * 2 + row % 2) % 8)) * 16,\n",
        "w_tile + row * W_ROW + piece * 16,\n",
    ),
    Mutant(
        "rows above and below x are read",
        "mma",
        "static_cast<unsigned>(top[i] + down) < H && ",
        "top[i] > -H && ",
    ),
    Mutant(
        "padding is not zero",
        "mma",
        "cp_async<16>(to, from, inside ? 16 : 0)",
        "cp_async<16>(to, from, 16)",
    ),
    Mutant(
        "halves of a fragment change places",
        "mma",
        "((step * 2 + lane / 16) ^ (row % 8))",
        "((step * 2 + 1 - lane / 16) ^ (row % 8))",
    ),
    Mutant(
        "a rest is left out", "mma", "a_rest, w[j / 2][j % 2 * 2]", "a, w_rest[j / 2][j % 2 * 2]"
    ),
    Mutant("a block before the last goes on", "mma_split", "arrived != 2", "arrived != 1"),
    Mutant(
        "no barrier before a block counts itself",
        "mma_split",
        COUNTED,
        COUNTED.removeprefix("  __syncthreads();\n"),
    ),
    Mutant(
        "no barrier before a block of a plane counts itself",
        "plane",
        "__syncthreads();\n  if (threadIdx.x == 0) arrived",
        "if (threadIdx.x == 0) arrived",
    ),
    Mutant(
        "no barrier before parts are counted",
        "joined",
        COUNTED,
        COUNTED.removeprefix("  __syncthreads();\n"),
    ),
    Mutant(
        "no barrier before filters are counted",
        "joined",
        "  __syncthreads();\n  if (thread == 0) finished",
        "  if (thread == 0) finished",
    ),
    Mutant("the counter is not put back", "mma_split", "if (thread == 0) counters[tile] = 0;", ""),
    Mutant(
        "parts are summed as they come",
        "mma_split",
        "parts + v * THREADS);\n",
        "parts + (split * VALUES + v) * THREADS);\n",
    ),
    Mutant(
        "channels beyond the last are read", "mma_odd", "min(16, (CHANNELS - channel) * 4)", "16"
    ),
    Mutant("another phase's window", "mma_transposed", "phase_h == 0 ? ", "phase_h == 1 ? "),
    Mutant("rows of the window are columns", "mma", "tap % KERNEL_W * ", "tap / KERNEL_W * "),
    Mutant("the bias of another filter", "mma", "&bias[c]", "&bias[c & ~7]"),
    Mutant(
        "pairs in the wrong order",
        "mma_bf16",
        "low[e]), __uint_as_float(low[e + 2])",
        "low[e + 2]), __uint_as_float(low[e])",
    ),
    Mutant(
        "channels of 16 bits beyond the last are read",
        "mma_half",
        "min(16, (CHANNELS - channel) * 2)",
        "16",
    ),
    Mutant(
        "halves of a fragment of 16 bits change places",
        "mma_half",
        "((step * 2 + lane / 16) ^ (row % 8))",
        "((step * 2 + 1 - lane / 16) ^ (row % 8))",
    ),
    Mutant("half of a slab of 16 bits is left out", "mma_half", "step < 4", "step < 2"),
    Mutant(
        "the residual of another channel", "half_residual", "&e0[pixel * 40 + c]", "&e0[pixel * 40]"
    ),
    Mutant(
        "no barrier between buffers",
        "ffma",
        "put(1 - buffer);\n    __syncthreads();",
        "put(1 - buffer);",
    ),
    Mutant("the buffer that is read is written", "ffma", "put(1 - buffer)", "put(buffer)"),
    Mutant(
        "an array in shared memory is a row short",
        "ffma",
        "x_tile[2][BK][BM + 4]",
        "x_tile[2][BK - 1][BM + 4]",
    ),
    Mutant("no barrier behind the patch", "stem", "  __syncthreads();\n", ""),
    Mutant(
        "no barrier behind the pixels",
        "mma_stem",
        "wait<0>();\n  __syncthreads();\n",
        "wait<0>();\n",
    ),
    Mutant("weights are read before they have come", "mma_stem", "wait<0>()", "wait<1>()"),
    Mutant("pixels beyond x", "mma_stem", "static_cast<unsigned>(iw) < W", "iw < W + 1"),
    Mutant("columns beyond the result", "mma_stem", " || ow >= OUT_W", ""),
    Mutant(
        "the second half of a fragment is the first", "mma_stem", "step * 2 + lane / 16", "step * 2"
    ),
    Mutant("shared memory is some pixels short", "mma_stem", shared_bytes=-128),
    Mutant("rows beyond the result", "depthwise", "oh >= OUT_H || ", ""),
    Mutant("maxima start at zero", "pool", "sums[i] = -INFINITY", "sums[i] = 0.0f"),
    Mutant(
        "a block's part is left out",
        "plane",
        "int other = 1; other < 4",
        "int other = 2; other < 4",
    ),
    Mutant("half a warp is not summed", "dense", "step = 16", "step = 8"),
    Mutant(
        "what was pooled is read too early",
        "joined",
        "    __syncthreads();\n  }\n\n  float totals",
        "  }\n\n  float totals",
    ),
    Mutant("x ends within a block", "joined", "c_of_x < CHANNELS", "c_of_x < BK * 4"),
    Mutant("a thread's part is left out", "joined", "other < SUMMING", "other < SUMMING - 1"),
    Mutant("softmax of some filters", "joined", "finished != 2", "finished != 1"),
    Mutant("filters are not counted anew", "joined", "counters[3] = 0", "counters[3] = 3"),
)


def subjects() -> dict[str, Case]:
    """The kernels that bugs are seeded into."""
    small = igemm_mma.SMALL[-1].tile

    def product(net: str, precision: str, splits: int) -> Case:
        end, what, batch = PRODUCTS[net]
        return case("k", layer(end, what), precision, partial(mma, small, splits), batch)

    text = layer("x: f32[N, 64, 7, 7]", "conv(48, 3, pad = 1) -> relu")
    end, exact, samples = PRODUCTS["dilated"]
    return {
        "mma": case("k", text, "f32", partial(mma, small, 1), 1),
        "mma_bf16": case("k", text, "bf16", partial(mma, small, 1), 1),
        "mma_half": product("dilated", "bf16_memory", 1),
        "half_residual": case(
            "k", added("x: f32[N, 40, 5, 5]", "conv(40, 1)"), "f16_memory", igemm_mma.offer, 3
        ),
        "mma_split": case("k", text, "f32", partial(mma, small, 3), 1),
        "mma_groups": product("groups", "f32", 1),
        "mma_odd": product("odd", "f32", 1),
        "mma_transposed": product("transposed", "f32", 1),
        "ffma": case(
            "k", layer(end, exact), "f32_exact", partial(ffma, igemm_ffma.MENU[2].tile, 1), samples
        ),
        "stem": _offered(stem.offer, *STEMS["single"]),
        "mma_stem": case("k", layer(*STEMS["large"][:2]), "bf16", stem_mma.offer, 2),
        "depthwise": _offered(partial(in_registers, (2, 4)), *DEPTHWISE["dilated"]),
        "pool": pooled("k", "largest"),
        "plane": pooled("k", "plane_shared"),
        "dense": _offered(dense.offer, *DENSE["odd"]),
        "joined": replace_name(next(each for each in chains() if "all" in each.kernel.name)),
    }


def replace_name(subject: Case) -> Case:
    """The case of a kernel called k."""
    kernel = subject.kernel
    source = kernel.source.replace(kernel.name, "k")
    return replace(subject, kernel=replace(kernel, name="k", source=source))


def _offered(offer: Make, end: str, what: str, batch: int) -> Case:
    return case("k", layer(end, what), "f32_exact", offer, batch)


def seeded(mutant: Mutant, subject: Case, number: int) -> Case:
    """The kernel with the bug, under a name of its own."""
    kernel, name = subject.kernel, f"k{number}"
    assert mutant.before in kernel.source, mutant.name
    source = kernel.source.replace(mutant.before, mutant.after) if mutant.before else kernel.source
    source = re.sub(r"\bk(_\w+)?\(", rf"{name}\1(", source)
    changed = replace(
        kernel, name=name, source=source, shared_bytes=kernel.shared_bytes + mutant.shared_bytes
    )
    return replace(subject, kernel=changed)


def is_right(library: Path, subject: Case) -> bool:
    """Whether the checks find nothing, in a process of its own."""
    if child := os.fork():
        return os.waitpid(child, 0)[1] == 0
    status = 1
    try:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        with np.errstate(all="ignore"):
            check(load(library), subject, ORDERS)
        status = 0
    finally:
        os._exit(status)


def main(folder: Path) -> None:
    """Print, as JSON, which bugs and which kernels without any pass the checks."""
    found = subjects()
    sound = [Mutant("", name) for name in found]
    cases = [seeded(each, found[each.kernel], i) for i, each in enumerate((*MUTANTS, *sound))]
    path = write_sources(folder, [each.kernel for each in cases])
    library = build(path, ("-O1", *SANITIZE))
    passed = [is_right(library, each) for each in cases]
    count = len(MUTANTS)
    survivors = [each.name for each, ok in zip(MUTANTS, passed[:count], strict=True) if ok]
    broken = [each.kernel for each, ok in zip(sound, passed[count:], strict=True) if not ok]
    print(json.dumps({"survivors": survivors, "broken": broken}))


def run(arguments: Sequence[str]) -> None:
    """The script."""
    main(Path(arguments[0]))


if __name__ == "__main__":
    run(sys.argv[1:])
