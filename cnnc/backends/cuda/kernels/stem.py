"""First convolutions: few channels, which lie row-major as the network's input does.

A block keeps the piece of x under its tile and the weights in shared memory; a thread holds a
segment of a row in registers while the window moves over it. Factors and sums are float32.
"""

from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.cuda.kernel import Bytes, CudaKernel, Packing, Samples, Wish
from cnnc.backends.cuda.kernels.epilogue import Epilogue, make_epilogue, tail_of
from cnnc.backends.cuda.kernels.problem import Product, ceil_div, product_of, weights_of
from cnnc.backends.cuda.kernels.text import arguments_of, describe, launch_parameters
from cnnc.backends.cuda.templates import render
from cnnc.base.record import record
from cnnc.loop.task import Task

MOST_CHANNELS = 4
THREADS = 128
PIXELS = 128
TILE = (8, 16)
FLAT_TILE = (1, 128)
"""Positions of a block, in two dimensions and in one."""
MOST_SHARED = 96 * 1024
MOST_REGISTERS = 160


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
    columns: int
    positions: int
    is_copied: bool
    epilogue: Epilogue
    position: tuple[str, ...]


def offer(task: Task, wish: Wish) -> CudaKernel | None:
    """A kernel for a convolution of up to four channels that lie in planes."""
    problem = product_of(task, in_planes=True)
    if problem is None or task.op != "conv" or problem.channels > MOST_CHANNELS:
        return None
    if problem.groups != 1:
        return None
    columns = next(size for size in (64, 32, 16, 8) if size <= max(8, problem.filters))
    return make_kernel(task, problem, wish, columns)


def make_kernel(task: Task, problem: Product, wish: Wish, columns: int) -> CudaKernel | None:
    """The kernel with so many filters in a block; None where it does not fit, or the tail."""
    tail = tail_of(task)
    tile = FLAT_TILE if problem.y[0] == 1 else TILE
    positions = columns // 8
    spans = [(k - 1) * d for k, d in zip(problem.kernel, problem.dilation, strict=True)]
    patch = [
        (extent - 1) * stride + span + 1
        for extent, stride, span in zip(tile, problem.stride, spans, strict=True)
    ]
    taps = problem.channels * prod(problem.kernel)
    shared = 4 * (taps * columns + problem.channels * prod(patch))
    segment = (positions - 1) * problem.stride[1] + spans[1] + 1
    is_too_large = shared > MOST_SHARED or segment + 8 * positions + 8 > MOST_REGISTERS
    if tail is None or is_too_large:
        return None
    arguments, parts = arguments_of(task, 1), ceil_div(problem.filters, columns)
    tiles = (ceil_div(problem.y[0], tile[0]), ceil_div(problem.y[1], tile[1]))
    space = (problem.batch, *problem.y)
    epilogue = make_epilogue(wish, tail, space, problem.filters, min(8, wish.neighbours("y")))
    reason = f"{tile[0]}x{tile[1]} positions of {columns} filters a block"
    view = View(
        name=wish.name,
        comment=(describe(problem, wish, 4), reason),
        parameters=launch_parameters(arguments, wish.types),
        problem=problem,
        threads=THREADS,
        tile=tile,
        tiles=tiles,
        columns=columns,
        positions=positions,
        is_copied=wish.bytes_of("x") == 4,
        epilogue=epilogue,
        position=epilogue.position(POSITION),
    )
    pack = partial(pack_weights, task, parts * columns)
    return CudaKernel(
        name=wish.name,
        source=render("stem.cu", view),
        arguments=arguments,
        grid=(problem.batch * prod(tiles), parts, 1),
        block=(THREADS, 1, 1),
        shared_bytes=shared,
        packings=(Packing("weight", taps * parts * columns * 4, pack, f"stem {parts * columns}"),),
        samples=Samples(0, prod(tiles), 1),
        comment=reason,
    )


def pack_weights(task: Task, filters: int, weight: NDArray[np.generic]) -> Bytes:
    """[channel, kernel row, kernel column, filter], with zeros for filters that there are not."""
    parts = weights_of(task, weight)[0].transpose(3, 1, 2, 0)
    made = np.zeros((*parts.shape[:3], filters), np.float32)
    made[..., : parts.shape[3]] = parts
    return made.view(np.uint8).reshape(-1)
