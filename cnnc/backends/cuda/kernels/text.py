"""Pieces of text that several kernels share."""

from collections.abc import Mapping, Sequence

from cnnc.backends.cuda.kernel import COUNTERS, WORKSPACE
from cnnc.backends.cuda.kernels.epilogue import Epilogue
from cnnc.backends.cuda.kernels.problem import Product


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
