"""What a tuning report says in the end."""

from pathlib import Path

import pytest

from cnnc.tuning.report import TunedLayer, TuneReport


@pytest.mark.parametrize(
    ("best", "default", "warns"),
    [
        ("winograd points=8 rows=2 at_once=32 columns=7", 4, True),
        ("winograd points=8 rows=2 at_once=32 columns=7", 8, False),
        ("winograd points=6 rows=2 at_once=32 columns=7", 4, False),
        ("direct tile=2x1x14", 4, False),
    ],
)
def test_choices_that_round_more_are_said(best: str, default: int, warns: bool) -> None:
    default_choice = f"winograd points={default} rows=4 at_once=32 columns=7"
    layer = TunedLayer(("a",), "conv", default_choice, best, 2e-3, 1e-3, 5, 0.5)
    text = TuneReport("n", Path("n.tune"), 1, (layer,), 0).format()
    assert ("1 of them with tiles of 8 points" in text) == warns
