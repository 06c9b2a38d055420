"""Every operator × sample in float64: nothing is computed in float32 on the way."""

from zlib import crc32

import numpy as np
import pytest

from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.targets import runs_here
from cnnc.base.dtype import DType
from cnnc.base.target import Target
from cnnc.ir.evaluate import round_to, widen
from cnnc.ir.graph import Array
from tests.backends.compilers import NATIVE, C
from tests.backends.machines import SCALAR, machine
from tests.backends.support import lowered
from tests.ops.doubles import DOUBLES, SAMPLES, UNIT, Double
from tests.ops.evaluate_loops import run_loops

SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-310, -1e-310, 1e90, -1e90, 709.5, -745.0)
BACKENDS = [
    (INTERP, "x86-64", DOUBLES),
    (NATIVE, "native", DOUBLES),
    (NATIVE, "x86-64", DOUBLES[::4]),
    (NATIVE, SCALAR, DOUBLES[1::4]),
    (C, "native", DOUBLES[2::5]),
]
RUNS = [
    pytest.param(case, backend, name, id=f"{backend.name}-{name}-{case}")
    for backend, name, cases in BACKENDS
    for case in cases
]
STEPS = ("round", "round_to", "floor", "ceil", "sign")
"""Functions with the same result for many operands."""
SENSITIVE = [
    each
    for each in SAMPLES
    if each.result.dtype is DType.F64 and each.op.name not in STEPS and max(each.result.shape) > 1
]


def computed(case: Double, data: list[Array], backend: Backend, target: Target) -> Array:
    """The operator as a network, through a backend."""
    program = lowered(case.graph, target).program
    out = np.full(case.result.shape, 12345).astype(case.result.dtype.numpy)
    backend.compile(program, target, 1).run([np.ascontiguousarray(x) for x in data], [out])
    return out


def assert_close(case: Double, out: Array, operands: list[Array]) -> None:
    """The result is the reference's within twice the error bound: both round."""
    wide = [widen(each) for each in operands]
    with np.errstate(all="ignore"):
        exact = case.op.reference(*wide)
        unit = UNIT if case.result.dtype is DType.F64 else case.result.dtype.unit_roundoff
        bound = 2 * case.op.error(unit, exact, wide, [np.zeros(x.shape) for x in wide])
        rounded = round_to(exact, case.result.dtype)
    assert (out.shape, out.dtype) == (rounded.shape, rounded.dtype)
    if rounded.dtype.kind != "f":
        np.testing.assert_array_equal(out, rounded)
        return
    finite = np.isfinite(rounded) & np.isfinite(bound)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(rounded))
    infinite = np.isinf(rounded)
    np.testing.assert_array_equal(out[infinite], rounded[infinite])
    tiny = 2 * np.finfo(rounded.dtype).tiny
    wrong = np.abs(out[finite] - exact[finite]) > bound[finite] + tiny
    assert not wrong.any(), (out[finite][wrong][:5], exact[finite][wrong][:5], bound[finite][wrong])


def target_of(name: str, backend: Backend) -> Target:
    """The target, if this machine runs it."""
    target = machine(name)
    if backend is NATIVE and not runs_here(target):
        pytest.skip(f"this machine does not run {name} code")
    return target


@pytest.mark.parametrize(("case", "backend", "name"), RUNS)
def test_operator_agrees_with_reference(case: Double, backend: Backend, name: str) -> None:
    target = target_of(name, backend)
    out = computed(case, list(case.operands[: case.data]), backend, target)
    assert_close(case, out, list(case.operands))


@pytest.mark.parametrize(("case", "backend", "name"), RUNS[: 2 * len(DOUBLES)])
def test_special_values_come_out_as_in_the_reference(
    case: Double, backend: Backend, name: str
) -> None:
    rng = np.random.default_rng(crc32(str(case).encode()))
    operands = list(case.operands)
    for place in range(case.data):
        if operands[place].dtype == np.float64:
            flat = operands[place].copy().ravel()
            chosen = rng.random(flat.size) < 0.25
            chosen[rng.integers(flat.size)] = True
            flat[chosen] = rng.choice(SPECIAL, size=chosen.sum())
            operands[place] = flat.reshape(operands[place].shape)
    out = computed(case, operands[: case.data], backend, target_of(name, backend))
    assert_close(case, out, operands)


@pytest.mark.parametrize("case", DOUBLES, ids=str)
def test_loops_compute_the_reference(case: Double) -> None:
    assert_close(case, run_loops(case.op, case.operands), list(case.operands))


@pytest.mark.parametrize("case", SENSITIVE, ids=str)
def test_operands_rounded_to_float32_are_found(case: Double) -> None:
    """What computes in float32 on the way does no better."""
    narrow = [
        x.astype(np.float32).astype(np.float64) if x.dtype == np.float64 else x
        for x in case.operands
    ]
    result = run_loops(case.op, narrow)
    with pytest.raises(AssertionError):
        assert_close(case, result, list(case.operands))
