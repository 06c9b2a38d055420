"""Offers of kernels written by hand, the first that takes a task wins."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from cnnc.backends.cuda.kernel import CudaKernel, Wish
from cnnc.backends.cuda.kernels import (
    dense,
    depthwise,
    igemm_ffma,
    igemm_mma,
    pool,
    pooled_dense,
    softmax,
    stem,
)
from cnnc.backends.cuda.kernels.joined import Joined
from cnnc.backends.cuda.kernels.problem import product_of
from cnnc.loop.task import Task

Offer = Callable[[Task, Wish], CudaKernel | None]
JoinedOffer = Callable[[Sequence[Task], Wish], Joined | None]
SHORTEST = 32
"""Products in a sum from which on three TF32 products for each are as exact as float32: they leave
out 2^-22 of a product, and the bound of a sum of n in float32 is n * 2^-24."""


def short_sums(task: Task, wish: Wish) -> CudaKernel | None:
    """Exact multiply-adds for sums of few products, where float32 is asked for."""
    problem = product_of(task)
    if wish.precision != "f32" or problem is None or problem.depth >= SHORTEST:
        return None
    return igemm_ffma.offer(task, replace(wish, precision="f32_exact"))


OFFERS: tuple[Offer, ...] = (
    # matrix products that are too small to be computed as such come first
    depthwise.offer,
    stem.offer,
    dense.offer,
    short_sums,
    igemm_mma.offer,
    # where tensor cores cannot be fed, or are not wished for
    igemm_ffma.offer,
    pool.offer,
    softmax.offer,
)
JOINED: tuple[JoinedOffer, ...] = (pooled_dense.offer,)
"""Offers for steps that follow each other, asked for the longest run of them first."""
MOST_JOINED = 3
