"""Offers of kernels written by hand, the first that takes a task wins."""

from collections.abc import Callable

from cnnc.backends.cuda.kernel import CudaKernel, Wish
from cnnc.loop.task import Task

Offer = Callable[[Task, Wish], CudaKernel | None]

OFFERS: tuple[Offer, ...] = ()
