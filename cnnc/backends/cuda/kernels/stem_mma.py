"""First convolutions on tensor cores: three or four channels that lie in planes.

A block turns the piece of x under its tile into pixels of 8 or 16 bytes in shared memory, so that
the window of a position is a run of bytes in each of its rows: a row of a fragment, wherever it
begins. Neighbours that such a run has too many of are set to zero in registers, as a zero weight
would make NaN of an infinite one.
"""

from functools import partial
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.cuda.kernel import Bytes, CudaKernel, Packing, Samples, Wish
from cnnc.backends.cuda.kernels.epilogue import Epilogue, make_epilogue, tail_of
from cnnc.backends.cuda.kernels.igemm_mma import round_tf32
from cnnc.backends.cuda.kernels.problem import (
    Product,
    as_bytes,
    ceil_div,
    product_of,
    weights_of,
)
from cnnc.backends.cuda.kernels.stem import FLAT_TILE, MOST_SHARED, POSITION, THREADS, TILE
from cnnc.backends.cuda.kernels.text import arguments_of, describe, launch_parameters
from cnnc.backends.cuda.templates import render
from cnnc.base.half import Half
from cnnc.base.record import record
from cnnc.loop.task import Task

CHANNELS = (3, 4)
"""With fewer of them, most products would be with zeros."""
PRECISIONS = ("tf32", "bf16", "f16")
FRAGMENT = 32
"""Bytes of a row of a fragment."""
FILTERS = (64, 32, 16)
"""Of a block, as many as fit into shared memory."""


@record
class Pixels:
    """How x lies in shared memory: bytes of an element and of a pixel, and how many times 32 bytes
    the row of a window has."""

    element: int
    pixel: int
    steps: int

    @property
    def channels(self) -> int:
        """Of a pixel, those that are filled up with zeros included."""
        return self.pixel // self.element


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
    pixels: Pixels
    patch: tuple[int, int]
    row: int
    weight_bytes: int
    swizzle: int
    mma: str
    element: str
    epilogue: Epilogue
    position: tuple[str, ...]


def offer(task: Task, wish: Wish) -> CudaKernel | None:
    """A kernel for a convolution of three or four channels that lie in planes."""
    problem = product_of(task, in_planes=True)
    if problem is None or task.op != "conv" or wish.precision not in PRECISIONS:
        return None
    if problem.groups != 1 or problem.channels not in CHANNELS or problem.dilation[1] != 1:
        return None
    sizes = [size for size in FILTERS if size <= max(problem.filters, FILTERS[-1])]
    kernels = (make_kernel(task, problem, wish, columns) for columns in sizes)
    return next(filter(None, kernels), None)


def pixels_of(problem: Product, wish: Wish) -> Pixels:
    """Pixels as small as they can be where each window begins at a multiple of 16 bytes."""
    element = 2 if wish.half else 4
    pixel = 4 * element if problem.stride[1] * 4 * element % 16 == 0 else 16
    return Pixels(element, pixel, ceil_div(problem.kernel[1] * pixel, FRAGMENT))


def make_kernel(task: Task, problem: Product, wish: Wish, columns: int) -> CudaKernel | None:
    """The kernel with so many filters in a block; None where it does not fit, or the tail."""
    view = _view(task, problem, wish, columns)
    shared = view.weight_bytes + view.patch[0] * view.row if view else 0
    if view is None or shared > MOST_SHARED:
        return None
    parts, pixels = ceil_div(problem.filters, columns), view.pixels
    pack = partial(pack_weights, task, pixels, columns, wish.half)
    key = f"stem_mma {wish.precision} {pixels} {columns}"
    return CudaKernel(
        name=wish.name,
        source=render("stem_mma.cu", view),
        arguments=arguments_of(task, 1),
        grid=(problem.batch * prod(view.tiles), parts, 1),
        block=(THREADS, 1, 1),
        shared_bytes=shared,
        packings=(Packing("weight", parts * view.weight_bytes, pack, key),),
        samples=Samples(0, prod(view.tiles), 1),
        comment=view.comment[-1],
    )


def _view(task: Task, problem: Product, wish: Wish, columns: int) -> View | None:
    """What the template sees; None where the tail is none of float32."""
    if (tail := tail_of(task)) is None:
        return None
    pixels, tile = pixels_of(problem, wish), FLAT_TILE if problem.y[0] == 1 else TILE
    (rows, across), stride = tile, problem.stride
    span = (problem.kernel[0] - 1) * problem.dilation[0]
    patch = (
        (rows - 1) * stride[0] + span + 1,
        (across - 1) * stride[1] + pixels.steps * FRAGMENT // pixels.pixel,
    )
    epilogue = make_epilogue(wish, tail, (problem.batch, *problem.y), problem.filters, 4)
    reason = f"{rows}x{across} positions of {columns} filters a block, on tensor cores"
    types = {**wish.types, "weight": wish.weight_type}
    return View(
        name=wish.name,
        comment=(describe(problem, wish, pixels.element), reason),
        parameters=launch_parameters(arguments_of(task, 1), types),
        problem=problem,
        threads=THREADS,
        tile=tile,
        tiles=(ceil_div(problem.y[0], rows), ceil_div(problem.y[1], across)),
        columns=columns,
        pixels=pixels,
        patch=patch,
        row=ceil_div(patch[1] * pixels.pixel, 128) * 128,
        weight_bytes=problem.kernel[0] * pixels.steps * FRAGMENT * columns,
        swizzle=gcd(stride[1] * pixels.pixel // 16, 8),
        mma=wish.half.name if wish.half else "tf32",
        element=wish.weight_type,
        epilogue=epilogue,
        position=epilogue.position(POSITION),
    )


def pack_weights(
    task: Task, pixels: Pixels, columns: int, half: Half | None, weight: NDArray[np.generic]
) -> Bytes:
    """[part of the filters, kernel row, step, half of 32 bytes, filter, 16 bytes of taps and
    channels]; of 16 filters, those that a lane has four neighbours of lie two by two."""
    (filters,) = weights_of(task, weight)
    count, rows, across, channels = filters.shape
    parts = ceil_div(count, columns)
    taps = pixels.steps * FRAGMENT // pixels.pixel
    made = np.zeros((parts * columns, rows, taps, pixels.channels), np.float32)
    made[:count, :, :across, :channels] = filters
    pieces = made.reshape(parts, columns // 16, 4, 2, 2, rows, pixels.steps, 2, -1)
    pieces = pieces.transpose(0, 5, 6, 7, 1, 3, 2, 4, 8)
    packed = np.ascontiguousarray(pieces)
    return as_bytes(packed if half else round_tf32(packed), half)
