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
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.record import record
from cnnc.loop.expr import Const, Expr, Fma

PAIRS = {4: (1.0,), 6: (1.5, 0.625), 8: (1.75, 0.5, 1.0)}
"""By how many products there are: points p that stand for p and -p; 0 and infinity are points too.

A single product is that of an axis which is left as it is, with one tap. Tiles at an edge that have
fewer results take the first points alone, in the order that rounds least there.
"""

Matrix = NDArray[np.float64]
Values = dict[tuple[int, ...], Expr]
Name = Callable[[Expr], Expr]


@record
class CookToom:
    """A^T [m, n], G [n, r] and B^T [n, n] of F(m, r), where n = m + r - 1.

    Rows of B^T and columns of A^T stand in the order 0, infinity, p, -p for each pair.
    """

    output: Matrix
    weight: Matrix
    input: Matrix


@cache
def cook_toom(count: int, taps: int, used: int = 0) -> CookToom:
    """The transforms of F(count - taps + 1, taps), which multiplies `count` times.

    Or those of fewer results, by as many products less, with the weights of the points that are
    `used`, the first of all: a weight is G g = g(p) / N(p), where N(p) is the product of p - q over
    all other points q. What it lacks of those that are not used, B^T is multiplied by.
    """
    used = used or count
    if count == 1:
        return CookToom(*[np.ones((1, 1))] * 3)
    finite = [0.0, *(sign * p for p in PAIRS[count] for sign in (1, -1))]
    points, unused = finite[: used - 1], finite[used - 1 :]
    results = used - taps + 1
    output, weight = np.zeros((results, used)), np.zeros((used, taps))
    inputs = np.zeros((used, used))
    for i, point in enumerate(points):
        others = points[:i] + points[i + 1 :]
        at = i + (i > 0)  # infinity is the second
        missing = np.prod([point - other for other in unused])
        scale = np.prod([point - other for other in others]) * missing
        output[:, at] = [point**k for k in range(results)]
        weight[at] = [point**k / scale for k in range(taps)]
        inputs[at, : used - 1] = np.asarray(_polynomial(others)) * missing
    output[-1, 1] = weight[1, -1] = 1.0
    inputs[1] = _polynomial(points)
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


def transform_input(
    values: Mapping[tuple[int, ...], Expr],
    counts: Sequence[int],
    name: Name,
    axes: Sequence[int] = (0, 1),
) -> Values:
    """B^T along axes of a tile of expressions; `name` keeps what is used again.

    Of the points that there are, so many on each axis, the tile uses as many as it has values.
    """

    def change(line: Sequence[Expr], axis: int) -> list[Expr]:
        pairs = PAIRS[counts[axis]]
        used = len(line) // 2 - 1
        return _input_line(line, pairs[:used], pairs[used:], name)

    return _transform(values, change, axes)


def transform_output(
    values: Mapping[tuple[int, ...], Expr],
    counts: Sequence[int],
    taps: Sequence[int],
    name: Name,
    axes: Sequence[int] = (1, 0),
) -> Values:
    """A^T along axes of a tile of expressions, with so many taps on each."""

    def change(line: Sequence[Expr], axis: int) -> list[Expr]:
        pairs = PAIRS[counts[axis]][: len(line) // 2 - 1]
        return _output_line(line, pairs, taps[axis], name)

    return _transform(values, change, axes)


def _transform(
    values: Mapping[tuple[int, ...], Expr],
    change: Callable[[Sequence[Expr], int], list[Expr]],
    axes: Sequence[int],
) -> Values:
    """A change of lines applied along one axis after the other; single values stay."""
    rank = len(next(iter(values)))
    for axis in (each for each in axes if each < rank):
        if all(index[axis] == 0 for index in values):
            continue
        sizes = [1 + max(index[other] for index in values) for other in range(rank)]
        changed: Values = {}
        for index in product(*(range(1 if a == axis else size) for a, size in enumerate(sizes))):
            line = [values[_at(index, axis, step)] for step in range(sizes[axis])]
            for step, value in enumerate(change(line, axis)):
                changed[_at(index, axis, step)] = value
        values = changed
    return dict(values)


def _at(index: tuple[int, ...], axis: int, step: int) -> tuple[int, ...]:
    return (*index[:axis], step, *index[axis + 1 :])


def _input_line(
    d: Sequence[Expr], pairs: Sequence[float], unused: Sequence[float], name: Name
) -> list[Expr]:
    """B^T d. For p and -p an even part, and p times an odd one that has the same factors."""
    squares = [p * p for p in pairs]
    factors = [factor * _missing(0.0, unused) for factor in _polynomial(squares)]
    zero = name(_weighted(factors, d[0::2][: len(pairs) + 1]))
    lines = []
    for p in pairs:
        factors = _polynomial([q * q for q in pairs if q != p])
        factors = [factor * _missing(p, unused) for factor in factors]
        even = name(_weighted(factors, d[2::2][: len(factors)]))
        odd = name(_weighted(factors, d[1::2][: len(factors)]))
        scale = Const(p, _dtype(d))
        lines += [name(Fma(scale, odd, even)), name(Fma(Const(-p, _dtype(d)), odd, even))]
    infinity = name(_weighted(_polynomial(squares), d[1::2][: len(pairs) + 1]))
    return [zero, infinity, *lines]


def _missing(point: float, unused: Sequence[float]) -> float:
    """The factors of weights for the points q and -q that are not used: p - q and p + q."""
    return prod(point * point - q * q for q in unused)


def _output_line(m: Sequence[Expr], pairs: Sequence[float], taps: int, name: Name) -> list[Expr]:
    """A^T m. Even rows add the sums of each pair, odd rows its differences."""
    sums = [name(m[2 + 2 * i] + m[3 + 2 * i]) for i in range(len(pairs))]
    differences = [name(m[2 + 2 * i] - m[3 + 2 * i]) for i in range(len(pairs))]
    rows: list[Expr] = []
    last = len(m) - taps
    for power in range(last + 1):
        terms = differences if power % 2 else sums
        ends = [each for each, at in ((m[0], 0), (m[1], last)) if at == power]
        start = ends[0] + ends[1] if len(ends) == 2 else ends[0] if ends else None
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
