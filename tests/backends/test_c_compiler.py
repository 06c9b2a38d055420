"""Compilers that the backend `c` finds, and those that it cannot use: the user's to mend."""

import sys
from pathlib import Path

import numpy as np
import pytest

import cnnc
from cnnc import driver
from cnnc.backends.c import compiler
from cnnc.backends.c.backend import CBackend
from cnnc.backends.c.compiler import compile_library, find_compiler
from cnnc.base.compiler import find_tool, run_tool
from cnnc.base.errors import InternalError, UserError
from tests.backends.compilers import Memory
from tests.backends.test_c import TINY, ends, lower
from tests.tools import require_tool

RIGHT = {"net.c": "int cnnc_right(void) { return 1; }\n"}
WRONG = {"net.c": "this is not C\n"}


def script(folder: Path, text: str, name: str = "cc") -> Path:
    """A program of that name."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def message(error: pytest.ExceptionInfo[UserError]) -> str:
    """All that the error says."""
    (found,) = error.value.diagnostics
    assert found.code == "E0802"
    return "\n".join([found.message, *found.notes, found.help or ""])


@pytest.mark.parametrize("named", ["", " ", "no-such-compiler", "''", 'gcc "', "./cc", "/"])
def test_without_a_compiler_the_error_says_what_to_install(
    named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", str(named))
    with pytest.raises(UserError, match="E0802") as error:
        find_compiler()
    assert "CC" in message(error)


@pytest.mark.parametrize("named", ["false", "true", "echo"])
def test_what_is_no_compiler_is_not_our_mistake(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = require_tool(named, package="coreutils")
    monkeypatch.setenv("CC", str(path))
    program = lower(cnnc.load_text(TINY), target := driver.find_target("native")).program
    with pytest.raises(UserError) as error:
        CBackend(1).compile(program, target, 1, Memory())
    assert f"`{path}`" in message(error)
    assert "CC names it" in message(error)


def test_a_file_that_cannot_be_run_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CC", str(script(tmp_path, "\x7fELF, but no more\n")))
    with pytest.raises(UserError) as error:
        compile_library(RIGHT, "net.c", (), None)
    assert f"`{tmp_path}/cc` cannot be run" in message(error)
    assert "CC names it" in message(error)


def test_what_a_compiler_says_may_be_in_any_encoding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "#!/bin/sh\nprintf '\\377\\351 version\\n'\nprintf 'no \\377\\n' >&2\nexit 3\n"
    monkeypatch.setenv("CC", str(script(tmp_path, text)))
    with pytest.raises(UserError) as error:
        compile_library(RIGHT, "net.c", (), None)
    assert "no \ufffd" in message(error)


def test_a_path_of_this_folder_is_the_same_compiler_in_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gcc = require_tool("gcc", package="gcc")
    script(tmp_path, f'#!/bin/sh\nexec {gcc} "$@"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CC", "./cc -pipe")
    assert find_compiler() == (f"{tmp_path}/cc", "-pipe")
    assert compile_library(RIGHT, "net.c", (), None).startswith(b"\x7fELF")


def test_options_that_a_compiler_lacks_are_not_our_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(require_tool("gcc", package="gcc")))
    with pytest.raises(UserError) as error:
        compile_library(RIGHT, "net.c", ("-march=no-such-machine",), None)
    assert "no-such-machine" in message(error)


def test_a_library_for_another_machine_is_not_our_mistake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho odd > "$2"\n'
    monkeypatch.setenv("CC", str(script(tmp_path, text)))
    program = lower(cnnc.load_text(TINY), target := driver.find_target("native")).program
    with pytest.raises(UserError) as error:
        CBackend(1).compile(program, target, 1, Memory())
    assert "cannot be loaded here" in message(error)
    assert f"`{tmp_path}/cc`" in message(error)


def test_source_that_a_working_compiler_refuses_is_our_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CC", str(require_tool("gcc", package="gcc")))
    with pytest.raises(InternalError, match="refuses what the backend wrote"):
        compile_library(WRONG, "net.c", (), None)


def test_tools_have_a_limit_of_time_and_nothing_to_read(tmp_path: Path) -> None:
    waits = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(UserError, match=r"takes longer than 0\.2 seconds"):
        run_tool(waits, tmp_path, seconds=0.2)
    reads = [sys.executable, "-c", "import sys; print(len(sys.stdin.read()))"]
    assert run_tool(reads, tmp_path).stdout == "0\n"
    fails = [sys.executable, "-c", "import sys; sys.exit('why it fails')"]
    with pytest.raises(UserError, match="ended with status 1") as error:
        run_tool(fails, tmp_path, help="do this")
    assert "why it fails\ndo this" in message(error)


def test_the_first_tool_that_is_there_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script(tmp_path, "", "second")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_tool(("first", "second"), None, needs="this", help="install it")
    assert found == (f"{tmp_path}/second",)
    with pytest.raises(UserError, match="this needs `third`") as error:
        find_tool(("first",), "third", needs="this", help="install it", by="--cc")
    assert "which --cc names" in message(error)


def test_a_store_saves_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """For any number of threads."""
    require_tool("gcc", package="gcc")
    target, store = driver.find_target("native"), Memory()
    program = lower(cnnc.load_text(TINY), target).program
    first = CBackend(1).compile(program, target, 1, store)
    monkeypatch.setattr(compiler, "_compile", None)
    again = CBackend(1).compile(program, target, 3, store)
    image, one = ends()
    _, other = ends()
    for executable, logits in ((first, one), (again, other)):
        executable.run([image], [logits])
    np.testing.assert_array_equal(one, other)
