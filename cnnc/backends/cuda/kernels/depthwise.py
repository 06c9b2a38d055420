"""Depthwise convolutions, channels last, in registers alone: what they cost is reading x once."""

from functools import partial
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.cuda.kernel import Bytes, CudaKernel, Packing, Samples, Wish
from cnnc.backends.cuda.kernels.epilogue import Epilogue, make_epilogue, tail_of
from cnnc.backends.cuda.kernels.problem import (
    Product,
    as_bytes,
    ceil_div,
    product_of,
    weights_of,
)
from cnnc.backends.cuda.kernels.text import arguments_of, describe, launch_parameters, limit
from cnnc.backends.cuda.templates import render
from cnnc.base.half import Half
from cnnc.base.record import record
from cnnc.loop.task import Task

THREADS = 128
TILES = ((2, 4), (2, 2), (1, 4), (1, 2), (1, 1))
"""Positions of a thread, those that read least for each result first."""
WIDEST = 4
"""Channels of a thread."""
MOST_REGISTERS = 150
"""Registers for sums, a row of x and a window's weights; further ones hold addresses."""
BLOCKS_EACH = 4
"""Blocks that a multiprocessor should have for the larger of two tiles."""


POSITION = {"pixel": "(image * OUT_H + oh) * OUT_W + ow", "n": "image"}


@record
class View:
    """What the template sees."""

    name: str
    comment: tuple[str, ...]
    parameters: str
    problem: Product
    threads: int
    tile: tuple[int, int]
    tiles: tuple[int, int]
    width: int
    limit: str
    epilogue: Epilogue
    position: tuple[str, ...]
    inside: str


def offer(task: Task, wish: Wish) -> CudaKernel | None:
    """A kernel for a convolution of one filter for each channel; sums are in float32 always."""
    problem = product_of(task)
    if problem is None or task.op != "conv" or not is_depthwise(problem):
        return None
    width = gcd(WIDEST, wish.neighbours("x"), problem.channels, problem.pitch)
    fitting = [tile for tile in TILES if registers(problem, tile, width) <= MOST_REGISTERS]
    if not fitting:
        return None
    enough = BLOCKS_EACH * THREADS * wish.multiprocessors
    filling = [tile for tile in fitting if work(problem, tile, width) >= enough]
    return make_kernel(task, problem, wish, (filling or fitting[-1:])[0], width)


def is_depthwise(problem: Product) -> bool:
    """Whether each channel has a filter of its own."""
    return problem.groups == problem.channels == problem.filters and problem.groups > 1


def work(problem: Product, tile: tuple[int, int], width: int) -> int:
    """Threads that have something to do."""
    tiles = map(ceil_div, problem.y, tile)
    return problem.batch * prod(tiles) * problem.channels // width


def registers(problem: Product, tile: tuple[int, int], width: int) -> int:
    """About how many registers hold numbers."""
    (_, kernel), (_, stride), (_, dilation) = problem.kernel, problem.stride, problem.dilation
    used = {q * stride + kw * dilation for q in range(tile[1]) for kw in range(kernel)}
    return width * (prod(tile) + len(used) + prod(problem.kernel))


def make_kernel(
    task: Task, problem: Product, wish: Wish, tile: tuple[int, int], width: int
) -> CudaKernel | None:
    """The kernel with this tile; None where the tail is none of float32."""
    tail = tail_of(task)
    if tail is None:
        return None
    arguments = arguments_of(task, 1)
    space = (problem.batch, *problem.y)
    epilogue = make_epilogue(wish, tail, space, problem.filters, width)
    reason = f"{tile[0]}x{tile[1]} positions of {width} channels a thread"
    total = work(problem, tile, width)
    types = {**wish.types, "weight": wish.weight_type}
    view = View(
        name=wish.name,
        comment=(describe(problem, wish, wish.weight_bytes), reason),
        parameters=launch_parameters(arguments, types, samples=wish.takes_samples),
        problem=problem,
        threads=THREADS,
        tile=tile,
        tiles=(ceil_div(problem.y[0], tile[0]), ceil_div(problem.y[1], tile[1])),
        width=width,
        limit=limit("WORK", total, problem.batch, wish),
        epilogue=epilogue,
        position=epilogue.position(POSITION),
        inside=_inside(problem, tile),
    )
    if not view.epilogue.is_vector:
        return make_kernel(task, problem, wish, tile, 1) if width > 1 else None
    packed = prod(problem.kernel) * problem.channels * wish.weight_bytes
    pack = partial(pack_weights, task, wish.half)
    return CudaKernel(
        name=wish.name,
        source=render("depthwise.cu", view),
        arguments=arguments,
        grid=(ceil_div(total, THREADS), 1, 1),
        block=(THREADS, 1, 1),
        shared_bytes=0,
        packings=(Packing("weight", packed, pack, f"depthwise {wish.weight_type}"),),
        samples=Samples(0, total // problem.batch, THREADS, takes=wish.takes_samples),
        comment=reason,
    )


def _inside(problem: Product, tile: tuple[int, int]) -> str:
    """Whether row `ih` and column `iw` lie in x."""
    # The last tile may stand out of the result, and what it reads out of x.
    cut = [y % extent > 0 for y, extent in zip(problem.y, tile, strict=True)]
    needed = [padded or out for padded, out in zip(problem.is_padded, cut, strict=True)]
    tests = [f"static_cast<unsigned>(i{axis.lower()}) < {axis}" for axis in "HW"]
    return " && ".join(test for test, it in zip(tests, needed, strict=True) if it) or "true"


def pack_weights(task: Task, half: Half | None, weight: NDArray[np.generic]) -> Bytes:
    """[kernel row, kernel column, channel]."""
    parts = weights_of(task, weight)[:, 0, :, :, 0]
    return as_bytes(np.ascontiguousarray(parts.transpose(1, 2, 0), np.float32), half)
