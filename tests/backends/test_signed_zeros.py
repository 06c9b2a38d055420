"""0.0 and -0.0 are equal numbers, and not the same: what is alike but for them is made twice."""

import numpy as np
import pytest

import cnnc
from cnnc.base.dtype import DType
from cnnc.loop.expr import Const

NET = """cnn 1
net zeros {
  input x: f32[1, 3, 4]
  output a = 1 / (x -> pad(1, constant(0.0)))
  output b = 1 / (x -> pad(1, constant(-0.0)))
  output c = 1 / (x -> leaky_relu(0.0))
  output d = 1 / (x -> leaky_relu(-0.0))
}
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["native", "interp"])
def test_attributes_keep_the_sign_of_zero(backend: str) -> None:
    x = np.array([[[-1, 2, -3, 4], [-0.0, 0, 1, -1], [5, 6, 7, -8]]], np.float32)
    model = cnnc.load_text(NET)
    expected = model.reference({"x": x})
    found = model.compile(backend=backend)({"x": x})
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6)
    assert (found["a"] != found["b"]).any()


def test_constants_of_loops_keep_the_sign_of_zero() -> None:
    assert Const(0.0, DType.F32) != Const(-0.0, DType.F32)
    assert Const(0.0, DType.F32) == Const(0.0, DType.F32)
    assert Const(1.5, DType.F32) == Const(1.5, DType.F32)
    assert hash(Const(0)) == hash(Const(0))
