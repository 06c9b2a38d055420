"""Pieces of text that several kernels share."""

from collections.abc import Mapping, Sequence
from math import prod

from cnnc.backends.cuda.kernel import COUNTERS, WORKSPACE
from cnnc.backends.cuda.kernels.epilogue import Epilogue
from cnnc.backends.cuda.kernels.problem import Product
from cnnc.backends.cuda.templates import render
from cnnc.base.record import record
from cnnc.loop.task import Task


def launch_parameters(arguments: Sequence[str], types: Mapping[str, str]) -> str:
    """The parameters of a kernel: floats that are read, but for `y`, and what `types` names."""
    made = []
    for name in arguments:
        if name == COUNTERS:
            made.append(f"unsigned *{name}")
        elif name == WORKSPACE:
            made.append(f"float *{name}")
        elif name == "y":
            made.append(f"{types.get(name, 'float')} *__restrict__ {name}")
        else:
            made.append(f"const {types.get(name, 'float')} *__restrict__ {name}")
    return ", ".join(made)


def picked(name: str, values: Sequence[int]) -> str:
    """The value at a position that is known when the kernel runs."""
    *rest, last = values
    tests = [f"{name} == {position} ? {value} : " for position, value in enumerate(rest)]
    return "".join(tests) + str(last)


def position_lines(problem: Product, epilogue: Epilogue) -> tuple[str, ...]:
    """What names position `m` of the matrix product: `pixel`, and n, oh, ow as far as needed."""
    rows, columns = problem.phases
    if rows * columns == 1:
        values = {"n": "m / (OUT_H * OUT_W)", "oh": "m / OUT_W % OUT_H", "ow": "m % OUT_W"}
        lines = [f"const int {each} = {values[each]};" for each in values if each in epilogue.needs]
        return ("const int pixel = m;", *lines)
    lines = [
        "const int n = m / (GRID_H * GRID_W);",
        f"const int oh = m / GRID_W % GRID_H * {rows} + phase_h;",
        f"const int ow = m % GRID_W * {columns} + phase_w;",
        "if (oh >= OUT_H || ow >= OUT_W) continue;",
        "const int pixel = (n * OUT_H + oh) * OUT_W + ow;",
    ]
    return tuple(lines)


def arguments_of(task: Task, splits: int) -> tuple[str, ...]:
    """What a kernel takes: the task's buffers, and where partial sums are kept."""
    return (*(each.name for each in task.params), *((WORKSPACE, COUNTERS) if splits > 1 else ()))


def inside_test(problem: Product, *, has_rest: bool) -> str:
    """Whether part `part` of the sum of row `i` of a thread lies in x."""
    rows, columns = problem.is_padded
    tests = ["part < TAPS * TAP_PARTS"] * has_rest
    tests.append("static_cast<unsigned>(top[i] + down) < H" if rows else "top[i] >= 0")
    tests += ["static_cast<unsigned>(left[i] + right) < W"] * columns
    return " && ".join(tests)


def describe(problem: Product, x_bytes: int, weight_bytes: int) -> str:
    """Shapes, operations and bytes in one line."""
    (h, w), (oh, ow), (kh, kw) = problem.x, problem.y, problem.kernel
    moved = problem.batch * h * w * problem.channels * x_bytes
    moved += problem.depth * problem.filters * prod(problem.phases) * weight_bytes
    moved += problem.batch * oh * ow * problem.filters * x_bytes
    return (
        f"{problem.batch}x{h}x{w}x{problem.channels} -> "
        f"{problem.batch}x{oh}x{ow}x{problem.filters}, {kh}x{kw} taps: "
        f"{2e-6 * problem.macs:.4g} MFLOP, {1e-3 * moved:.4g} kB."
    )


@record
class SplitView:
    """What the template of joining sees: `value` is sum number v of a thread."""

    splits: int
    values: str
    value: str


def join_splits(splits: int, values: str, value: str) -> str:
    """Text that lets only the last block of a tile pass, with all sums."""
    return render("join_splits.cu", SplitView(splits, values, value))
