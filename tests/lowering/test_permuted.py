"""Vectors whose lanes come from a few whole ones."""

import pytest

from cnnc.loop.parse import parse_kernel
from cnnc.loop.text import print_kernel
from cnnc.lowering.loops import ScheduleError
from cnnc.lowering.vectors import expand_vectors

EXPANDED = {
    "names are new, and what lies as it is read needs none": (
        "in x: f32[24]\nin x.whole: f32[24]\nout y: f32[24]",
        """for i in 2 { for j in 4 vector {
            y[i * 8 + j] = select((j + 1) % 2 == 0,
                x[i * 8 + (j + 5) // 2], x.whole[i * 4 + j]) } }""",
        """for i in 2 {
            let x.whole_1 = x[i * 8 :+ 4]
            let x.whole_2 = x[i * 8 + 4 :+ 4]
            y[i * 8 :+ 4] = lanes(8, 3, 10, 4 of x.whole_1, x.whole_2, x.whole[i * 4 :+ 4]) }""",
    ),
    "places that depend on a loop around by whole vectors": (
        "in x: f32[8]\nout y: f32[8]",
        "for k in 2 unrolled { for j in 4 vector { y[k * 4 + j] = x[k * 4 + (j + 1) % 4] } }",
        """for k in 2 unrolled {
            let x.whole = x[k * 4 :+ 4]
            y[k * 4 :+ 4] = lanes(1, 2, 3, 0 of x.whole) }""",
    ),
    "an element for all lanes": (
        "in x: f32[8]\nout y: f32[4]",
        "for j in 4 vector { y[j] = select(j % 2 == 0, x[5], x[j]) }",
        """let x.whole = x[4 :+ 4]
        y[0 :+ 4] = lanes(1, 5, 1, 7 of x.whole, x[0 :+ 4])""",
    ),
    "what one statement stores, the next one loads anew": (
        "in x: f32[4]\nout y: f32[4]\nout z: f32[4]",
        "for j in 4 vector { y[j] = x[j // 2] * x[j // 3] z[j] = x[j // 2] }",
        """let x.whole = x[0 :+ 4]
        y[0 :+ 4] = lanes(0, 0, 1, 1 of x.whole) * lanes(0, 0, 0, 1 of x.whole)
        let x.whole_1 = x[0 :+ 4]
        z[0 :+ 4] = lanes(0, 0, 1, 1 of x.whole_1)""",
    ),
}


@pytest.mark.parametrize("name", EXPANDED)
def test_before_and_after(name: str) -> None:
    params, before, after = EXPANDED[name]
    expanded = expand_vectors(parse_kernel(f"kernel k {{\n{params}\n{before}\n}}"))
    expected = parse_kernel(f"kernel k {{\n{params}\n{after}\n}}")
    assert print_kernel(expanded) == print_kernel(expected)
    assert expanded == expected


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("y[j] = x[(i + j) // 2]", "not linear"),
        ("y[j] = x[i * 3 + j // 2]", "not linear"),
        ("y[j] = x[j // 2 + 14]", "not linear"),  # x[12 :+ 6] would end behind it
        ("y[j] = x[j // 2 - 3]", "not linear"),
        ("y[j] = select(j < i, x[j], x[j + 1])", "differs between the lanes"),
        ("y[j] = select(j < 3, x[j], 0.0)", "differs between the lanes"),
        ("y[j] = f32(j // 2)", "not linear"),
        ("y[j // 2] = x[j]", "not linear"),
        ("y[j] = x[j * i]", "not linear"),
        ("y[i] = x[j]", "y does not vary with j"),
    ],
)
def test_lanes_that_are_not_known_are_refused(body: str, why: str) -> None:
    loops = f"for i in 4 {{ for j in 6 vector {{ {body} }} }}"
    text = f"kernel k {{\nin x: f32[17]\nout y: f32[6]\n{loops}\n}}"
    with pytest.raises(ScheduleError, match=why):
        expand_vectors(parse_kernel(text))
