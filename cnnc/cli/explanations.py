"""What is said about each code: docs/errors.md, which a wheel carries."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cnnc.base.resources import read_resource

PAGE = "errors.md"
PROGRAM = "net.cnn"
"""What a program is saved as, if nothing else is said."""
_SECTION = re.compile(
    r"^## (?P<code>[EW]\d{4})\n(?P<body>.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE
)
_BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```\n", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A part of an example.

    `cnn` is a program, saved as `file`; `python` is run; `console` holds commands behind `$ `;
    `text` is what cnnc says about the wrong one before it.
    """

    language: str
    text: str
    is_wrong: bool = False
    file: str = PROGRAM


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a code means, and an example: what is wrong, what cnnc says, what is right."""

    code: str
    prose: str
    blocks: tuple[Block, ...]


def explanations() -> Mapping[str, Explanation]:
    """All explanations by code, in order."""
    page = read_resource("docs", PAGE)
    found = (_explanation(match["code"], match["body"]) for match in _SECTION.finditer(page))
    return {each.code: each for each in found}


def _explanation(code: str, body: str) -> Explanation:
    return Explanation(code, _BLOCK.sub("", body).strip(), tuple(_blocks(body)))


def _blocks(body: str) -> Iterator[Block]:
    for match in _BLOCK.finditer(body):
        language, *words = match["info"].split()
        names = [word for word in words if word != "wrong"]
        yield Block(language, match["text"], "wrong" in words, *names)
