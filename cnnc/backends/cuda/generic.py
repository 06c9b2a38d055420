"""The kernel of any layer, made from its loops: a thread for each result or for neighbours."""

from cnnc.backends.cuda.emit import THREADS, emit_kernel, threads_of, threads_per_sample, widest
from cnnc.backends.cuda.kernel import CudaKernel, Samples, Wish
from cnnc.loop.kernel import Kernel

GENERIC = "a thread for each"
"""What begins the comment of these kernels."""


def generic_kernel(loops: Kernel, wish: Wish) -> CudaKernel:
    """The kernel that the loops describe."""
    names = tuple(param.name for param in loops.params)
    grid = (-(-threads_of(loops, wish) // THREADS), 1, 1)
    samples = None
    if loops.takes_samples:
        samples = Samples(0, threads_per_sample(loops, wish), THREADS, takes=True)
    width = widest(loops, wish)
    comment = f"{GENERIC} {f'{width} results' if width > 1 else 'result'}"
    source = emit_kernel(loops, wish.name, wish)
    block = (THREADS, 1, 1)
    return CudaKernel(wish.name, source, names, grid, block, 0, samples=samples, comment=comment)
