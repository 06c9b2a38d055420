"""Offers of kernels written by hand, the first that takes a task wins."""

from collections.abc import Callable

from cnnc.backends.cuda.kernel import CudaKernel, Wish
from cnnc.backends.cuda.kernels import (
    dense,
    depthwise,
    igemm_ffma,
    igemm_mma,
    pool,
    softmax,
    stem,
)
from cnnc.loop.task import Task

Offer = Callable[[Task, Wish], CudaKernel | None]

OFFERS: tuple[Offer, ...] = (
    # matrix products that are too small to be computed as such come first
    depthwise.offer,
    stem.offer,
    dense.offer,
    igemm_mma.offer,
    # where tensor cores cannot be fed, or are not wished for
    igemm_ffma.offer,
    pool.offer,
    softmax.offer,
)
