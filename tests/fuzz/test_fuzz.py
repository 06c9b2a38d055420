"""Mutated inputs of every kind; `python -m tests.fuzz KIND COUNT SEED` runs more of them."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from cnnc.base.errors import UserError
from tests.fuzz.targets import KINDS, NONE

ROOT = Path(__file__).resolve().parents[2]
COUNTS = {
    "texts": 9_000,
    "settings": 2_000,
    "weights": 4_000,
    "checks": 2_000,
    "inputs": 4_000,
    "images": 4_000,
    "compiled": 1_000,
    "tunings": 1_000,
}
SEED = 20_260


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_inputs_end_well(kind: str) -> None:
    """Success or a user's error for each; some of both, or the mutations test nothing."""
    command = [sys.executable, "-m", "tests.fuzz", kind, str(COUNTS[kind]), str(SEED)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stdout, ran.stderr[-2000:]
    found = json.loads(ran.stdout)
    for failure in found["failures"]:
        print(failure["error"])
    assert found["failures"] == []
    assert sum(found["outcomes"].values()) == COUNTS[kind]
    assert found["outcomes"]["success"] >= COUNTS[kind] / 200
    assert len(found["outcomes"]) >= 2
    assert ran.returncode == 0


def test_there_are_enough() -> None:
    """Together they are many."""
    assert sum(COUNTS.values()) >= 20_000


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "texts"])
def test_most_inputs_are_sound_before_they_are_mutated(kind: str, tmp_path: Path) -> None:
    """So errors come from the mutations. Texts are not: golden cases of errors are seeds too."""
    run, random, sound = KINDS[kind](tmp_path, NONE), Random(1), 0
    for _ in range(100):
        with suppress(UserError):
            run(random)
            sound += 1
    assert sound >= 50
