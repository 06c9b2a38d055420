"""What the verbs share on a terminal: colour, JSON, progress."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import click

from cnnc.base.report import Json

PATIENCE = 1.0
"""Seconds before a bar appears."""

Progress = Callable[[int, int], None]
"""Called with what is done and how much there is."""


def wants_colour(stream: TextIO) -> bool:
    """Whether to colour what goes there: terminals only, and not against NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def say(text: str = "") -> None:
    """A line for the user, on standard output."""
    click.echo(text)


def remark(text: str) -> None:
    """A line beside the result, on standard error."""
    click.echo(text, err=True)


def print_json(value: Json) -> None:
    """A value as JSON on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """A bar on standard error, where that is a terminal and the work takes longer than a second."""
    if not sys.stderr.isatty():
        yield _silent
        return
    # imported here: most runs are over before a bar would be shown
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True, disable=False) as bar:
        task = bar.add_task(title, total=None, visible=False)
        shown = (0, 0)

        def advance(done: int, total: int) -> None:
            nonlocal shown
            if (done, total) != shown:
                shown = (done, total)
                bar.update(task, completed=done, total=total)

        # not `advance`: the first part of the work may be the longest
        with _after(PATIENCE, lambda: bar.update(task, visible=True)):
            yield advance


@contextmanager
def working(title: str) -> Iterator[None]:
    """A spinner on standard error, under the same conditions, for work of unknown length."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    status = Console(stderr=True).status(title)
    try:
        with _after(PATIENCE, status.start):
            yield
    finally:
        status.stop()


@contextmanager
def _after(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Do it once so many seconds have passed inside, if they do."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _silent(done: int, total: int) -> None:
    pass
