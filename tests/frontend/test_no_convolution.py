"""The warning for a net that is no CNN."""

import pytest

from tests.frontend.helpers import net


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("x -> conv(2, 1)", False),
        ("x -> conv_transpose(2, 2)", False),
        ("x -> relu -> if (true) { conv(2, 1) }", False),
        ("x -> unshared(2, 1)", True),
        ("x -> pool(max, 2)", True),
        ("x -> flatten -> dense(3)", True),
    ],
)
def test_what_counts_as_convolution(body: str, expected: bool) -> None:
    """Layers with one kernel for all positions, wherever they stand."""
    codes = [each.code for each in net(f"  output y = {body}").warnings]
    assert ("W0901" in codes) == expected
