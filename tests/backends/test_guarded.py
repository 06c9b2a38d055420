"""Random networks in memory that ends where theirs ends; in a process of its own, as it may crash.

`python -m tests.backends.guarded nets native 0 1000` checks a thousand of them.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from cnnc import driver
from tests.ops.cases import CASES
from tests.tools import require_tool

ROOT = Path(__file__).parents[2]
NETWORKS = [
    ("operators", "native", 0, len(CASES)),
    ("operators", "x86-64", 0, len(CASES)),
    ("nets", "native", 1, 100),
    ("nets", "x86-64-v3", 2, 50),
    ("wide", "native", 0, 14),
    ("wide", "x86-64-v3", 100, 6),
    ("wide", "x86-64", 200, 6),
]
"""Every operator alone, random networks of all operators, and wide ones; on which target."""


@pytest.mark.parametrize(("what", "target", "first", "count"), NETWORKS)
def test_networks_stay_inside_their_memory(what: str, target: str, first: int, count: int) -> None:
    if not driver.can_run(driver.find_target(target)):
        pytest.skip(f"this machine does not run {target} code")
    command = ("-m", "tests.backends.guarded", what, target, str(first), str(count))
    _run(*command).check_returncode()


@pytest.mark.parametrize(("what", "first", "count"), [("nets", 3, 12), ("wide", 300, 2)])
def test_what_a_compiler_of_c_makes_stays_inside_its_memory(
    what: str, first: int, count: int
) -> None:
    require_tool("gcc", package="gcc")
    command = ("-m", "tests.backends.guarded", what, "native", str(first), str(count), "c")
    _run(*command).check_returncode()


@pytest.mark.parametrize("at_end", [True, False])
def test_a_step_beyond_the_memory_is_a_crash(at_end: bool) -> None:
    """The guard itself."""
    place = "array.ctypes.data + array.nbytes" if at_end else "array.ctypes.data - 4"
    code = (
        "import ctypes, numpy as np\n"
        "from tests.backends.guarded import guarded\n"
        f"with guarded(np.zeros(5, np.float32), at_end={at_end}) as array:\n"
        "    array.sum()\n"
        "    print('alive', flush=True)\n"
        f"    ctypes.c_float.from_address({place}).value\n"
        "    print('unharmed')\n"
    )
    done = _run("-c", code)
    assert done.stdout == "alive\n"
    assert done.returncode < 0


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in the repository; what it said is shown where it fails."""
    command = [sys.executable, "-X", "faulthandler", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    print(done.stdout[-2000:], done.stderr[-4000:])
    return done
