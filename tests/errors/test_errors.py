"""Each `.cnn` file here fails, or warns, exactly where and how its comments say.

`# error[E0302]: part of the message` stands on the guilty line; several are joined by `;`, and so
is `help: part of the help`.
"""

import re
from functools import cache
from pathlib import Path

import pytest

from cnnc.base.errors import Diagnostic, UserError
from cnnc.frontend.load import load

CASES = sorted(Path(__file__).parent.glob("*.cnn"))
HELP = re.compile(r"; help: ([^;\n]+)")
MARK = re.compile(r"(error|warning)\[([EW]\d{4})\]: ([^;\n]+)")


@cache
def find_diagnostics(path: Path) -> tuple[Diagnostic, ...]:
    """What loading the file has to say, errors and warnings."""
    try:
        return load(path).warnings
    except UserError as error:
        return error.diagnostics


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_diagnostics_are_where_the_comments_say(path: Path) -> None:
    """All of them, on their lines, and nothing else."""
    expected = [
        (number, severity, code, text.strip())
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1)
        for severity, code, text in MARK.findall(line)
    ]
    found = find_diagnostics(path)
    assert expected, "the file says nothing about what is wrong with it"
    for diagnostic in found:
        assert diagnostic.span is not None
        matching = [
            mark
            for mark in expected
            if mark[:3] == (diagnostic.span.line, diagnostic.severity, diagnostic.code)
            and mark[3] in diagnostic.message
        ]
        assert matching, f"nothing announces {diagnostic}"
        expected.remove(matching[0])
    assert not expected


HELPFUL = [path for path in CASES if HELP.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", HELPFUL, ids=lambda path: path.stem)
def test_help_is_what_the_comments_say(path: Path) -> None:
    """A diagnostic on the line of each `help:` has that text in its help."""
    found = [(each.span and each.span.line, each.help or "") for each in find_diagnostics(path)]
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        for text in HELP.findall(line):
            assert any(at == number and text.strip() in help for at, help in found), (number, found)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_messages_keep_the_house_style(path: Path) -> None:
    """Lowercase, one line, no full stop."""
    for diagnostic in find_diagnostics(path):
        for text in (diagnostic.message, diagnostic.label, diagnostic.help or ""):
            assert not text.endswith(".")
            assert "\n" not in text
            assert not text[:1].isupper() or text[:2].isupper()
