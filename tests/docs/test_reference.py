"""The reference of operators says what their classes say."""

import re

from cnnc.ops.spec import operators
from tests.docs.reference import generated, written


def test_the_reference_is_up_to_date() -> None:
    """Every operator, in docs/language.md."""
    assert written() == generated(), "run `python -m tests.docs.reference`"


def test_the_reference_is_whole() -> None:
    """All operators are in it, each once."""
    assert sorted(re.findall(r"^\*\*(\w+)\*\*, ", written(), re.MULTILINE)) == [
        each.name for each in operators()
    ]
