"""docs/language.md: examples compile, promised names exist, the table of codes is whole."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cnnc.base.errors import CODES
from cnnc.base.source import SourceFile
from cnnc.frontend.load import Choices, load_text
from cnnc.frontend.parse import parse

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "language.md").read_text(encoding="utf-8")
LIBRARY = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = re.findall(r"^```cnn\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
PROMISED = re.compile(r"[\w.]+\.(?:weight|bias|mean|var)\b")


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: re.findall(r"net (\w+)", text)[0])
def test_examples_compile(text: str) -> None:
    """Every net, without a warning; weights are bound where no file is needed."""
    source = SourceFile("language.md", text)
    promised = set(PROMISED.findall(" ".join(re.findall(r"#.*", text))))
    for net in parse(source).nets:
        named = Choices(net=net.name.text, with_weights=False, import_path=(LIBRARY,))
        loaded = load_text(source, None, named)
        if 'weights "' not in text:
            load_text(source, None, replace(named, with_weights=True))
        assert [str(each) for each in loaded.warnings] == []
        promised -= {node.name for node in loaded.graph.nodes}
    assert not promised


def test_there_are_examples() -> None:
    """The pattern finds them."""
    assert len(EXAMPLES) >= 12


def test_the_table_of_codes_is_whole() -> None:
    """Each code with its title, in order."""
    assert re.findall(r"^\| ([EW]\d{4}) \| (.*) \|$", TEXT, re.MULTILINE) == [*CODES.items()]


def test_links_lead_somewhere() -> None:
    """The table of contents names the headings."""
    headings = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings]
    assert re.findall(r"^- \[.*\]\(#(.*)\)$", TEXT, re.MULTILINE) == anchors
