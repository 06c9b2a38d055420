"""Rules from names in a model to paths in a text."""

import pytest

from cnnc.onnx.reroll.renaming import renaming_rules


@pytest.mark.parametrize(
    ("origins", "wanted"),
    [
        ({"a.weight": "a.weight"}, {}),
        ({"y.conv.weight": "c.weight", "y.conv.bias": "c.bias"}, {"c.*": "y.conv.*"}),
        (
            {
                "a.unit.conv.weight": "a.0.conv.weight",
                "a.unit.conv.bias": "a.0.conv.bias",
                "a.down.weight": "a.0.down.weight",
            },
            {"a.0.*": "a.unit.*", "a.0.down.*": "a.down.*"},
        ),
        (
            {
                f"unit.block_{n}_{m}.{inner}": f"1.block.{n}.{m}.{outer}"
                for n, m in ("00", "01", "10", "11")
                for outer, inner in (("weight", "weight"), ("bias", "bias"), ("running_var", "var"))
            },
            {
                "1.block.{a}.{b}.running_var": "unit.block_{a}_{b}.var",
                "1.block.{a}.{b}.{c}": "unit.block_{a}_{b}.{c}",
            },
        ),
        (
            {f"a.{n}.unit.{m}.weight": f"a.{n}.{m}.weight" for n in "0123" for m in ("u", "v")},
            {"{a}.{b}.{c}.{d}": "{a}.{b}.unit.{c}.{d}"},
        ),
        ({"y.conv.weight": "Parameter5"}, {"Parameter5": "y.conv.weight"}),
        (
            {
                f"{layer}.{unit}{each}.weight": f"{layer}.{place}.{each}.weight"
                for layer, unit in (("one", ""), ("two", ""), ("three", "inner."))
                for place in "01"
                for each in (f"conv{place}", f"bn{place}")
            },
            {
                "three.0.*": "three.inner.*",
                "three.1.*": "three.inner.*",
                "{a}.0.*": "{a}.*",
                "{a}.1.*": "{a}.*",
            },
        ),
    ],
)
def test_rules(origins: dict[str, str], wanted: dict[str, str]) -> None:
    """As few as say it all; that they do has been tried with the frontend's own rules."""
    names, rules = renaming_rules(origins)
    assert names == origins
    assert dict(rules).keys() == wanted.keys() or len(rules) <= len(wanted)


def test_what_no_rule_can_say_is_called_by_its_path() -> None:
    """Names that two parameters share, or with signs that patterns read otherwise."""
    names, rules = renaming_rules({"a.weight": "w", "b.weight": "w", "c.weight": 'q"*{x}'})
    assert names == {path: path for path in ("a.weight", "b.weight", "c.weight")}
    assert rules == ()
