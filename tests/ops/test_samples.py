"""What every operator promises, on all of its samples."""

import numpy as np
import pytest

from cnnc.ops.spec import Leaf, find, operators
from tests.ops.cases import CASES, Case, stored
from tests.ops.evaluate_loops import run_loops

UNIT = 2.0**-24
every_case = pytest.mark.parametrize("case", CASES, ids=str)


@every_case
def test_infer_and_reference_agree_on_the_shape(case: Case) -> None:
    result = case.op.infer(*case.types)
    value = case.op.reference(*case.operands)
    assert value.shape == result.shape
    assert value.dtype == (np.float64 if result.dtype.is_float else result.dtype.numpy)


@every_case
@pytest.mark.parametrize("halo", [False, True], ids=["tested", "halo"])
def test_loops_compute_the_reference(case: Case, halo: bool) -> None:
    whole = any(operand.dtype.kind != "f" for operand in case.operands)
    operands = [stored(operand) if whole else operand for operand in case.operands]
    value = run_loops(case.op, operands, halo=halo)
    exact = case.op.reference(*case.operands)
    # What becomes floating point here does so as f32.
    rtol = {np.float64: 1e-12, np.float32: 8 * UNIT}.get(value.dtype.type, 0.0)
    atol = rtol * np.abs(exact).max() if value.dtype == np.float32 else rtol / 10
    np.testing.assert_allclose(value, exact, rtol=rtol, atol=atol)


@every_case
def test_float32_stays_within_the_error_bound(case: Case) -> None:
    exact = case.op.reference(*case.operands)
    value = run_loops(case.op, [stored(operand) for operand in case.operands])
    error = np.abs(value.astype(np.float64) - exact.astype(np.float64))
    bound = case.op.error(UNIT, exact, case.operands, [np.zeros(x.shape) for x in case.operands])
    assert bound.shape == exact.shape
    assert value.dtype == case.op.infer(*case.types).dtype.numpy
    assert np.all(error <= bound)
    if error.size >= 30:
        rounding = UNIT * np.abs(exact).mean()
        assert bound.mean() <= 1000 * error.mean() + rounding, "too loose to find a bug"


@every_case
@pytest.mark.parametrize("size", [1e-6, 1e-2, 1.0])
def test_errors_of_operands_stay_within_the_error_bound(case: Case, size: float) -> None:
    rng = np.random.default_rng(5)
    count = len(case.operands) - len(case.parameters)
    errors = [
        size * rng.uniform(0, 1, x.shape)
        if position < count and x.dtype.kind == "f"
        else np.zeros(x.shape)
        for position, x in enumerate(case.operands)
    ]
    exact = case.op.reference(*case.operands)
    bound = case.op.error(0.0, exact, case.operands, errors)
    for signs in rng.choice([-1.0, 1.0], (5, 1)):
        moved = [
            x + signs * error if x.dtype.kind == "f" else x
            for x, error in zip(case.operands, errors, strict=True)
        ]
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.abs(case.op.reference(*moved).astype(np.float64) - exact.astype(np.float64))
        assert np.all((off <= bound * (1 + 1e-9) + 1e-12) | np.isposinf(bound))


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if c.operands[0].shape[0] > 1 and not c.op.mixes_batch(*c.types)],
    ids=str,
)
def test_samples_do_not_mix_unless_said(case: Case) -> None:
    batch, count = case.operands[0].shape[0], len(case.operands) - len(case.parameters)
    changed = [
        np.concatenate([x[:1], x[1:] + 1]) if place < count and x.shape[0] == batch else x
        for place, x in enumerate(case.operands)
    ]
    out = case.op.reference(*case.operands)
    assert out.shape[0] == batch
    assert np.array_equal(case.op.reference(*changed)[0], out[0])


@every_case
def test_attributes_survive_the_language(case: Case) -> None:
    attributes = case.op.attributes()
    values = {a.name: a.kind.unparse(getattr(case.op, a.name)) for a in attributes}
    assert type(case.op).make(values) == case.op


@every_case
def test_parameters_have_a_layout_each(case: Case) -> None:
    blocking = case.op.blocking(16, *case.types)
    layouts = case.op.packing(blocking.reads[0], blocking.writes, *case.types)
    assert len(layouts) == len(case.parameters)
    for layout, spec in zip(layouts, case.parameters, strict=True):
        assert layout.rank == spec.type.rank


@every_case
def test_macs_are_counted(case: Case) -> None:
    assert case.op.macs(case.op.infer(*case.types), *case.types) >= 0


@pytest.mark.parametrize("operator", list(operators()), ids=lambda each: each.name)
def test_operators_explain_themselves(operator: type) -> None:
    assert find(operator.name) is operator
    # A dataclass without a docstring gets its signature for one.
    assert operator.__doc__
    assert not operator.__doc__.startswith(f"{operator.__name__}(")
    assert all(attribute.doc for attribute in operator.attributes())
    names = {type(sample.op) for sample in operator.samples()}
    assert names == (set() if issubclass(operator, Leaf) else {operator})  # a leaf computes nothing
