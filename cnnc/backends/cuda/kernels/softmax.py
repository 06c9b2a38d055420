"""Softmax over the channels of samples without positions: a block for each sample."""

from cnnc.backends.cuda.kernel import CudaKernel, Samples, Wish
from cnnc.backends.cuda.kernels.epilogue import Epilogue, make_epilogue, tail_of
from cnnc.backends.cuda.kernels.problem import MOST_ELEMENTS, ceil_div
from cnnc.backends.cuda.kernels.text import arguments_of, launch_parameters
from cnnc.backends.cuda.templates import render
from cnnc.base.dtype import DType
from cnnc.base.record import record
from cnnc.loop.task import Task

MOST_EACH = 64
"""Values that a thread keeps in registers."""


@record
class View:
    """What the template sees."""

    name: str
    comment: tuple[str, ...]
    parameters: str
    threads: int
    epilogue: Epilogue
    body: str


@record
class BodyView:
    """What the template of the part sees that kernels share: `value` is that of channel c."""

    threads: int
    extent: int
    each: int
    value: str
    epilogue: Epilogue
    position: tuple[str, ...]


def body_of(threads: int, extent: int, value: str, epilogue: Epilogue) -> str:
    """Statements by which a block computes the softmax of `sample`."""
    position = epilogue.position({"pixel": "sample", "n": "sample"})
    view = BodyView(threads, extent, ceil_div(extent, threads), value, epilogue, position)
    return render("softmax_of_block.cu", view)


def offer(task: Task, wish: Wish) -> CudaKernel | None:
    """A kernel for softmax of [samples, channels] over channels."""
    x = task.params[0]
    if task.op != "softmax" or len(x.shape) != 2 or task.option("axis") not in (1, -1):
        return None
    tail, (samples, extent) = tail_of(task), x.shape
    threads = 256 if extent > 256 else 128
    is_plain = x.dtype is DType.F32 and x.layout.is_plain and x.size <= MOST_ELEMENTS
    if tail is None or not is_plain or extent > MOST_EACH * threads:
        return None
    epilogue = make_epilogue(wish, tail, (samples, 1, 1), extent, 1)
    if not epilogue.is_vector:
        return None
    arguments, reason = arguments_of(task, 1), "a block for each sample"
    view = View(
        name=wish.name,
        comment=(f"{samples} x {extent}.", reason),
        parameters=launch_parameters(arguments, wish.types),
        threads=threads,
        epilogue=epilogue,
        body=body_of(threads, extent, f"cnnc::load_one(x + sample * {extent} + c)", epilogue),
    )
    return CudaKernel(
        name=wish.name,
        source=render("softmax.cu", view),
        arguments=arguments,
        grid=(samples, 1, 1),
        block=(threads, 1, 1),
        shared_bytes=0,
        samples=Samples(0, 1, 1),
        comment=reason,
    )
