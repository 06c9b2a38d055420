"""The reference of operators in docs/language.md: `python -m tests.docs.reference` writes it."""

from pathlib import Path

import cnnc.ops  # noqa: F401
from cnnc.cli.ops_markdown import reference
from cnnc.ops.describe import operators_by_field

PAGE = Path(__file__).resolve().parents[2] / "docs" / "language.md"
START = "<!-- what follows is written by `python -m tests.docs.reference` -->\n"
END = "<!-- end of what is written by `python -m tests.docs.reference` -->\n"


def written() -> str:
    """The section as the page has it."""
    return PAGE.read_text(encoding="utf-8").partition(START)[2].partition(END)[0]


def generated() -> str:
    """The section as the classes say it."""
    return f"\n{reference(operators_by_field())}\n"


def main() -> None:
    """Put the generated section into the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(before + START + generated() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
