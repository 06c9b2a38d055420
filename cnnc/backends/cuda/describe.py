"""What is said of a layer beside its launch."""

from cnnc.backends.cuda.plan import Launch
from cnnc.loop.expr import Buffer
from cnnc.loop.task import Task


def describe(launch: Launch, number: int) -> tuple[str, ...]:
    """Lines: what the layer is, what it costs, how it runs and why so."""
    kernel = launch.kernel
    x, y, z = kernel.grid
    grid = " × ".join(str(each) for each in (x, y, z) if each > 1) or "1"
    shared = f", {kernel.shared_bytes} bytes shared" if kernel.shared_bytes else ""
    blocks = "block" if grid == "1" else "blocks"
    run = f"{grid} {blocks} of {kernel.threads} threads{shared}"
    tasks = [each.task for each in launch.joined or (launch.loops,) if each.task]
    if not tasks:
        return f"{number}. {launch.layer}", f"   {run}", f"   {kernel.comment}"
    macs = sum(task.macs for task in tasks)
    flops = f"{_count(2 * macs)}FLOP, " if macs else ""
    operators = ", ".join(map(operator, tasks))
    what = f"{number}. {launch.layer}: {operators} to {_tensor(tasks[-1].params[-1])}"
    moved = f"   {flops}{_count(launch.moved_bytes)}B moved; {run}"
    return what, moved, f"   {kernel.comment}"


def title(launch: Launch) -> str:
    """The layer and its operator, in a line."""
    tasks = [each.task for each in launch.joined or (launch.loops,) if each.task]
    return f"{launch.layer}: {', '.join(map(operator, tasks))}" if tasks else launch.layer


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
    return f"{name} with {extras} more operand{'s' * (extras > 1)}" if extras else name


def _bytes(param: Buffer) -> int:
    return param.layout.alone.size(param.shape) * param.dtype.bytes


def _tensor(buffer: Buffer) -> str:
    return f"{buffer.dtype} [{', '.join(map(str, buffer.shape))}]"


def _count(number: int) -> str:
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= scale:
            return f"{number / scale:.3g} {letter}"
    return f"{number} "
