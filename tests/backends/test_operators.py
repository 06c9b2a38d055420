"""Every operator × sample × backend against the reference."""

from zlib import crc32

import numpy as np
import pytest

from cnnc.backends.base import Backend
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.backends.native.targets import runs_here
from cnnc.base.target import Target
from tests.backends.compilers import NATIVE
from tests.backends.machines import SCALAR, SMALL, machine
from tests.backends.support import assert_within, run, single
from tests.ops.cases import CASES, Case

SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-41, -1e-41, 1e9, -1e9, 88.8, -103.5)
BACKENDS = [
    pytest.param(INTERP, "x86-64", id="interp"),
    pytest.param(NATIVE, "native", id="native"),
    pytest.param(NATIVE, "x86-64-v3", id="avx2"),
    pytest.param(NATIVE, "x86-64", id="sse2"),
    pytest.param(NATIVE, SCALAR, id="scalar"),
    pytest.param(NATIVE, SMALL, id="small"),
]


def _target(name: str, backend: Backend) -> Target:
    target = machine(name)
    if backend is NATIVE and not runs_here(target):
        pytest.skip(f"this machine does not run {name} code")
    return target


@pytest.mark.parametrize(("backend", "name"), BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator_agrees_with_reference(case: Case, backend: Backend, name: str) -> None:
    target = _target(name, backend)
    split = len(case.operands) - len(case.parameters)
    data, parameters = case.operands[:split], case.operands[split:]
    out = run(single(case.op, data, parameters), data, backend, target)[0]
    assert_within(case.op, out, case.op.reference(*case.operands), case.operands)


@pytest.mark.parametrize(("backend", "name"), BACKENDS[:2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_special_values_come_out_as_in_the_reference(
    case: Case, backend: Backend, name: str
) -> None:
    target = _target(name, backend)
    rng = np.random.default_rng(crc32(str(case).encode()))
    split = len(case.operands) - len(case.parameters)
    data = [sprinkled(value, rng) for value in case.operands[:split]]
    parameters = case.operands[split:]
    out = run(single(case.op, data, parameters), data, backend, target)[0]
    with np.errstate(all="ignore"):
        exact = case.op.reference(*data, *parameters)
    assert_within(case.op, out, exact, [*data, *parameters])


def sprinkled(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The operand with a quarter of its elements replaced by special values; integers stay."""
    if value.dtype.kind != "f":
        return value
    flat = value.copy().ravel()
    chosen = rng.random(flat.size) < 0.25
    chosen[rng.integers(flat.size)] = True
    picked = np.asarray(SPECIAL, np.float32)[rng.integers(len(SPECIAL), size=chosen.sum())]
    flat[chosen] = picked
    return flat.reshape(value.shape)
