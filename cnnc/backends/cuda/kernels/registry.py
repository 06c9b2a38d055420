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
    stem_mma,
)
from cnnc.backends.cuda.kernels.joined import Joined
from cnnc.backends.cuda.kernels.problem import product_of
from cnnc.loop.task import Task

Offer = Callable[[Task, Wish], CudaKernel | None]
JoinedOffer = Callable[[Sequence[Task], Wish], Joined | None]
SHORTEST = 32
"""Products in a sum from which on three TF32 products for each are as exact as float32: they leave
out 2^-22 of a product, and the bound of a sum of n in float32 is n * 2^-24."""


MARGIN = 1.1
"""How many times as long tensor cores have to take: estimates of both are off by about a tenth."""


def exact_sums(task: Task, wish: Wish) -> CudaKernel | None:
    """Float32 multiply-adds where float32 is asked for, and tensor cores are not as exact with it,
    or slower."""
    problem = product_of(task)
    if wish.precision != "f32" or problem is None:
        return None
    exact = replace(wish, precision="f32_exact")
    ours, theirs = igemm_ffma.plan_of(task, exact), igemm_mma.plan_of(task, wish)
    is_short = problem.depth < SHORTEST
    is_quick = ours is not None and theirs is not None and MARGIN * ours.seconds <= theirs.seconds
    if ours is None or not (is_short or theirs is None or is_quick):
        return None
    return igemm_ffma.make_kernel(task, problem, exact, ours)


OFFERS: tuple[Offer, ...] = (
    # matrix products that are too small to be computed as such come first
    depthwise.offer,
    stem_mma.offer,
    stem.offer,
    dense.offer,
    exact_sums,
    igemm_mma.offer,
    # where tensor cores cannot be fed, or are not wished for
    igemm_ffma.offer,
    pool.offer,
    softmax.offer,
)
JOINED: tuple[JoinedOffer, ...] = (pooled_dense.offer,)
"""Offers for steps that follow each other, asked for the longest run of them first."""
MOST_JOINED = 3
