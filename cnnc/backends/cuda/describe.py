"""What is said of a layer beside its launch."""

from cnnc.backends.cuda.plan import Launch
from cnnc.loop.expr import Buffer
from cnnc.loop.task import Task


def describe(launch: Launch, number: int) -> tuple[str, ...]:
    """Two lines: what the layer is, and how it runs."""
    loops, kernel = launch.loops, launch.kernel
    x, y, z = kernel.grid
    grid = " × ".join(str(each) for each in (x, y, z) if each > 1 or (each == x and y == z == 1))
    shared = f", {kernel.shared_bytes} bytes shared" if kernel.shared_bytes else ""
    run = f"{grid} blocks of {kernel.threads} threads{shared}: {kernel.comment}"
    task = loops.task
    if task is None:
        return f"{number}. {launch.layer}", run
    flops = f"{_count(2 * task.macs)}FLOP, " if task.macs else ""
    what = f"{number}. {launch.layer}: {operator(task)} to {_tensor(task.params[-1])}"
    return what, f"   {flops}{_count(launch.moved_bytes)}B moved; {run}"


def title(launch: Launch) -> str:
    """The layer and its operator, in a line."""
    task = launch.loops.task
    return f"{launch.layer}: {operator(task)}" if task else launch.layer


def operator(task: Task) -> str:
    """The operator with its window, and how many operators follow it."""
    windows, parts = task.windows, list[str]()
    if windows:
        parts.append("×".join(map(str, windows.kernel)))
        for name, values, usual in (
            ("stride", windows.stride, 1),
            ("dilation", windows.dilation, 1),
        ):
            if any(value != usual for value in values):
                parts.append(f"{name} {'×'.join(map(str, values))}")
    options = dict(task.options)
    if options.get("groups", 1) != 1:
        parts.append(f"{options['groups']} groups")
    name = f"{task.op}({', '.join(parts)})" if parts else task.op
    extras = sum(param.name[0] == "e" for param in task.params)
    return f"{name} with {extras} more operands" if extras else name


def _tensor(buffer: Buffer) -> str:
    return f"{buffer.dtype} [{', '.join(map(str, buffer.shape))}]"


def _count(number: int) -> str:
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= scale:
            return f"{number / scale:.3g} {letter}"
    return f"{number} "
