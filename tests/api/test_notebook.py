"""What a notebook shows: sound HTML, escaped, and text where there is none."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

import cnnc
from cnnc.bench import bench
from cnnc.html import heading_html, table_html, text_html
from cnnc.table import Column, Table

TEXT = """cnn 1
net small { input x: f32[N, 3, 8]
            output y = x -> conv(4, 3, pad = same) -> relu  weights he(seed = 1) }
"""


class Reader(HTMLParser):
    """Checks that elements are closed in order, and collects the cells of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


class Printer:
    """Takes what IPython would print."""

    def __init__(self) -> None:
        self.printed = ""

    def text(self, text: str) -> None:
        """Keep it."""
        self.printed += text


@pytest.fixture(scope="module")
def model() -> cnnc.Model:
    """A small network."""
    return cnnc.load_text(TEXT)


def test_models_and_compiled_networks(model: cnnc.Model) -> None:
    """Their ends, and the table of layers."""
    compiled = model.compile()
    for shown, layers in ((model, model.layers), (compiled, compiled.layers)):
        html = shown._repr_html_()
        rows = Reader(html).rows
        assert "small" in html
        assert "f32[1, 3, 8]" in html
        assert [row[0] for row in rows] == ["layer", *(layer.name for layer in layers), "total"]
        assert len({len(row) for row in rows}) == 1
        assert Reader(layers._repr_html_()).rows == rows


def test_reports(model: cnnc.Model) -> None:
    """Comparison and times: the table and the verdict."""
    compiled = model.compile()
    report, times = cnnc.diff(compiled), bench(compiled, 0.01)
    assert "agrees with the reference" in report._repr_html_()
    assert [row[0] for row in Reader(report._repr_html_()).rows][1:] == [
        layer.name for layer in compiled.layers
    ]
    assert len(Reader(times._repr_html_()).rows) == 1 + len(compiled.layers)
    for shown in (report, times, compiled.layers):
        printer = Printer()
        shown._repr_pretty_(printer, False)
        assert printer.printed == str(shown) == shown.format()


def test_everything_is_escaped() -> None:
    """Names may be anything: no element, attribute or control character gets through."""
    evil = '<script>alert("x")</script>&\x1b[31m'
    table = Table([Column(evil), Column("n", True)], [[evil, "1"]], [evil, ""])
    for html in (table_html(table), heading_html(evil, evil), text_html(evil)):
        assert "<script" not in html
        assert "\x1b" not in html
        assert "&lt;script&gt;" in html
    shown = evil.replace("\x1b", "\N{REPLACEMENT CHARACTER}")
    assert Reader(table_html(table)).rows == [[shown, "n"], [shown, "1"], [shown, ""]]


def test_a_loaded_network_is_shown_like_the_compiled_one(model: cnnc.Model, tmp_path: Path) -> None:
    """The same page."""
    compiled = model.compile()
    path = tmp_path / "small.cnnc"
    compiled.save(path)
    assert cnnc.load_compiled(path)._repr_html_() == compiled._repr_html_()
