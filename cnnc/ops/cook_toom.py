"""Short convolutions with few multiplications: the transforms of Winograd's algorithms.

F(m, r) computes m neighbouring results of a correlation with r taps from m + r - 1 products,
y = A^T ((G g) * (B^T d)), for Cook and Toom's choice of points (S. Winograd, "Arithmetic Complexity
of Computations", 1980; A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks",
CVPR 2016). The points decide about rounding errors (B. Barabasz and others, "Error Analysis and
Improving the Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 46, 2020); those
below have few bits, so that every entry of A and B is exact in float32.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.record import record
from cnnc.loop.expr import Const, Expr, Fma

PAIRS = {4: (1.0,), 6: (0.625, 1.5), 8: (0.5, 1.0, 1.75)}
"""By how many products there are: points p that stand for p and -p; 0 and infinity are points too.

A single product is that of an axis which is left as it is, with one tap.
"""

Matrix = NDArray[np.float64]
Values = dict[tuple[int, ...], Expr]
Name = Callable[[Expr], Expr]


@record
class CookToom:
    """A^T [m, n], G [n, r] and B^T [n, n] of F(m, r), where n = m + r - 1.

    Rows of B^T and columns of A^T stand in the order 0, p, -p for each pair, infinity.
    """

    output: Matrix
    weight: Matrix
    input: Matrix


@cache
def cook_toom(count: int, taps: int) -> CookToom:
    """The transforms of F(count - taps + 1, taps), which multiplies `count` times."""
    if count == 1:
        return CookToom(*[np.ones((1, 1))] * 3)
    points = [0.0, *(sign * p for p in PAIRS[count] for sign in (1, -1))]
    results = count - taps + 1
    output, weight = np.zeros((results, count)), np.zeros((count, taps))
    inputs = np.zeros((count, count))
    for i, point in enumerate(points):
        others = points[:i] + points[i + 1 :]
        output[:, i] = [point**k for k in range(results)]
        weight[i] = [point**k / np.prod([point - other for other in others]) for k in range(taps)]
        inputs[i, : count - 1] = np.poly(others)[::-1]
    output[-1, -1] = weight[-1, -1] = 1.0
    inputs[-1] = np.poly(points)[::-1]
    return CookToom(output, weight, inputs)


def along(matrix: Matrix, values: Matrix, axis: int) -> Matrix:
    """The matrix times every vector along an axis; zeros meet no infinity.

    Terms are added one by one, so that a sum is not finite just where generated code's is not.
    """
    lines = np.moveaxis(values, axis, 0)
    rows = np.zeros((len(matrix), *lines.shape[1:]), values.dtype)
    for row, factors in zip(rows, matrix, strict=True):
        for line, factor in zip(lines, factors, strict=True):
            if factor:
                row += values.dtype.type(factor) * line
    return np.moveaxis(rows, 0, axis)


def transform_weights(weight: Matrix, counts: Sequence[int], phases: Sequence[int]) -> Matrix:
    """G of so many products applied along each spatial axis.

    [O, I, taps, …] → [O, phases * I, products], where every so manieth tap is of the same phase,
    and taps of a phase are a window of their own, with zeros behind those that have fewer.
    """
    axes = range(weight.ndim - 2)
    # taps first: terms are whole planes, which are read and written in order
    values = np.ascontiguousarray(weight.transpose(*(axis + 2 for axis in axes), 0, 1))
    made = []
    for phase in product(*map(range, phases)):
        part = values[tuple(slice(r, None, s) for r, s in zip(phase, phases, strict=True))]
        for axis in axes:
            taps = -(-values.shape[axis] // phases[axis])
            transforms = cook_toom(counts[axis], taps)
            part = along(transforms.weight[:, : part.shape[axis]], part, axis)
        made.append(part.reshape(-1, *weight.shape[:2]))
    return np.moveaxis(np.concatenate(made, axis=2), 0, -1)


def transform_input(values: Mapping[tuple[int, ...], Expr], name: Name) -> Values:
    """B^T along every axis of a tile of expressions; `name` keeps what is used again."""
    return _transform(values, lambda line, _: _input_line(line, PAIRS[len(line)], name))


def transform_output(
    values: Mapping[tuple[int, ...], Expr], taps: Sequence[int], name: Name
) -> Values:
    """A^T along every axis of a tile of expressions, with so many taps on each."""

    def change(line: Sequence[Expr], axis: int) -> list[Expr]:
        return _output_line(line, PAIRS[len(line)], taps[axis], name)

    return _transform(values, change)


def _transform(
    values: Mapping[tuple[int, ...], Expr], change: Callable[[Sequence[Expr], int], list[Expr]]
) -> Values:
    """A change of lines applied along one axis after the other; single values stay."""
    axes = len(next(iter(values)))
    for axis in range(axes):
        if all(index[axis] == 0 for index in values):
            continue
        sizes = [1 + max(index[other] for index in values) for other in range(axes)]
        changed: Values = {}
        for index in product(*(range(1 if a == axis else size) for a, size in enumerate(sizes))):
            line = [values[_at(index, axis, step)] for step in range(sizes[axis])]
            for step, value in enumerate(change(line, axis)):
                changed[_at(index, axis, step)] = value
        values = changed
    return dict(values)


def _at(index: tuple[int, ...], axis: int, step: int) -> tuple[int, ...]:
    return (*index[:axis], step, *index[axis + 1 :])


def _input_line(d: Sequence[Expr], pairs: Sequence[float], name: Name) -> list[Expr]:
    """B^T d. For p and -p an even part, and p times an odd one that has the same factors."""
    squares = [p * p for p in pairs]
    lines = [name(_weighted(_polynomial(squares), d[0::2][: len(pairs) + 1]))]
    for p in pairs:
        factors = _polynomial([q * q for q in pairs if q != p])
        even = name(_weighted(factors, d[2::2][: len(factors)]))
        odd = name(_weighted(factors, d[1::2][: len(factors)]))
        scale = Const(p, _dtype(d))
        lines += [name(Fma(scale, odd, even)), name(Fma(Const(-p, _dtype(d)), odd, even))]
    return [*lines, name(_weighted(_polynomial(squares), d[1::2][: len(pairs) + 1]))]


def _output_line(m: Sequence[Expr], pairs: Sequence[float], taps: int, name: Name) -> list[Expr]:
    """A^T m. Even rows add the sums of each pair, odd rows its differences."""
    sums = [name(m[1 + 2 * i] + m[2 + 2 * i]) for i in range(len(pairs))]
    differences = [name(m[1 + 2 * i] - m[2 + 2 * i]) for i in range(len(pairs))]
    rows: list[Expr] = []
    last = len(m) - taps
    for power in range(last + 1):
        terms = differences if power % 2 else sums
        start = m[0] if power == 0 else m[-1] if power == last else None
        rows.append(name(_weighted([p**power for p in pairs], terms, start)))
    return rows


def _polynomial(roots: Sequence[float]) -> list[float]:
    """Coefficients of the product of all (x - root), the constant first."""
    return [float(c) for c in np.poly(roots)[::-1]] if len(roots) else [1.0]


def _weighted(factors: Sequence[float], terms: Sequence[Expr], start: Expr | None = None) -> Expr:
    """start + factor * term for each; terms with factor one are added first."""
    total = start
    for factor, term in sorted(zip(factors, terms, strict=True), key=lambda pair: pair[0] != 1):
        if total is None:
            total = term if factor == 1 else Const(factor, term.dtype) * term
        elif factor == 1:
            total = total + term
        else:
            total = Fma(Const(factor, term.dtype), term, total)
    assert total is not None
    return total


def _dtype(line: Sequence[Expr]) -> DType:
    dtype = line[0].dtype
    assert dtype is not None
    return dtype
