"""What is going on, on the error stream: a line that moves on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.text import Text


class Progress(Protocol):
    """Told of each step, and of what stays."""

    def step(self, text: str) -> None:
        """Something begins."""
        ...

    def done(self, text: str) -> None:
        """Something worth keeping is finished."""
        ...


class _Plain:
    def step(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    def done(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class _Terminal:
    """One line for what is going on. It moves only when told: no thread wakes up meanwhile."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def step(self, text: str) -> None:
        line = Text(text, style="dim", no_wrap=True, overflow="ellipsis")
        line.truncate(max(1, self._console.width - 1))
        self._clear()
        self._console.print(line, end="")

    def done(self, text: str) -> None:
        self._clear()
        self._console.print(Text(text))

    def _clear(self) -> None:
        self._console.file.write("\r\x1b[2K")


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A progress that fits the error stream."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Plain()
        return
    terminal = _Terminal(console)
    try:
        yield terminal
    finally:
        terminal._clear()
