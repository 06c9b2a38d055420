"""docs/add_an_operator.md and docs/add_a_backend.md are followed to the letter."""

import re
from pathlib import Path

from tests.docs.follow import ROOT, copy_project, follow, run

DOCS = ROOT / "docs"
HOUSE = "$ python -m pytest -q -p no:cacheprovider tests/house/test_layers.py"


def passed(printed: str) -> int:
    """How many tests pytest says have passed."""
    found = re.search(r"(\d+) passed", printed)
    assert found, printed
    return int(found[1])


def test_adding_an_operator(tmp_path: Path) -> None:
    """It is in the language, on two backends, in the tests, in `cnnc ops` and in the reference."""
    copy_project(tmp_path)
    printed = follow(DOCS / "add_an_operator.md", tmp_path)
    described = [text for line, text in printed if line.startswith("$ cnnc ops")]
    assert "squareplus(b = 4.0)" in described[0]
    samples = [text for line, text in printed if "test_samples" in line]
    assert [passed(text) >= 50 for text in samples] == [True, True]
    agreed = [text for line, text in printed if line.startswith("$ cnnc diff")]
    assert len(agreed) == 3
    assert all("agrees with the reference" in text for text in agreed)
    reference = (tmp_path / "docs" / "language.md").read_text(encoding="utf-8")
    assert "**squareplus**" in reference
    assert "**channel_scale**" in reference


def test_adding_a_backend(tmp_path: Path) -> None:
    """It is found by name, agrees with the reference, and passes the operators' samples."""
    copy_project(tmp_path)
    printed = dict(follow(DOCS / "add_a_backend.md", tmp_path))
    assert "agrees with the reference" in printed["$ cnnc diff net.cnn --backend pysource"]
    assert "interp, pysource" in printed["$ cnnc env"]
    assert passed(next(text for line, text in printed.items() if "pytest" in line)) >= 40
    assert passed(run(HOUSE, tmp_path))
