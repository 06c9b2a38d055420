"""Lines of C, and the operator by operator writer of bodies."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import singledispatch

from peers.unsupported import UnsupportedError

from cnnc.base.layout import Shape
from cnnc.ir.graph import Node


class Body:
    """The lines of a function, as deep as its loops."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._depth = 1

    def say(self, *lines: str) -> None:
        """Lines at this depth."""
        self.lines += ["  " * self._depth + line for line in lines]

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """What stands in braces behind a head."""
        self.say(f"{head} {{")
        self._depth += 1
        yield
        self._depth -= 1
        self.say("}")

    @contextmanager
    def loops(self, names: Sequence[str], extents: Sequence[int]) -> Iterator[None]:
        """Loops in each other, the first outermost."""
        if not names:
            yield
            return
        name = names[0]
        with (
            self.block(f"for (int {name} = 0; {name} < {extents[0]}; {name}++)"),
            self.loops(names[1:], extents[1:]),
        ):
            yield


@singledispatch
def emit(op: object, node: Node, body: Body) -> None:
    """Write what an operator does: from arrays `x0`, `x1`, … to `y`, in the shapes of the graph."""
    raise UnsupportedError.operator(node, "the writer of plain loops")


def shape_of(node: Node, operand: int = 0) -> Shape:
    """The shape of an operand, as `array` declares it."""
    return node.inputs[operand].type.shape


def array(name: str, shape: Shape) -> str:
    """A declarator. What has no axes is an array of one element."""
    return name + "".join(f"[{extent}]" for extent in shape or (1,))


def element(name: str, index: Sequence[str | int]) -> str:
    """An element of an array."""
    return name + "".join(f"[{part}]" for part in index or (0,))


def indices(letter: str, count: int) -> list[str]:
    """Names of as many loops."""
    return [f"{letter}{axis}" for axis in range(count)]


def literal(value: float) -> str:
    """A number in C."""
    return f"{float(value)!r}f"
