"""Convolutions, dense layers and transposed convolutions as matrix products in exact float32.

For the precision `f32_exact`, for what tensor cores cannot be fed with, and for GPUs on which three
products on tensor cores take longer. Weights are float32, x is read as it lies. Tiles of both lie
in shared memory twice: while threads multiply one, they fetch the next.
"""

from collections.abc import Sequence
from functools import partial
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.cuda.kernel import Bytes, CudaKernel, Packing, Samples, Wish
from cnnc.backends.cuda.kernels.epilogue import Epilogue, Tail, make_epilogue, tail_of
from cnnc.backends.cuda.kernels.problem import (
    MOST_ELEMENTS,
    Product,
    ceil_div,
    fills_tiles,
    product_of,
    weights_of,
)
from cnnc.backends.cuda.kernels.text import (
    arguments_of,
    describe,
    inside_test,
    join_splits,
    launch_parameters,
    limit,
    picked,
    position_lines,
)
from cnnc.backends.cuda.kernels.tiles import Candidate, Costs, Plan, Tile, cheapest, gpu_of, plans
from cnnc.backends.cuda.templates import render
from cnnc.base.record import record
from cnnc.loop.task import Task

SLABS = {128: 8, 64: 16, 32: 16}
"""Elements of the sum at a time, by the rows of a tile."""
MENU = (
    Candidate(Tile(128, 128, 8, 8, 2, is_of_warps=False), 0.61, 0.61),
    Candidate(Tile(64, 64, 4, 4, 2, is_of_warps=False), 0.53, 0.34),
    Candidate(Tile(32, 32, 4, 4, 2, is_of_warps=False), 0.48, 0.15),
)
"""Tiles with those of a thread in place of a warp's, and the share of the peak they reach."""
LATENCY = 0.1e-6
"""Seconds until the next slab, which registers hold, lies in shared memory."""


@record
class View:
    """What the template sees."""

    name: str
    comment: tuple[str, ...]
    parameters: str
    x_type: str
    problem: Product
    tile: Tile
    threads: int
    slab: int
    splits: int
    epilogue: Epilogue
    position: tuple[str, ...]
    limit: str
    join: str
    channels: int
    filters: int
    across: int
    phases: int
    tap_parts: int
    slabs: int
    weight_row: int
    is_vector: bool
    start_h: str
    start_w: str
    first_slab: str
    end_slab: str
    inside: str


def offer(task: Task, wish: Wish) -> CudaKernel | None:
    """A kernel for the task, with the tile and split of the static model."""
    problem, plan = product_of(task), plan_of(task, wish)
    return make_kernel(task, problem, wish, plan) if problem and plan else None


def plan_of(task: Task, wish: Wish) -> Plan | None:
    """The tile and split of the static model; None where the task is no matrix product."""
    return cheapest(plans_of(task, wish))


def plans_of(task: Task, wish: Wish) -> Sequence[Plan]:
    """All tiles and splits that there are for a task; none where it is no matrix product."""
    problem = product_of(task)
    if problem is None or not fills_tiles(problem):
        return ()
    gpu = gpu_of(wish.arch, wish.multiprocessors)
    costs = Costs(gpu.ffma, 16, wish.bytes_of("x"), 4, wish.bytes_of("y"), LATENCY)
    return plans(problem, MENU, costs, gpu)


def make_kernel(task: Task, problem: Product, wish: Wish, plan: Plan) -> CudaKernel | None:
    """The kernel with this tile and split; None where the tail is none of float32."""
    tail, tile, splits = tail_of(task), plan.tile, plan.splits
    view = _view(task, problem, plan, tail, wish) if tail else None
    if view is None:
        return None
    blocks = ceil_div(problem.pixels, tile.rows) * view.across
    tiles = blocks * problem.layers
    packed = problem.layers * view.slabs * view.slab * view.weight_row * 4
    pack = partial(pack_weights, task, view.slab)
    key = f"igemm_ffma {view.slab} {task.op} {task.windows} {problem}"
    return CudaKernel(
        name=wish.name,
        source=render("igemm_ffma.cu", view),
        arguments=arguments_of(task, splits),
        grid=(blocks, 1, problem.layers * splits),
        block=(view.threads, 1, 1),
        shared_bytes=0,
        workspace_bytes=4 * tiles * splits * tile.rows * tile.columns if splits > 1 else 0,
        counters=tiles if splits > 1 else 0,
        packings=(Packing("weight", packed, pack, key),),
        samples=Samples(
            0, prod(problem.grid), tile.rows, takes=wish.takes_samples, times=view.across
        ),
        comment=plan.reason,
        starts_early=plan.starts_early,
    )


def _view(task: Task, problem: Product, plan: Plan, tail: Tail, wish: Wish) -> View | None:
    """What the template sees; None where offsets would not fit in 32 bits."""
    channels, filters = problem.channels // problem.groups, problem.filters // problem.groups
    tile, splits = plan.tile, plan.splits
    slab = SLABS[tile.rows]
    tap_parts = ceil_div(channels, 4)
    slabs = ceil_div(prod(problem.kernel) * tap_parts * 4, slab)
    step = ceil_div(slabs, splits)
    row = ceil_div(filters, 4) * 4
    if problem.layers * row * slabs * slab > MOST_ELEMENTS:
        return None
    epilogue = make_epilogue(wish, tail, (problem.batch, *problem.y), filters, 4)
    parameters = launch_parameters(
        arguments_of(task, splits), wish.types, samples=wish.takes_samples
    )
    value = "sums_of_thread[v / TN][v % TN]"
    return View(
        name=wish.name,
        comment=(describe(problem, wish, 4), plan.reason),
        parameters=parameters,
        x_type=wish.types.get("x", "float"),
        problem=problem,
        tile=tile,
        threads=tile.threads,
        slab=slab,
        splits=splits,
        epilogue=epilogue,
        position=position_lines(problem, epilogue),
        limit=limit("POSITIONS", problem.pixels, problem.batch, wish),
        join=join_splits(splits, "TM * TN", value) if splits > 1 else "",
        channels=channels,
        filters=filters,
        across=ceil_div(filters, plan.tile.columns),
        phases=prod(problem.phases),
        tap_parts=tap_parts,
        slabs=slabs,
        weight_row=row,
        is_vector=gcd(problem.pitch, channels, wish.neighbours("x")) % 4 == 0,
        start_h=picked("phase_h", problem.starts[0]),
        start_w=picked("phase_w", problem.starts[1]),
        first_slab=f"blockIdx.z % {splits} * {step}" if splits > 1 else "0",
        end_slab=f"min(first_slab + {step}, SLABS)" if splits > 1 else "SLABS",
        inside=inside_test(problem, has_rest=slabs * slab > prod(problem.kernel) * tap_parts * 4),
    )


def pack_weights(task: Task, slab: int, weight: NDArray[np.generic]) -> Bytes:
    """[layer, taps and channels in fours, filters in fours]."""
    parts = weights_of(task, weight)
    layers, filters, *taps, channels = parts.shape
    depth = prod(taps) * ceil_div(channels, 4) * 4
    row = ceil_div(filters, 4) * 4
    padded = np.zeros((layers, filters, prod(taps), ceil_div(channels, 4) * 4), np.float32)
    padded[..., :channels] = parts.reshape(layers, filters, -1, channels)
    made = np.zeros((layers, ceil_div(depth, slab) * slab, row), np.float32)
    made[:, :depth, :filters] = padded.reshape(layers, filters, depth).swapaxes(1, 2)
    return made.view(np.uint8).reshape(-1)
