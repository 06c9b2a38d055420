"""Lines of C in blocks."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

WIDTH = 100


@dataclass
class Block:
    """Lines inside braces: what must stand first, and what follows, blocks among it."""

    opening: str = ""
    head: list[str] = field(default_factory=list)
    items: list["str | Block"] = field(default_factory=list)

    def lines(self, depth: int) -> Iterator[str]:
        """The block as indented lines that are not too long."""
        pad = "    " * depth
        inner = depth
        if self.opening:
            yield from wrapped(f"{self.opening} {{", pad)
            inner += 1
        for line in self.head:
            yield from wrapped(line, "    " * inner)
        for item in self.items:
            if isinstance(item, Block):
                yield from item.lines(inner)
            else:
                yield from wrapped(item, "    " * inner)
        if self.opening:
            yield f"{pad}}}"


def wrapped(line: str, pad: str) -> Iterator[str]:
    """The line in pieces, the later ones further to the right."""
    first = True
    while len(pad) + len(line) > WIDTH and 0 < (cut := _cut(line, WIDTH - len(pad))) < len(line):
        yield pad + line[:cut].rstrip()
        line = line[cut:].lstrip()
        if first:
            pad, first = f"{pad}    ", False
    yield pad + line


def _cut(line: str, room: int) -> int:
    """Where to break a line: outside of as many parentheses as possible, and not too early."""
    depth, best, at = 0, (0, 0), 0
    for position, mark in enumerate(line[: room + 1]):
        depth += (mark in "([{") - (mark in ")]}")
        follows = line[position + 1 : position + 2] == " "
        if position < room and (
            (mark in ",;" and follows) or line[position : position + 3] == " = "
        ):
            early = position < room // 3
            rank = (-depth - 100 * early - 10 * (mark == " "), position)
            if not at or rank > best:
                best, at = rank, position + (1 if mark in ",;" else 2)
    marks = (" || ", " && ", " + ", " - ", " * ", " ? ", " : ", " | ", "(")
    return at or max(line.rfind(mark, 1, room) + (mark == "(") for mark in marks)


def unused(parameters: Sequence[str], body: Sequence[str]) -> list[str]:
    """Statements for parameters that the lines of a function do not name, so that none warns."""
    used = set(re.findall(r"\w+", re.sub(r"/\*.*?\*/", "", "\n".join(body), flags=re.DOTALL)))
    names = [re.findall(r"\w+", parameter)[-1] for parameter in parameters]
    return [f"    (void){name};" for name in names if name not in used]


def narrow(text: str) -> str:
    """The text of functions with long lines in pieces."""
    lines: list[str] = []
    for line in text.split("\n"):
        bare = line.lstrip()
        if bare.startswith("#") or '"' in bare:
            lines.append(line)
        else:
            lines += wrapped(bare, line[: len(line) - len(bare)])
    return "\n".join(lines)


def comment(lines: list[str]) -> list[str]:
    """Lines as one comment."""
    safe = [
        part
        for line in lines
        for part in textwrap.wrap(
            line.replace("*/", "* /").replace("/*", "/ *"),
            WIDTH - 6,
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
        or [""]
    ]
    if len(safe) == 1:
        return [f"/* {safe[0]} */"]
    return [f"/* {safe[0]}", *(f" * {line}".rstrip() for line in safe[1:-1]), f" * {safe[-1]} */"]
