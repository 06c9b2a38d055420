"""Pieces of text that several kernels share."""

from collections.abc import Mapping, Sequence
from math import prod

from cnnc.backends.cuda.kernel import COUNTERS, WORKSPACE, Wish
from cnnc.backends.cuda.kernels.epilogue import Epilogue
from cnnc.backends.cuda.kernels.problem import Product
from cnnc.backends.cuda.templates import render
from cnnc.base.record import record
from cnnc.loop.task import Task


def launch_parameters(
    arguments: Sequence[str], types: Mapping[str, str], *, samples: bool = False
) -> str:
    """The parameters of a kernel: floats that are read, but for `y`, and what `types` names.

    With `samples`, their number is the last one.
    """
    made = []
    for name in arguments:
        if name == COUNTERS:
            made.append(f"unsigned *{name}")
        elif name == WORKSPACE:
            made.append(f"float *{name}")
        elif name == "y":
            made.append(f"{types.get(name, 'float')} *__restrict__ {name}")
        else:
            made.append(f"const {types.get(name, 'float')} *CNNC_READ_ONLY {name}")
    made += ["int samples"] * samples
    line = ", ".join(made)
    return line if len(line) <= 40 else "\n    " + ",\n    ".join(made)


def limit(name: str, total: int, batch: int, wish: Wish) -> str:
    """A name for how much there is to do, for all samples or for those of a run."""
    if wish.takes_samples:
        return f"const int {name} = samples * {total // batch};"
    return f"constexpr int {name} = {total};"


def picked(name: str, values: Sequence[int]) -> str:
    """The value at a position that is known when the kernel runs."""
    *rest, last = values
    tests = [f"{name} == {position} ? {value} : " for position, value in enumerate(rest)]
    return "".join(tests) + str(last)


def position_lines(problem: Product, epilogue: Epilogue) -> tuple[str, ...]:
    """What names position `m` of the matrix product, as far as that is read."""
    (rows, columns), (height, width) = problem.phases, problem.y
    if rows * columns == 1:
        values = {"pixel": "m", "n": f"m / {height * width}"}
        values |= {"oh": f"m / {width} % {height}", "ow": f"m % {width}"}
        return epilogue.position(values)
    lines = (
        f"const int oh = m / GRID_W % GRID_H * {rows} + phase_h;",
        f"const int ow = m % GRID_W * {columns} + phase_w;",
        f"if (oh >= {height} || ow >= {width}) continue;",
    )
    image = "m / (GRID_H * GRID_W)"
    values = {"pixel": f"({image} * {height} + oh) * {width} + ow", "n": image}
    return (*lines, *epilogue.position(values))


def arguments_of(task: Task, splits: int) -> tuple[str, ...]:
    """What a kernel takes: the task's buffers, and where partial sums are kept."""
    return (*(each.name for each in task.params), *((WORKSPACE, COUNTERS) if splits > 1 else ()))


def inside_test(problem: Product, *, has_rest: bool) -> str:
    """Whether part `part` of the sum of row `i` of a thread lies in x."""
    rows, columns = problem.is_padded
    tests = [f"part < {prod(problem.kernel)} * TAP_PARTS"] * has_rest
    for axis, (place, taps, width) in enumerate(
        (("tap / KERNEL_W", problem.taps[0], "h"), ("tap % KERNEL_W", problem.taps[1], "w"))
    ):
        if min(taps) < problem.kernel[axis]:
            tests.append(f"{place} < ({picked(f'phase_{width}', taps)})")
    if not (rows or columns):
        tests.append("origin[i] >= 0")
    else:
        tests.append("static_cast<unsigned>(top[i] + down) < H" if rows else "top[i] >= 0")
    tests += ["static_cast<unsigned>(left[i] + right) < W"] * columns
    return " && ".join(tests)


def describe(problem: Product, wish: Wish, weight_bytes: int) -> str:
    """Shapes, operations and bytes in one line."""
    (h, w), (oh, ow), (kh, kw) = problem.x, problem.y, problem.kernel
    moved = problem.batch * h * w * problem.channels * wish.bytes_of("x")
    moved += problem.depth * problem.filters * prod(problem.phases) * weight_bytes
    moved += problem.batch * oh * ow * problem.filters * wish.bytes_of("y")
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
