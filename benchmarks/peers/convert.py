"""Models for runtimes that read neither ONNX nor Python: made in processes of their own.

What converts would count as the contender's memory otherwise, and may leave threads behind.
"""

import re
import subprocess
from collections.abc import Sequence

from peers.task import Task
from peers.unsupported import UnsupportedError


def run_converter(command: Sequence[str], name: str, task: Task) -> None:
    """Run a program in the task's folder; UnsupportedError with what it said last if it fails."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=task.folder)
    if ran.returncode:
        lines = (ran.stdout + ran.stderr).strip().splitlines()
        named = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
        raise UnsupportedError(" ".join([f"{name} fails to convert:", *(named or lines)[-1:]]))
