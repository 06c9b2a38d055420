"""docs/errors.md: every code is explained, and its examples fail and succeed as they say."""

import re

import pytest

from cnnc.base.errors import CODES
from cnnc.cli.explanations import Explanation, explanations
from tests.docs.explanations import said

ALL = explanations()


def test_every_code_is_explained() -> None:
    """In the order of the table; each with an example of what is wrong and of what is right."""
    assert list(ALL) == list(CODES), "docs/errors.md: one section for each code"
    for code, explanation in ALL.items():
        assert len(explanation.prose) > 40, code
        assert any(block.is_wrong for block in explanation.blocks), code
        last = explanation.blocks[-1]
        assert not last.is_wrong, code
        assert last.language != "text", code


@pytest.mark.parametrize("explanation", ALL.values(), ids=lambda each: each.code)
def test_examples_do_what_they_say(explanation: Explanation) -> None:
    """The wrong one fails with this code only, where the carets stand; the right one is right."""
    found = said(explanation)
    assert {code for _, codes in found for code in codes} <= {explanation.code}
    shown = [block.text for block in explanation.blocks if block.language == "text"]
    fix = "run `python -m tests.docs.explanations`"
    assert [text + "\n" for text, _ in found] == shown, fix


def test_spans_are_shown() -> None:
    """Where a text is wrong, carets mark the place."""
    for explanation in ALL.values():
        if all(block.language in ("cnn", "text") for block in explanation.blocks):
            for block in explanation.blocks:
                if block.language == "text":
                    assert re.search(r"^ *\| +\^", block.text, re.MULTILINE), explanation.code
