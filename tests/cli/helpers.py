"""Running the command line inside the test's own process."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from cnnc.base.report import Json
from cnnc.cli import run_command

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits"


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended: exit code and what it wrote."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Json]:
        """Standard output as JSON."""
        return cast(dict[str, Json], json.loads(self.out))


class Runner:
    """Calls the command line with texts or paths."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: str | Path, code: int = 0) -> Ended:
        """Run a command; the exit code must be this one."""
        found = run_command([str(arg) for arg in args])
        captured = self._capsys.readouterr()
        assert found == code, captured.err
        return Ended(found, captured.out, captured.err)
