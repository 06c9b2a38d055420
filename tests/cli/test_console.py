"""Bars, spinners and colour: on terminals only, and only when there is something to wait for."""

import io
import sys
import time

import pytest

from cnnc.cli import console


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def become_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error as a terminal; not as a fixture, for pytest replaces it after the set-up."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    return made


def wait_for(text: str, terminal: Terminal) -> None:
    """Two seconds at most."""
    for _ in range(100):
        if text in terminal.getvalue():
            break
        time.sleep(0.02)


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its title shows once the work has taken long enough, even if none of it is done."""
    terminal = become_terminal(monkeypatch)
    monkeypatch.setattr(console, "PATIENCE", 0.0)
    with console.progress("comparing") as advance:
        wait_for("comparing", terminal)
        advance(1, 2)
        wait_for("50%", terminal)
    assert "50%" in terminal.getvalue()


def test_no_bar_for_quick_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a second needs none."""
    terminal = become_terminal(monkeypatch)
    with console.progress("comparing") as advance:
        advance(2, 2)
    assert "comparing" not in terminal.getvalue()


def test_a_spinner_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for work of unknown length."""
    terminal = become_terminal(monkeypatch)
    monkeypatch.setattr(console, "PATIENCE", 0.0)
    with console.working("compiling"):
        wait_for("compiling", terminal)
    assert "compiling" in terminal.getvalue()


def test_nothing_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logs stay clean."""
    monkeypatch.setattr(console, "PATIENCE", -1.0)
    with console.progress("comparing") as advance, console.working("compiling"):
        advance(1, 2)
    assert capsys.readouterr().err == ""


def test_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terminals get it unless NO_COLOR is set."""
    terminal = become_terminal(monkeypatch)
    assert console.wants_colour(terminal)
    assert not console.wants_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not console.wants_colour(terminal)
