"""Whole numbers and truth values in both backends, in vectors and one by one."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.host import host_target
from cnnc.base.dtype import DType
from cnnc.loop.kernel import Place, Port, Program, Region, Step
from cnnc.loop.parse import parse_kernel
from cnnc.loop.text import print_kernel
from cnnc.loop.verify import LoopError, verify_kernel
from cnnc.lowering.lower import flatten_kernel
from tests.backends.compilers import NATIVE, C

Array = NDArray[np.generic]
LIMITS = {dtype: np.iinfo(dtype.numpy.str) for dtype in (DType.I32, DType.I64, DType.U8)}
FLOATS = np.array(
    [
        *(0.0, -0.0, 0.5, -0.5, 2.9999998, -2.9999998, 254.99998, 255.0, 256.0, -1.0, 2.0**24),
        *(2147483520.0, 2.0**31, -(2.0**31), -2147483904.0, 9223371487098961920.0, 2.0**63),
        *(-(2.0**63), 3e38, -3e38, np.inf, -np.inf, np.nan, 1e-45),
    ],
    np.float32,
)
every_backend = pytest.mark.parametrize(
    ("backend", "kind"),
    list(product([INTERP, NATIVE, C], ["vector", "serial"])),
    ids=lambda value: getattr(value, "name", value),
)


def run(backend: Backend, kind: str, value: str, result: DType, *arrays: Array) -> Array:
    """A kernel that computes `value` of a[i], b[i], … for every i."""
    count = len(arrays[0])
    params = [
        f"in {name}: {DType.of(x.dtype)}[{count}]" for name, x in zip("abc", arrays, strict=False)
    ]
    head = "\n".join([*params, f"out y: {result}[{count}]"])
    text = f"kernel k {{\n{head}\nfor i in {count} {kind if kind == 'vector' else ''} {{"
    kernel = parse_kernel(f"{text} y[i] = {value} }} }}")
    assert parse_kernel(print_kernel(kernel)) == kernel
    verify_kernel(kernel)
    flat = flatten_kernel(kernel)
    inputs = tuple(Port(p.name, (count,), p.dtype) for p in flat.params[:-1])
    places = [Place(Region.INPUT, index=number) for number in range(len(arrays))]
    step = Step(0, (*places, Place(Region.OUTPUT)), barrier=False, layer="k")
    port = Port("y", (count,), result)
    program = Program("p", (flat,), (step,), inputs, (port,), (), 0, 0)
    y = np.empty(count, result.numpy)
    backend.compile(program, host_target(), 1).run(list(arrays), [y])
    return y


def pairs(dtype: DType) -> tuple[Array, Array]:
    """All pairs of small and extreme numbers."""
    limits = LIMITS[dtype]
    numbers = {0, 1, 2, 7, 100, int(limits.max), int(limits.max) - 1, int(limits.min)}
    numbers |= {-1, -3, int(limits.min) + 1} if limits.min < 0 else {128, 200}
    both = list(product(sorted(numbers), repeat=2))
    a, b = (np.array(each).astype(dtype.numpy) for each in zip(*both, strict=True))
    return a, b


@every_backend
@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("sign", ["+", "-", "*"])
def test_sums_and_products_wrap(backend: Backend, kind: str, dtype: DType, sign: str) -> None:
    a, b = pairs(dtype)
    found = run(backend, kind, f"a[i] {sign} b[i]", dtype, a, b)
    with np.errstate(over="ignore"):
        expected = {"+": np.add, "-": np.subtract, "*": np.multiply}[sign](a, b)
    np.testing.assert_array_equal(found, expected)


@every_backend
@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("sign", ["<", "<=", "==", "!="])
def test_order_knows_the_sign(backend: Backend, kind: str, dtype: DType, sign: str) -> None:
    a, b = pairs(dtype)
    compare = {"<": np.less, "<=": np.less_equal, "==": np.equal, "!=": np.not_equal}[sign]
    found = run(backend, kind, f"a[i] {sign} b[i]", DType.BOOL, a, b)
    np.testing.assert_array_equal(found, compare(a, b))
    chosen = run(backend, kind, f"select(a[i] {sign} b[i], a[i], b[i])", dtype, a, b)
    np.testing.assert_array_equal(chosen, np.where(compare(a, b), a, b))


@every_backend
@pytest.mark.parametrize("dtype", LIMITS, ids=str)
def test_extremes_and_constants(backend: Backend, kind: str, dtype: DType) -> None:
    a, b = pairs(dtype)
    found = run(backend, kind, f"max(min(a[i], b[i]), 3:{dtype})", dtype, a, b)
    np.testing.assert_array_equal(found, np.maximum(np.minimum(a, b), a.dtype.type(3)))


@every_backend
@pytest.mark.parametrize("dtype", [*LIMITS, DType.F32, DType.F64, DType.BOOL], ids=str)
def test_lanes_change_places(backend: Backend, kind: str, dtype: DType) -> None:
    """Of one vector, and of three, in each of which lanes come from anywhere."""
    a, b, c = (np.arange(8).astype(np.uint8) + 8 * number for number in range(3))
    if dtype is DType.BOOL:
        a, b, c = (each % (3 + number) > 0 for number, each in enumerate((a, b, c)))
    a, b, c = (each.astype(dtype.numpy) for each in (a, b, c))
    i = np.arange(8)
    found = run(backend, kind, "a[(i * 3 + 5) % 8]", dtype, a)
    np.testing.assert_array_equal(found, a[(i * 3 + 5) % 8])
    value = "select(i % 3 == 0, a[7 - i], select(i % 3 < 2, b[i // 2], c[i * 5 % 8]))"
    found = run(backend, kind, value, dtype, a, b, c)
    np.testing.assert_array_equal(
        found, np.where(i % 3 == 0, a[7 - i], np.where(i % 3 < 2, b[i // 2], c[i * 5 % 8]))
    )


@every_backend
def test_truth_values_are_bytes(backend: Backend, kind: str) -> None:
    a = np.array([0, 1, 0, 1, 255, 2], np.uint8).view(np.bool_)
    b = np.array([0, 0, 1, 1, 1, 0], np.bool_)
    assert run(backend, kind, "a[i] and b[i]", DType.BOOL, a, b).tolist() == [0, 0, 0, 1, 1, 0]
    assert run(backend, kind, "a[i] or b[i]", DType.BOOL, a, b).tolist() == [0, 1, 1, 1, 1, 1]
    found = run(backend, kind, "a[i]", DType.BOOL, a)
    assert set(found.view(np.uint8).tolist()) <= {0, 1} or backend is INTERP
    assert run(backend, kind, "f32(a[i])", DType.F32, a).tolist() == [0, 1, 0, 1, 1, 1]


@every_backend
@pytest.mark.parametrize("dtype", LIMITS, ids=str)
def test_floats_become_integers_toward_zero_within_limits(
    backend: Backend, kind: str, dtype: DType
) -> None:
    limits = LIMITS[dtype]
    found = run(backend, kind, f"{dtype}(a[i])", dtype, FLOATS)
    for x, y in zip(FLOATS.tolist(), found.tolist(), strict=True):
        if x != x:
            expected = 0
        elif abs(x) == np.inf:
            expected = limits.max if x > 0 else limits.min
        else:
            expected = min(max(int(x), limits.min), limits.max)
        assert y == expected, x


@every_backend
def test_everything_but_zero_is_true(backend: Backend, kind: str) -> None:
    found = run(backend, kind, "bool(a[i])", DType.BOOL, FLOATS)
    assert found.tolist() == [x != 0 for x in FLOATS.tolist()]
    for dtype in LIMITS:
        a, _ = pairs(dtype)
        assert run(backend, kind, "bool(a[i])", DType.BOOL, a).tolist() == (a != 0).tolist()


@every_backend
@pytest.mark.parametrize(("source", "target"), list(product(LIMITS, LIMITS)), ids=str)
def test_integers_become_narrower_modulo_their_range(
    backend: Backend, kind: str, source: DType, target: DType
) -> None:
    a, _ = pairs(source)
    found = run(backend, kind, f"{target}(a[i])", target, a)
    limits = LIMITS[target]
    span = int(limits.max) - int(limits.min) + 1
    wrapped = [(int(x) - int(limits.min)) % span + int(limits.min) for x in a]
    assert found.tolist() == wrapped


@every_backend
@pytest.mark.parametrize("dtype", LIMITS, ids=str)
def test_integers_become_the_nearest_float(backend: Backend, kind: str, dtype: DType) -> None:
    a, _ = pairs(dtype)
    found = run(backend, kind, "f32(a[i])", DType.F32, a)
    assert found.tolist() == [float(np.float32(int(x))) for x in a]


@every_backend
@pytest.mark.parametrize("dtype", [*LIMITS, DType.F32], ids=str)
def test_indices_become_numbers(backend: Backend, kind: str, dtype: DType) -> None:
    a = np.zeros(20, np.float32)
    found = run(backend, kind, f"{dtype}(i * 3 + 1)", dtype, a)
    assert found.tolist() == [3 * i + 1 for i in range(20)]


def test_whole_numbers_are_not_divided() -> None:
    text = "kernel k {\nin a: i32[4]\nout y: i32[4]\nfor i in 4 { y[i] = a[i] / a[i] } }"
    with pytest.raises(LoopError, match="floating point"):
        verify_kernel(parse_kernel(text))
