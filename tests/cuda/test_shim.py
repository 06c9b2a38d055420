"""The stand-in for the CUDA runtime finds what it is there to find."""

import math
import os
import subprocess
from pathlib import Path

import pytest

from cnnc.backends.cuda.prims import HEADER, prims_header
from tests.cuda.shim import SHIM
from tests.tools import require_tool

SOURCE = Path(__file__).with_name("scenarios.cu")


@pytest.fixture(scope="module", params=["assembly", "ucontext"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenarios, with both ways of switching between threads."""
    require_tool("g++", "g++")
    folder: Path = tmp_path_factory.mktemp("shim")
    (folder / HEADER).write_text(prims_header())
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
    if request.param == "ucontext":
        flags.append("-DCNNC_SHIM_UCONTEXT")
    made = folder / "scenarios"
    places = [f"-isystem{SHIM}", f"-I{folder}"]
    command = ["g++", *flags, *places, "-xc++", str(SOURCE), "-o", str(made)]
    subprocess.run(command, check=True)
    return made


def run(program: Path, scenario: str, order: str = "forward") -> subprocess.CompletedProcess[str]:
    """A scenario, threads taking turns in this order."""
    environment = os.environ | {"CNNC_SHIM_ORDER": order}
    command = [str(program), scenario]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def values(program: Path, scenario: str, order: str = "forward") -> list[float]:
    """What each thread wrote."""
    done = run(program, scenario, order)
    status, *words = done.stdout.split()
    assert (done.returncode, status) == (0, "0"), done.stderr
    return [float(word) for word in words]


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled", "shuffled:7"])
def test_barriers_and_shuffles_do_what_they_do_on_a_gpu(program: Path, order: str) -> None:
    assert values(program, "sums", order) == [31.0 - i for i in range(32)]
    found = values(program, "shuffles", order)
    for lane, value in enumerate(found):
        down = lane + 4 if lane % 8 < 4 else lane
        expected = (lane ^ 1) + 100 * down + 10000 * (lane // 8 * 8 + 3) + 1e6 * max(lane - 1, 0)
        assert math.isclose(value, expected, rel_tol=1e-5)


def test_a_thread_that_has_ended_is_not_waited_for(program: Path) -> None:
    found = values(program, "one_ends")
    assert [i for i, value in enumerate(found) if value != 1] == [3]


def test_what_nobody_wrote_is_nan(program: Path) -> None:
    assert all(map(math.isnan, values(program, "unwritten")))


def test_copies_that_nobody_waits_for_are_nan(program: Path) -> None:
    assert all(map(math.isnan, values(program, "not_waited")))


def test_a_missing_barrier_shows_in_some_order(program: Path) -> None:
    orders = ("forward", "reverse", "shuffled")
    assert len({str(values(program, "without_barrier", each)) for each in orders}) > 1


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("some_at_barrier", "threads wait for others that do not come"),
        ("two_barriers", "threads wait at different barriers"),
        ("mixed", "lanes of a warp are at different instructions"),
        ("misaligned", "cp.async misaligned"),
    ],
)
def test_what_hangs_or_faults_on_a_gpu_is_said(program: Path, scenario: str, message: str) -> None:
    done = run(program, scenario)
    assert done.returncode < 0
    assert message in done.stderr
    assert "block (0, 0, 0)" in done.stderr


@pytest.mark.parametrize("scenario", ["beyond", "beyond_shared"])
def test_memory_ends_where_it_ends(program: Path, scenario: str) -> None:
    assert run(program, scenario).returncode < 0


def test_launches_that_a_gpu_refuses_are_refused(program: Path) -> None:
    assert run(program, "too_much_shared").stdout.split()[0] == "1"


def test_an_unknown_order_is_refused(program: Path) -> None:
    assert "CNNC_SHIM_ORDER" in run(program, "sums", "sideways").stderr
