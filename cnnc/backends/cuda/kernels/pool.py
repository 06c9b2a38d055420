"""Largest elements and averages of windows, channels last; whole planes by many threads each."""

from math import gcd, prod

from cnnc.backends.cuda.kernel import CudaKernel, Samples, Wish
from cnnc.backends.cuda.kernels.epilogue import Epilogue, make_epilogue, tail_of
from cnnc.backends.cuda.kernels.problem import (
    MOST_ELEMENTS,
    both_axes,
    ceil_div,
    is_channels_last,
    plus,
)
from cnnc.backends.cuda.kernels.text import arguments_of, launch_parameters, limit
from cnnc.backends.cuda.templates import render
from cnnc.base.dtype import DType
from cnnc.base.record import record
from cnnc.loop.expr import Buffer
from cnnc.loop.task import Task, Windows

THREADS = 128
PLANE_THREADS = {True: 1024, False: 256}
"""Threads for 32 channels of a plane, by whether it is large."""
LARGE_PLANE = 256
"""Positions."""
EACH_THREAD = 16
"""Positions that a thread should not have more of, where there are multiprocessors for others."""
FEW_TAPS = 25
"""Windows of so many taps are written out."""
KINDS = {"Maximum()": "max", "max": "max", "Average()": "avg", "avg": "avg"}
START = {"max": "-INFINITY", "avg": "0.0f"}
JOINED = {"max": "cnnc::max_nan(value[i], sums[i])", "avg": "sums[i] + value[i]"}
"""What a thread begins with, and what becomes of that with one more value."""
Pair = tuple[int, int]


@record
class View:
    """What the templates see; `counts` says whether taps are counted, within `counted`."""

    name: str
    comment: tuple[str, ...]
    parameters: str
    threads: int
    batch: int
    x: Pair
    y: Pair
    channels: int
    pitch: int
    kernel: Pair
    stride: Pair
    dilation: Pair
    starts: tuple[str, str]
    counted: tuple[Pair, Pair]
    counts: bool
    scale: str
    start: str
    joined: str
    unroll: str
    width: int
    limit: str
    each: int
    splits: int
    epilogue: Epilogue
    position: tuple[str, ...]


def offer(task: Task, wish: Wish) -> CudaKernel | None:
    """A kernel for maxima and averages of float32."""
    if task.op != "pool":
        return None
    x, y, tail = task.params[0], task.param("y"), tail_of(task)
    kind = KINDS.get(str(task.option("kind")))
    if kind is None or tail is None or task.windows is None or len(x.shape) > 4:
        return None
    if x.dtype is not DType.F32 or not is_channels_last(x) or max(x.size, y.size) > MOST_ELEMENTS:
        return None
    space = both_axes(y.shape[2:], 1)
    is_plane = space == (1, 1) and covers(task.windows, x)
    pitch, everything = x.layout.within or x.shape[1], (x.shape[0], *space)
    width = 1 if is_plane else gcd(wish.neighbours(x.name), x.shape[1], pitch)
    epilogue = make_epilogue(wish, tail, everything, x.shape[1], width)
    if not epilogue.is_vector:
        width = 1
        epilogue = make_epilogue(wish, tail, everything, x.shape[1], 1)
    if not epilogue.is_vector:
        return None
    splits = _splits(x, wish.multiprocessors) if is_plane else 1
    view = _view(task, x, kind, epilogue, wish, splits if is_plane else None)
    work = prod(space) * x.shape[1] // width
    grid = (ceil_div(x.shape[0] * work, THREADS), 1, 1)
    samples = Samples(0, work, THREADS, takes=wish.takes_samples)
    if is_plane:
        samples = Samples(1, 1, 1)
        grid = (ceil_div(view.channels, 32), view.batch, splits)
    return CudaKernel(
        name=wish.name,
        source=render("global_pool.cu" if is_plane else "pool.cu", view),
        arguments=arguments_of(task, splits),
        grid=grid,
        block=(view.threads, 1, 1),
        shared_bytes=0,
        workspace_bytes=4 * 32 * prod(grid) if splits > 1 else 0,
        counters=grid[0] * grid[1] if splits > 1 else 0,
        samples=samples,
        comment=view.comment[-1],
    )


def covers(windows: Windows, x: Buffer) -> bool:
    """Whether a window is the whole plane, each element once."""
    plain = set(windows.dilation) <= {1} and not any(map(any, windows.pads))
    return plain and windows.kernel == x.shape[2:] and x.shape[0] < 65536


def average(count: int) -> str:
    """What the sum of so many elements is multiplied by; nothing for one."""
    return f"(1.0f / {count}.0f)" if count > 1 else ""


def _splits(x: Buffer, multiprocessors: int) -> int:
    """Blocks that share a plane of 32 channels."""
    pixels, blocks = prod(x.shape[2:]), x.shape[0] * ceil_div(x.shape[1], 32)
    lanes = PLANE_THREADS[pixels >= LARGE_PLANE] // 32
    return max(1, min(pixels // (lanes * EACH_THREAD), 2 * multiprocessors // blocks))


def _view(
    task: Task, x: Buffer, kind: str, epilogue: Epilogue, wish: Wish, splits: int | None
) -> View:
    """What the templates see; `splits` is how many blocks share a plane, None for windows."""
    windows = task.windows
    assert windows is not None
    kernel, stride, dilation = (
        both_axes(each, 1) for each in (windows.kernel, windows.stride, windows.dilation)
    )
    before = both_axes(tuple(first for first, _ in windows.pads), 0)
    space, result = both_axes(x.shape[2:], 1), both_axes(task.param("y").shape[2:], 1)
    counted, is_cut = _counted(windows, space, result, count_pad=bool(task.option("count_pad")))
    is_average = kind == "avg"
    factor = average(prod(kernel)) if is_average else ""
    text = f"{x.shape[0]}x{space[0]}x{space[1]}x{x.shape[1]} -> {result[0]}x{result[1]}"
    reason = f"{splits} blocks for 32 channels" if splits else f"{epilogue.width} channels a thread"
    places = {"pixel": "image" if splits else "position", "n": "image"}
    work = x.shape[0] * prod(result) * x.shape[1] // epilogue.width
    arguments, takes = arguments_of(task, splits or 1), wish.takes_samples and not splits
    return View(
        name=wish.name,
        comment=(f"{text}, {kind} of {kernel[0]}x{kernel[1]}.", reason),
        parameters=launch_parameters(arguments, wish.types, samples=takes),
        threads=PLANE_THREADS[prod(space) >= LARGE_PLANE] if splits else THREADS,
        batch=x.shape[0],
        x=space,
        y=result,
        channels=x.shape[1],
        pitch=x.layout.within or x.shape[1],
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        starts=(plus(-before[0]), plus(-before[1])),
        counted=counted,
        counts=is_average and is_cut,
        scale="scale" if is_average and is_cut else factor,
        start=START[kind],
        joined=JOINED[kind],
        unroll="" if prod(kernel) <= FEW_TAPS else " 1",
        width=epilogue.width,
        limit=limit("WORK", work, x.shape[0], wish),
        each=ceil_div(prod(space), splits or 1),
        splits=splits or 1,
        epilogue=epilogue,
        position=epilogue.position(places),
    )


def _counted(
    windows: Windows, space: Pair, result: Pair, *, count_pad: bool
) -> tuple[tuple[Pair, Pair], bool]:
    """From where to where taps count, for each axis; whether a window reaches beyond that."""
    pads = [(0, 0)] * (2 - len(windows.pads)) + list(windows.pads)
    extents = (windows.kernel, windows.stride, windows.dilation)
    found, is_cut = [], False
    for axis, (k, s, d) in enumerate(zip(*(both_axes(each, 1) for each in extents), strict=True)):
        (before, after), extent = pads[axis], space[axis]
        low, high = (-before, extent + after) if count_pad else (0, extent)
        last = (result[axis] - 1) * s - before + (k - 1) * d
        is_cut |= -before < low or last >= high
        found.append((low, high))
    return (found[0], found[1]), is_cut
