"""Exit codes, and that nothing but an explanation reaches the user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnc import driver
from cnnc.ir.graph import Graph
from tests.cli.helpers import ROOT, Runner


def test_usage_errors_are_the_users(cnnc: Runner, small: Path) -> None:
    """Exit code 1: 2 is for bugs."""
    for args in (["check"], ["nonsense"], ["check", small, "--what"], ["show", "--stage", "x"]):
        cnnc(*args, code=1)
    cnnc("--help")
    assert "0.1" in cnnc("--version").out


@pytest.mark.parametrize(
    ("verb", "missing"),
    [
        ("run", set()),
        ("diff", {"reference"}),
        ("bench", {"reference"}),
        ("compile", {"c", "cuda", "interp", "reference"}),
    ],
)
def test_help_names_the_backends_that_a_verb_takes(
    cnnc: Runner, verb: str, missing: set[str]
) -> None:
    """All of them where none is an error."""
    text = cnnc(verb, "-h").out.split("--backend NAME")[1].split("--threads")[0]
    assert {name for name in driver.BACKEND_NAMES if f"{name}:" not in text} == missing


@pytest.mark.parametrize(
    "settings", [["width"], ["=3"], ["width=1", "width=2"], ["widht=3"], ["width=("]]
)
def test_settings_are_checked(cnnc: Runner, small: Path, settings: list[str]) -> None:
    """Malformed, unknown and repeated ones."""
    args = [part for text in settings for part in ("--set", text)]
    text = cnnc("check", small, "--net", "small", *args, code=1).err
    assert "Traceback" not in text
    assert "error[" in text


def test_a_setting_is_a_place(cnnc: Runner, small: Path) -> None:
    """What is wrong in it is shown like any text."""
    text = cnnc("check", small, "--net", "small", "--batch", "4..1", code=1).err
    assert "<value given for N>:1:1" in text
    assert "1 | 4..1" in text


def test_a_net_must_be_chosen(cnnc: Runner, small: Path) -> None:
    """The file has two."""
    assert "--net" in cnnc("check", small, code=1).err
    assert "did you mean `small`?" in cnnc("check", small, "--net", "smal", code=1).err


@pytest.mark.parametrize("error", [ValueError("deliberate"), RecursionError("deliberate")])
def test_a_bug_says_so(
    cnnc: Runner, small: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Exit code 2, the pass and a file to send; no traceback on the terminal."""

    def broken(graph: Graph, target: object = None) -> Graph:
        raise error

    monkeypatch.setattr(driver, "fuse", broken)
    text = cnnc("check", small, "--net", "small", code=2).err
    assert "this is a bug in cnnc in fuse" in text
    assert "Traceback" not in text
    dump = Path(text.split("see ")[1].split("\n")[0])
    assert "deliberate" in dump.read_text()


def test_unexpected_exceptions_are_bugs(
    cnnc: Runner, small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The traceback goes to a file."""

    def broken(name: str) -> None:
        raise KeyError("deliberate")

    monkeypatch.setattr(driver, "find_target", broken)
    monkeypatch.setenv("CNNC_DUMP", str(tmp_path / "dump"))
    text = cnnc("check", small, "--net", "small", code=2).err
    assert "failed.traceback" in text
    assert "deliberate" in (tmp_path / "dump" / "failed.traceback").read_text()


def test_a_bug_shows_even_if_nothing_can_be_written(
    cnnc: Runner, small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The folder for dumps is a file."""

    def broken(graph: Graph, target: object = None) -> Graph:
        raise ValueError("deliberate")

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(driver, "fuse", broken)
    monkeypatch.setenv("CNNC_DUMP", str(tmp_path / "file"))
    assert "E0704" in cnnc("check", small, "--net", "small", code=1).err
    monkeypatch.setattr(driver, "_show_graph", lambda *args: None)
    assert "this is a bug in cnnc in fuse" in cnnc("check", small, "--net", "small", code=2).err


def test_as_a_module() -> None:
    """`python -m cnnc`, without colour and without a terminal."""
    code = [sys.executable, "-m", "cnnc", "check", "missing.cnn"]
    ended = subprocess.run(code, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error[E0701]: there is no file `missing.cnn`")
    assert "\x1b" not in ended.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX pipe")
def test_a_closed_pipe_is_no_error(small: Path) -> None:
    """`cnnc … | head` ends quietly."""
    code = f"'{sys.executable}' -m cnnc show '{small}' --net small --stage asm | head -1"
    ended = subprocess.run(["sh", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0
    assert ended.stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("args", "code"),
    [("ops", 0), ("ops --json", 0), ("check missing.cnn", 1), ("check missing.cnn --json", 1)],
)
def test_closed_streams_are_no_bug(args: str, code: int) -> None:
    """Neither of them is there to be written to."""
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        command = f"'{sys.executable}' -m cnnc {args} {closed}"
        ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=ROOT)
        assert ended.returncode == code, command
        assert "bug" not in ended.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX pipe")
@pytest.mark.parametrize("args", ["ops", "--help", "ops --help", "check missing.cnn --json"])
def test_what_nobody_reads(args: str) -> None:
    """The reader went away before the first line: its end counts, not this one's."""
    code = f"('{sys.executable}' -m cnnc {args}; echo $? >&2) | true"
    ended = subprocess.run(["sh", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ended.stderr == "0\n"


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
def test_names_of_files_that_are_no_text(tmp_path: Path, cnnc: Runner) -> None:
    """Not where they stand in JSON, in compiled files, manifests and sources."""
    path = tmp_path / os.fsdecode(b"n\xff.cnn")
    path.write_text("cnn 1\nnet n {\n  input x: f32[N, 2]\n  output y = x -> relu\n}\n")
    assert cnnc("check", path, "--json").json()["ok"] is True
    made = cnnc("compile", path, "--json").json()
    assert made["ok"] is True
    found = cnnc("check", path.with_suffix(".cnnc"), "--json").json()
    assert found["source"] == "n\N{REPLACEMENT CHARACTER}.cnn"
    cnnc("build", path, "-o", tmp_path / "built", "--emit", "c,project,obj")
    cnnc("fmt", path, "--json")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("verb", ["ops", "env"])
def test_a_full_disk_is_no_bug(verb: str) -> None:
    """Also where all output waits in a buffer until the end."""
    with open("/dev/full", "w") as full:
        code = [sys.executable, "-m", "cnnc", verb]
        ended = subprocess.run(code, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: the output cannot be written")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("module", ["numpy", "cnnc.cli.tune", "cnnc.cli.run"])
def test_interrupted_while_modules_are_imported(module: str) -> None:
    """One line and the exit code of later interrupts, from before NumPy is there."""
    code = f"""
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
sys.argv[1:] = ["ops"]
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs the tests may ignore it
from cnnc.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_interrupts_that_are_ignored_stay_ignored() -> None:
    """As for a command that a shell starts in the background."""
    code = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.argv[1:] = ["ops"]
from cnnc.__main__ import main
try:
    main()
finally:
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
