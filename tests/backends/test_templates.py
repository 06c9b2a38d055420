"""Templates of the backends: each says on its first line which view it takes."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(
    path
    for room in ("c", "native", "standalone")
    for path in (ROOT / "templates" / room).rglob("*.j2")
)
VIEWS = {
    name
    for room in ("backends", "standalone")
    for path in (ROOT / "cnnc" / room).rglob("*.py")
    for name in re.findall(r"^class (\w*View)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
}
LONGEST = 64


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_the_first_line_names_the_view(path: Path) -> None:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    found = re.match(r"(?:; |\{# )k: (\w+)\b", first)
    assert found, first
    assert found[1] in VIEWS


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_of_c_are_short(path: Path) -> None:
    if path.is_relative_to(ROOT / "templates" / "c"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST
