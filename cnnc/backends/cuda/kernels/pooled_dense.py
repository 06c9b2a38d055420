"""The tail of a classifier as one kernel: a whole plane pooled, a dense layer, and maybe softmax.

At few samples, each of them alone costs little more than its launch. A block pools some channels
and multiplies them by some filters' weights, which it has asked for before; the last block of those
filters adds up the parts in their order, and the last one of all computes the softmax.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.cuda.kernel import COUNTERS, WORKSPACE, Bytes, CudaKernel, Packing, Wish
from cnnc.backends.cuda.kernels.dense import MOST_SAMPLES
from cnnc.backends.cuda.kernels.epilogue import Epilogue, Tail, make_epilogue, tail_of
from cnnc.backends.cuda.kernels.joined import Joined, Source
from cnnc.backends.cuda.kernels.pool import JOINED, KINDS, START, average, covers
from cnnc.backends.cuda.kernels.problem import (
    MOST_ELEMENTS,
    Product,
    as_bytes,
    ceil_div,
    is_channels_last,
    product_of,
)
from cnnc.backends.cuda.kernels.softmax import MOST_EACH, body_of
from cnnc.backends.cuda.kernels.text import join_splits, launch_parameters
from cnnc.backends.cuda.kernels.tiles import SLAB_LATENCY, SPLIT_COST, Gpu, gpu_of
from cnnc.backends.cuda.templates import render
from cnnc.base.dtype import DType
from cnnc.base.half import Half
from cnnc.base.record import record
from cnnc.loop.expr import Buffer
from cnnc.loop.task import Task

THREADS = 256
CHANNELS, FILTERS = (32, 64, 128, 256), (16, 32, 64, 128)
"""Channels and filters of a block."""
EACH = (1, 2, 4, 8)
"""Weights of a thread, in fours."""
RESIDENT = 4
"""Blocks that a multiprocessor has at once; others wait for them."""
LAUNCH = 2.0e-6
"""Seconds of a launch that computes little, of layers like these: an H100 takes 2.0 to 2.5 µs."""
Pair = tuple[int, int]


@record
class Chain:
    """The layers: tails of the pool, of the dense layer, and of a softmax that may follow."""

    x: Buffer
    kind: str
    problem: Product
    pool: Tail
    dense: Tail
    softmax: Tail | None
    sources: tuple[tuple[str, Source], ...]
    """Arguments, and what they are."""

    @property
    def positions(self) -> int:
        """Elements of a plane."""
        return prod(self.x.shape[2:])


@record
class View:
    """What the template sees."""

    name: str
    comment: tuple[str, ...]
    parameters: str
    threads: int
    resident: int
    batch: int
    positions: int
    pitch: int
    channels: int
    filters: int
    tile: Pair
    tiles: int
    width: int
    weight_type: str
    start: str
    joined: str
    scale: str
    pool: Epilogue
    dense: Epilogue
    last: Epilogue
    position: tuple[str, ...]
    join: str
    kept: str
    logits: int
    softmax: str


def offer(tasks: Sequence[Task], wish: Wish) -> Joined | None:
    """A kernel for these layers, where it should take less time than one for each."""
    chain = chain_of(tasks)
    if chain is None or wish.takes_samples:
        return None
    gpu = gpu_of(wish.arch, wish.multiprocessors)
    fitting = [(b, f) for b, f in product(CHANNELS, FILTERS) if b * f // (4 * THREADS) in EACH]
    tile = min(fitting, key=lambda each: seconds(chain, each, wish, gpu))
    apart = len(tasks) * LAUNCH + _bytes(chain, wish) / gpu.memory
    if seconds(chain, tile, wish, gpu) >= apart:
        return None
    return make_kernel(chain, wish, tile)


def chain_of(tasks: Sequence[Task]) -> Chain | None:
    """The layers, None where they are others."""
    if [task.op for task in tasks][2:] not in ([], ["softmax"]) or len(tasks) < 2:
        return None
    pool, dense, problem = tasks[0], tasks[1], product_of(tasks[1])
    x = pool.params[0]
    kind = KINDS.get(str(pool.option("kind"))) if pool.op == "pool" else None
    tails = [tail_of(task) for task in tasks]
    if kind is None or problem is None or pool.windows is None or len(x.shape) > 4:
        return None
    is_whole = covers(pool.windows, x) and x.dtype is DType.F32 and is_channels_last(x)
    if not is_whole or x.size > MOST_ELEMENTS or problem.batch > MOST_SAMPLES:
        return None
    if not problem.x == problem.y == problem.kernel == (1, 1) or any(problem.is_padded):
        return None
    fits = problem.groups == 1 and problem.channels == problem.pitch == x.shape[1]
    own = [
        tail is not None and {operand.argument for operand in tail.operands} <= {"bias"}
        for tail in tails
    ]
    if not fits or not all(own):
        return None
    if len(tasks) == 3 and not _normalises(tasks[2], problem):
        return None
    first, second, *rest = (tail for tail in tails if tail)
    last = rest[0] if rest else None
    bias = (("bias", Source(1, "bias")),) * dense.has("bias")
    ends = Source(0, x.name), Source(len(tasks) - 1, "y")
    sources = (("x", ends[0]), ("weight", Source(1, "weight")), *bias, ("y", ends[1]))
    return Chain(x, kind, problem, first, second, last, sources)


def _normalises(softmax: Task, problem: Product) -> bool:
    over_channels = softmax.option("axis") in (1, -1) and len(softmax.params[0].shape) == 2
    return over_channels and problem.filters <= MOST_EACH * THREADS


def seconds(chain: Chain, tile: Pair, wish: Wish, gpu: Gpu) -> float:
    """An estimate: multiprocessors load what their blocks read, and parts wait for each other."""
    problem = chain.problem
    parts, tiles = _blocks(problem, tile)
    block = wish.bytes_of("x") * problem.batch * chain.positions * tile[0]
    block += wish.weight_bytes * prod(tile)
    waves = ceil_div(parts * tiles, gpu.multiprocessors)
    each = gpu.cache / gpu.multiprocessors
    loading = waves * block / each
    waiting = SPLIT_COST * ((parts > 1) + (tiles > 1 and chain.softmax is not None))
    waiting += parts * problem.batch * 4 * THREADS / gpu.alone * (parts > 1)
    waiting += (ceil_div(waves, RESIDENT) - 1) * 2 * SLAB_LATENCY
    return LAUNCH + waiting + max(loading, _bytes(chain, wish) / gpu.memory)


def _bytes(chain: Chain, wish: Wish) -> int:
    problem = chain.problem
    return (
        wish.bytes_of("x") * chain.x.size + wish.weight_bytes * problem.channels * problem.filters
    )


def _blocks(problem: Product, tile: Pair) -> Pair:
    return ceil_div(problem.channels, tile[0]), ceil_div(problem.filters, tile[1])


def make_kernel(chain: Chain, wish: Wish, tile: Pair) -> Joined | None:
    """The kernel with so many channels and filters in a block."""
    problem = chain.problem
    space, filters = (problem.batch, 1, 1), problem.filters
    pool = _epilogue(wish, "pool", chain.pool, space, problem.channels)
    dense = _epilogue(wish, "dense", chain.dense, space, filters)
    tail = chain.softmax or chain.dense
    last = _epilogue(wish, "last", tail, space, filters)
    if not (pool.is_vector and dense.is_vector and last.is_vector):
        return None
    parts, tiles = _blocks(problem, tile)
    is_shared = parts > 1 or (tiles > 1 and chain.softmax is not None)
    shared = ((WORKSPACE, None), (COUNTERS, None)) if is_shared else ()
    sources: tuple[tuple[str, Source | None], ...] = (*chain.sources, *shared)
    names = tuple(name for name, _ in sources)
    view = _view(chain, wish, tile, names, (pool, dense, last))
    size = parts * tiles * prod(tile) * wish.weight_bytes
    pack = partial(pack_weights, tile, wish.half)
    kernel = CudaKernel(
        name=wish.name,
        source=render("pooled_dense.cu", view),
        arguments=names,
        grid=(tiles, 1, parts),
        block=(THREADS, 1, 1),
        shared_bytes=0,
        workspace_bytes=4 * (view.logits + problem.batch * filters) if is_shared else 0,
        counters=tiles + 1 if is_shared else 0,
        packings=(Packing("weight", size, pack, f"pooled_dense {tile} {wish.weight_type}"),),
        comment=view.comment[-1],
    )
    return Joined(kernel, sources)


def _epilogue(
    wish: Wish, name: str, tail: Tail, space: tuple[int, int, int], channels: int
) -> Epilogue:
    """One element at a time; a kernel has three such functions."""
    return make_epilogue(replace(wish, name=f"{wish.name}_{name}"), tail, space, channels, 1)


def _view(
    chain: Chain,
    wish: Wish,
    tile: Pair,
    arguments: Sequence[str],
    epilogues: tuple[Epilogue, Epilogue, Epilogue],
) -> View:
    """What the template sees; the epilogues are of the pool, the dense layer and the softmax."""
    problem, (pool, dense, last) = chain.problem, epilogues
    (parts, tiles), batch = _blocks(problem, tile), problem.batch
    kind, count = wish.weight_type, chain.positions
    what = f"{batch}x{count}x{problem.channels} -> {batch}x{problem.filters}"
    follows = " and softmax" * (chain.softmax is not None)
    blocks = f"{parts * tiles} block{'s' * (parts * tiles > 1)}"
    layers = "three" if chain.softmax else "two"
    reason = f"{blocks} of {tile[0]} channels and {tile[1]} filters: one launch for {layers} layers"
    read = "__ldcg(&{})" if tiles > 1 else "{}"
    write = "__stcg(&{}, sums[0]);" if tiles > 1 else "{} = sums[0];"
    value = read.format(f"logits[sample * {problem.filters} + c]")
    return View(
        name=wish.name,
        comment=(f"{what}, {chain.kind} of a plane{follows}.", reason),
        parameters=launch_parameters(arguments, {**wish.types, "weight": kind}),
        threads=THREADS,
        resident=RESIDENT,
        batch=batch,
        positions=count,
        pitch=chain.x.layout.within or problem.channels,
        channels=problem.channels,
        filters=problem.filters,
        tile=tile,
        tiles=tiles,
        width=gcd(wish.neighbours("x"), problem.channels, chain.x.layout.within or 16),
        weight_type=kind,
        start=START[chain.kind],
        joined=JOINED[chain.kind],
        scale=average(count) if chain.kind == "avg" else "",
        pool=pool,
        dense=dense,
        last=last,
        position=dense.position({"pixel": "s", "n": "s"}),
        join=join_splits(parts, "BATCH", "totals[v]") if parts > 1 else "",
        kept=write.format("logits[s * FILTERS + c]"),
        logits=tiles * parts * batch * THREADS if parts > 1 else 0,
        softmax=body_of(THREADS, problem.filters, value, last) if chain.softmax else "",
    )


def pack_weights(tile: Pair, half: Half | None, weight: NDArray[np.generic]) -> Bytes:
    """[part, tile, channel of the part, filter of the tile], with zeros where there are none."""
    rows = np.asarray(weight, np.float32).reshape(weight.shape[0], -1)
    parts, tiles = ceil_div(rows.shape[1], tile[0]), ceil_div(rows.shape[0], tile[1])
    padded = np.zeros((parts * tile[0], tiles * tile[1]), np.float32)
    padded[: rows.shape[1], : rows.shape[0]] = rows.T
    blocks = padded.reshape(parts, tile[0], tiles, tile[1]).swapaxes(1, 2)
    return as_bytes(np.ascontiguousarray(blocks), half)
