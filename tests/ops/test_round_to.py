"""Rounding to narrower types against NumPy's float16 and ml_dtypes' bfloat16, over all patterns."""

import ml_dtypes
import numpy as np
import pytest

import cnnc

TEXT = """
cnn 1
net narrow {
  input x: TYPE[N, 16]
  output half = x -> round_to(f16)
  output brain = x -> round_to(bf16)
}
"""
NARROW = {"half": np.dtype(np.float16), "brain": np.dtype(ml_dtypes.bfloat16)}


def patterns(dtype: str) -> np.ndarray:
    """Every number of both types, what lies half-way between neighbours, and beside that."""
    bits = np.arange(2**16, dtype=np.uint16)
    found = []
    for narrow in NARROW.values():
        with np.errstate(all="ignore"):
            own = np.sort(bits.view(narrow).astype(np.float64))
            own = own[np.isfinite(own)]
            middle = (own[1:] + own[:-1]) / 2
            wide = np.concatenate([own, middle]).astype(dtype)
            beside = [np.nextafter(wide, np.array(end, dtype)) for end in (np.inf, -np.inf)]
            found += [wide, *beside]
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 65519.996, 65520, 3.4e38, 1e-45], dtype)
    every = np.concatenate([*found, special])
    return np.resize(every, (-(-len(every) // 16), 16))


@pytest.mark.parametrize("backend", ["reference", "native", "c"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_number_and_every_tie(dtype: str, backend: str) -> None:
    kind = {"float32": "f32", "float64": "f64"}[dtype]
    x = patterns(dtype)
    model = cnnc.load_text(TEXT.replace("TYPE", kind), batch=len(x))
    found = model.compile(backend=backend)(x)
    for name, narrow in NARROW.items():
        with np.errstate(all="ignore"):
            # NumPy rounds float64 to float16 once; ml_dtypes goes by way of float32
            exact = x.astype(narrow).astype(dtype)
        if (name, dtype) == ("brain", "float64"):
            once = x == x.astype(np.float32).astype(np.float64)
            once |= np.isnan(x)
        else:
            once = np.ones(x.shape, np.bool_)
        np.testing.assert_array_equal(found[name][once], exact[once])
        np.testing.assert_array_equal(np.signbit(found[name][once]), np.signbit(exact[once]))


def test_float64_is_rounded_once() -> None:
    """Just above half-way: by way of float32 it would be half-way, and go to the even number."""
    x = np.full((1, 16), 1 + 2.0**-8 + 2.0**-40)
    found = cnnc.load_text(TEXT.replace("TYPE", "f64")).compile()(x)
    assert (found["brain"] == 1 + 2.0**-7).all()
