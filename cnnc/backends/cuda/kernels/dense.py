"""Dense layers of a few samples: every weight is read once, and that is what they cost."""

from functools import partial
from math import gcd

import numpy as np
from numpy.typing import NDArray

from cnnc.backends.cuda.kernel import Bytes, CudaKernel, Packing, Wish
from cnnc.backends.cuda.kernels.epilogue import Epilogue, make_epilogue, tail_of
from cnnc.backends.cuda.kernels.problem import (
    MOST_ELEMENTS,
    Product,
    as_bytes,
    ceil_div,
    product_of,
)
from cnnc.backends.cuda.kernels.text import arguments_of, describe, launch_parameters
from cnnc.backends.cuda.templates import render
from cnnc.base.half import Half
from cnnc.base.record import record
from cnnc.loop.task import Task

THREADS = 128
MOST_SAMPLES = 8
"""From here on tiles of a matrix product read less."""


@record
class View:
    """What the template sees."""

    name: str
    comment: tuple[str, ...]
    parameters: str
    problem: Product
    threads: int
    width: int
    weight_type: str
    epilogue: Epilogue
    position: tuple[str, ...]


def offer(task: Task, wish: Wish) -> CudaKernel | None:
    """A kernel for a dense layer, or a convolution of single positions, of up to 8 samples."""
    problem, tail = product_of(task), tail_of(task)
    if problem is None or tail is None or problem.pixels > MOST_SAMPLES or problem.groups != 1:
        return None
    if not problem.x == problem.y == problem.kernel == (1, 1) or any(problem.is_padded):
        return None
    kind, size = wish.weight_type, wish.weight_bytes
    if problem.channels * problem.filters * size > MOST_ELEMENTS:
        return None
    epilogue = make_epilogue(wish, tail, (problem.batch, 1, 1), problem.filters, 1)
    if not epilogue.is_vector:
        return None
    arguments = arguments_of(task, 1)
    reason = f"a warp for each of {problem.filters} filters, bound by bytes of weights"
    view = View(
        name=wish.name,
        comment=(describe(problem, wish, size), reason),
        parameters=launch_parameters(arguments, {**wish.types, "weight": kind}),
        problem=problem,
        threads=THREADS,
        width=gcd(wish.neighbours("x"), problem.channels, problem.pitch),
        weight_type=kind,
        epilogue=epilogue,
        position=epilogue.position({"pixel": "s", "n": "s"}),
    )
    packed = problem.channels * problem.filters * size
    return CudaKernel(
        name=wish.name,
        source=render("dense.cu", view),
        arguments=arguments,
        grid=(ceil_div(problem.filters, THREADS // 32), 1, 1),
        block=(THREADS, 1, 1),
        shared_bytes=0,
        packings=(Packing("weight", packed, partial(pack_weights, wish.half), f"dense {kind}"),),
        comment=reason,
    )


def pack_weights(half: Half | None, weight: NDArray[np.generic]) -> Bytes:
    """[filter, channel], in the type of memory."""
    return as_bytes(np.ascontiguousarray(weight, np.float32), half)
