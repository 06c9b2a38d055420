"""Lines of C in blocks."""

from collections.abc import Iterator
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
    while len(pad) + len(line) > WIDTH:
        room = WIDTH - len(pad)
        cut = max(line.rfind(mark, 0, room) + len(mark) - 1 for mark in (", ", " = "))
        if cut <= 0:
            cut = max((line.rfind(mark, 0, room) for mark in (" + ", " - ", " * ")), default=-1)
        if cut <= 0:
            break
        yield pad + line[:cut].rstrip()
        line = line[cut:].lstrip()
        if first:
            pad, first = f"{pad}    ", False
    yield pad + line


def comment(lines: list[str]) -> list[str]:
    """Lines as one comment."""
    safe = [line.replace("*/", "* /").replace("/*", "/ *") for line in lines]
    if len(safe) == 1:
        return [f"/* {safe[0]} */"]
    return [f"/* {safe[0]}", *(f" * {line}" for line in safe[1:-1]), f" * {safe[-1]} */"]
