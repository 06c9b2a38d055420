"""Names that mean a function on numbers and an operator on tensors: `max`, `sqrt`, `pow`, …"""

import numpy as np
import pytest

from cnnc.base.errors import UserError
from cnnc.ir.evaluate import evaluate
from tests.frontend.helpers import net, operators

X = np.linspace(-2, 2, 192, dtype=np.float32).reshape(1, 3, 8, 8)
SPELLINGS = {
    "max(x, 0.5)": np.maximum(X, 0.5),
    "max(0.5, x)": np.maximum(X, 0.5),
    "x -> max(0.5)": np.maximum(X, 0.5),
    "max { x | x -> neg | 0.5 }": np.maximum(np.abs(X), 0.5),
    "max([x, -x])": np.abs(X),
    "x -> min(1, 0.5)": np.minimum(X, 0.5),
    "x -> abs -> sqrt": np.sqrt(np.abs(X)),
    "sqrt(abs(x))": np.sqrt(np.abs(X)),
    "exp(x) -> log": X,
    "x -> pow(2)": X**2,
    "pow(2, x)": 2.0**X,
    "x ^ 2": X**2,
    "x ^ 3 ^ 1": X**3,
    "2 ^ x": 2.0**X,
    "x ^ -1": 1.0 / X,
    "-x ^ 2": -(X**2),
    "(-x) ^ 2": X**2,
    "2 ^ -x": 2.0**-X,
    "- -x": X,
    "x * max(2, 3) + sqrt(4) + exp(0) + log(1) + pow(2, 3)": X * 3 + 2 + 1 + 0 + 8,
    "x -> positive": np.maximum(X, 0),
    "x -> root": np.sqrt(np.abs(X)),
    "x -> stage(abs)": np.abs(X),
    "x -> largest": np.maximum(np.maximum(X, 0), -X),
}
BLOCKS = """
block positive { max(0) }
block root { abs -> sqrt }
block stage(act) { in -> act }
block largest { k = min(4, 0)
  max(k) -> max(-in) }
"""


@pytest.mark.parametrize("text", SPELLINGS)
def test_spelling(text: str) -> None:
    loaded = net(f"  y = {text}\n  output y", before=BLOCKS)
    result = evaluate(loaded.graph, {"x": X})["y"]
    np.testing.assert_allclose(result, SPELLINGS[text], rtol=1e-6)


def test_signs_are_operators() -> None:
    """A sign before a tensor is `neg`, `^` between tensors is `pow`; the start has a name."""
    loaded = net("  h = max(x, 0) -> relu\n  output y = -h ^ h")
    found = operators(loaded)
    assert found["h.max"] == "max <- x, h.number"
    assert found["h.relu"] == "relu <- h.max"
    assert found["y.pow"] == "pow <- h.relu, h.relu"
    assert found["y.neg"] == "neg <- y.pow"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x -> max", "`max` takes at least 2 tensors, not 1"),
        ("x -> pow(2, 3)", "`pow` takes no attributes, this is one too many"),
        ("-[x, x]", "`-` takes tensors and numbers, not a list"),
        ("+[x, x]", "`+` takes tensors and numbers, not a list"),
        ("x % 2", "`%` does not work on tensors"),
        ("x * max(2)", "`max` takes two numbers or more, not 1"),
        ("x * log(0)", "this has no real result"),
        ("x * log(-1)", "this has no real result"),
        ("x * exp(1000)", "the result is too large"),
        ("x * pow(0, -1)", "division by zero"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        net(f"  output y = {text}")
    assert message in str(caught.value)
