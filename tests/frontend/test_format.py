"""`cnnc fmt`: one layout for each program, and never another meaning."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnc.base.errors import UserError
from cnnc.base.source import SourceFile
from cnnc.frontend.formatting.format import format_source
from cnnc.frontend.formatting.markdown import format_markdown
from tests.frontend.programs import (
    COMMENTS,
    FILES,
    PAGES,
    PROGRAMS,
    SPACES,
    relayout,
    repository_programs,
)

CASES = Path(__file__).parent / "layouts"
KNOWN = repository_programs()


def form(text: str) -> str:
    """The canonical layout, which is its own canonical layout.

    That the meaning is the same and no comment is lost is checked by `format_source` itself.
    """
    done = format_source(SourceFile("test.cnn", text))
    assert format_source(SourceFile("test.cnn", done)) == done
    return done


@pytest.mark.parametrize("path", [*FILES, *PAGES], ids=lambda path: path.name)
def test_the_repository_is_formatted(path: Path) -> None:
    """Examples, benchmarks, and the programs in the documentation."""
    source = SourceFile(path.name, path.read_text(encoding="utf-8"))
    form = format_markdown if path.suffix == ".md" else format_source
    assert form(source) == source.text, "run `cnnc fmt` on it"


@pytest.mark.parametrize("text", KNOWN, ids=range(len(KNOWN)))
def test_programs_of_the_repository(text: str) -> None:
    """They format, and neither spaces nor single line ends make a difference."""
    done = form(text)
    assert not re.search(r"[ \t]$", done, re.MULTILINE)
    bare = re.sub(r"#[^\n\"]*$", "", text, flags=re.MULTILINE) if '"' not in text else text
    if "#" not in bare:
        one = form(relayout(bare, [" "]))
        assert one == form(relayout(bare, ["\n"])) == form(relayout(bare, ["\t ", "\n", "  "]))


def test_there_are_programs() -> None:
    """The lists are not empty."""
    assert len(KNOWN) > 50


slow = settings(
    max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@slow
@given(PROGRAMS)
def test_drawn_programs(text: str) -> None:
    """Whatever the grammar allows; what fits is no wider than the page."""
    form(text)


@slow
@given(st.one_of(st.sampled_from(KNOWN), PROGRAMS), st.data())
def test_other_layouts(text: str, data: st.DataObject) -> None:
    """Spaces and line ends at random change nothing but blank lines."""
    gaps = data.draw(st.lists(st.sampled_from(SPACES), min_size=1, max_size=12))
    without = relayout(text, [" "])
    assert squeeze(form(relayout(text, gaps))) == squeeze(form(without))


@slow
@given(st.one_of(st.sampled_from(KNOWN), PROGRAMS), st.data())
def test_comments_anywhere(text: str, data: st.DataObject) -> None:
    """Every comment stays, in order, wherever it stands."""
    choices = st.sampled_from((*COMMENTS, *[" "] * 6, "\n"))
    scattered = relayout(text, data.draw(st.lists(choices, min_size=1, max_size=17)))
    assert comments(form(scattered)) == comments(scattered)


def squeeze(text: str) -> str:
    """The text without blank lines."""
    return re.sub(r"\n+", "\n", text)


def comments(text: str) -> list[str]:
    """The comments in order, as far as strings hold none."""
    bare = re.sub(r'"[^"\n]*"', '""', text)
    return [each.rstrip() for each in re.findall(r"#[^\n]*", bare)]


LAYOUTS = [path.read_text(encoding="utf-8") for path in sorted(CASES.glob("*.txt"))]


@pytest.mark.parametrize("case", LAYOUTS, ids=[path.stem for path in sorted(CASES.glob("*.txt"))])
def test_layouts(case: str) -> None:
    """Golden cases: a program, a rule of dashes, and its layout."""
    before, after = case.split("\n--------\n")
    assert form(before) == after


def test_the_deepest_program() -> None:
    """What the parser takes, the formatter takes."""
    parens = "(" * 55 + "x" + ")" * 55
    braces = "repeat(2) { " * 55 + "relu" + " }" * 55
    powers = "2 ^ " * 110 + "2"
    signs = "- " * 110 + "2"
    for value in (parens, braces, powers, signs, "x -> " + braces):
        form(
            f"cnn 1\nblock b() {{ {value} }}\n"
            if value is braces
            else f"cnn 1\nparam a = {value}\n"
        )


def test_long_programs() -> None:
    """A thousand stages, statements, items and operands; nothing recurses along them."""
    many = 1200
    body = "".join(f"  v{i} = x->relu\n" for i in range(many))
    form(f"cnn 1\nnet n {{ input x : f32[N]\n{body}  output y = v0{' -> relu' * many} }}")
    form(
        f"cnn 1\nparam a = [{', '.join(map(str, range(many)))}]\nparam b = {'+'.join(['1'] * many)}"
    )


def test_what_is_not_in_the_language_is_refused() -> None:
    """With all of its mistakes; the page's lines are counted."""
    with pytest.raises(UserError) as caught:
        format_markdown(SourceFile("page.md", "# Title\n\n```cnn\ncnn 1\nnet n { x\n```\n"))
    (only,) = caught.value.diagnostics
    assert only.span is not None
    assert (only.code, only.span.line) == ("E0103", 5)
