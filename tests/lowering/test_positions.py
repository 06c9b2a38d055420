"""Positions of a map as one row: where that is done, and that the layer stays the same."""

import pytest

from cnnc import driver
from cnnc.compare import diff
from cnnc.compiled import Compiled
from cnnc.loop.parse import parse_kernel
from cnnc.loop.text import print_kernel
from cnnc.lowering.loops import ScheduleError
from cnnc.lowering.positions import join_positions, part_positions
from cnnc.options import Options
from tests.offers.test_offers import net

MAP = """kernel k {{
in x: f32[1, 8, 3, 5]@{layout}
in e: f32[8, 1, 1]
out y: f32[1, 8, 3, 5]
for n in 1 {{ for oc in 8 {{ for oh in 3 {{ for ow in 5 {{
    y[n, oc, oh, ow] = x[n, oc, oh, ow] * e[oc, 0, 0] }} }} }} }} }}"""


def algorithms(body: str, shape: str, target: str = "x86-64-v3") -> list[str]:
    """How the convolutions of a net are computed."""
    lowered, _ = driver.plan(net(body, shape), driver.find_target(target))
    return [each.kernel.origin.algorithm for each in lowered.layers if each.kernel.origin.macs]


def test_rows_become_one_and_rows_again() -> None:
    """Parameters keep their axes."""
    made = parse_kernel(MAP.format(layout="aBcd8b"))
    joined = join_positions(made, ["oh", "ow"], ["kh", "kw"])
    assert "for position in 15" in print_kernel(joined)
    apart = part_positions(joined)
    assert apart.params == made.params
    assert "x[n, oc, position // 5, position % 5]" in print_kernel(apart)


def test_rows_with_a_halo_stay() -> None:
    """The next row does not begin where one ends."""
    made = parse_kernel(MAP.format(layout="aBcd8b+d1:1"))
    with pytest.raises(ScheduleError, match="rows of x"):
        join_positions(made, ["oh", "ow"], [])


@pytest.mark.parametrize(
    ("body", "shape", "is_one"),
    [
        ("x -> conv(64, 1)", "512, 13, 13", True),
        ("x -> conv(512, 1) -> relu", "256, 7, 7", True),
        ("x -> conv(64, 1)", "512, 12, 12", False),
        ("x -> conv(64, 1, stride = 2)", "64, 25, 25", False),
        ("x -> conv(64, 3)", "64, 9, 9", False),
    ],
)
def test_where_rows_are_one(body: str, shape: str, is_one: bool) -> None:
    """Windows of one tap whose width leaves columns over."""
    (found,) = algorithms(body, shape)
    assert ("rows as one" in found) == is_one


def test_what_is_read_with_a_halo_is_written_row_by_row() -> None:
    """The zeros around what the next layer reads stand between the rows."""
    first, _ = algorithms("x -> conv(512, 1) -> conv(64, 3, pad = same)", "256, 7, 7")
    assert "rows as one" not in first


@pytest.mark.parametrize("target", ["native", "x86-64-v3", "x86-64"])
@pytest.mark.parametrize(
    "body",
    [
        "x -> conv(100, 1) -> relu",
        "x + (x -> conv(96, 1) -> tanh)",
        "x -> conv(1000, 1)",
        "x -> conv(96, 3, pad = same) -> conv(72, 1) -> leaky_relu",
    ],
)
def test_layers_stay_the_same(body: str, target: str) -> None:
    """They agree with the reference, with what is fused to them."""
    report = diff(Compiled(net(body, "96, 13, 13"), Options(target=target)))
    assert report.ok, report.format()
