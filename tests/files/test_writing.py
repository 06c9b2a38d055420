"""Files appear whole or not at all, and there is one function that writes them."""

import errno
import io
import os
import re
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

import cnnc
from cnnc.artifact import read_artifact, write_artifact
from cnnc.files import replace_file
from tests.cli.helpers import ROOT, Runner

WRITES = r"\.write_(text|bytes)\(|\bopen\([^)\n]*[\"'][wxa][bt]?\+?[\"']|np\.save[a-z_]*\((?!data)"

NET = """cnn 1
net n {
  input x: f32[N, 2]
  output y = x -> relu
}
"""

TEMPORARY = {
    "cnnc/standalone/folder.py: path.write_bytes(file.data)",
    "cnnc/standalone/build.py: (work / file.name).write_bytes(file.data)",
    'cnnc/backends/c/compiler.py: (folder / file).write_text(text, encoding="utf-8")',
    "cnnc/backends/cuda/toolchain.py: path.write_bytes(data)",
    "cnnc/backends/cuda/toolchain.py: (Path(folder) / name).write_bytes(data)",
}
"""Files in folders that nobody else knows of, for compilers or to be moved when all are there."""


def test_one_function_writes() -> None:
    """Nothing else in the package opens a file for writing, but in temporary folders."""
    found = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "cnnc").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(WRITES, line)
    }
    assert found - TEMPORARY == {'cnnc/files.py: with temporary.open("xb") as file:'}


def test_it_replaces(tmp_path: Path) -> None:
    """What was there before is gone, and nothing lies beside it."""
    path = tmp_path / "results.npz"
    for data in (b"first", b"second", b""):
        replace_file(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_what_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """A full disk, or an interrupt at the worst moment."""
    path = tmp_path / "results.npz"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises((cnnc.UserError, KeyboardInterrupt)):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's error, whatever names them."""
    monkeypatch.chdir(tmp_path)
    for path in (Path("."), tmp_path, tmp_path / "no" / "file"):
        with pytest.raises(cnnc.UserError, match="E0704"):
            replace_file(path, b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("verb", "suffix"),
    [
        (("compile",), ".cnnc"),
        (("export",), ".onnx"),
        (("tune", "--seconds", "0.01"), ".tune"),
        (("run", "-i", "x.npy"), ".npz"),
        (("analyze", "--no-measure"), ".png"),
    ],
)
def test_verbs_ask_first_whether_a_file_can_be_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: tuple[str, ...],
    suffix: str,
) -> None:
    """By one rule, which keeps `-o net.cnn` from replacing the text."""
    monkeypatch.chdir(tmp_path)
    Path("net.cnn").write_text(NET)
    np.save("x.npy", np.zeros((1, 2), np.float32))
    Path("folder").mkdir()
    for path, code, words in (
        ("net.cnn", "E0703", f"`net.cnn` does not end in {suffix}"),
        ("net", "E0703", f"help: write net{suffix}"),
        ("folder", "E0704", "`folder` is a folder"),
        (f"no/net{suffix}", "E0704", "make the folder `no` first"),
        (f"x.npy/net{suffix}", "E0704", "`x.npy` is a file: name a folder"),
    ):
        option = "--plot" if "analyze" in verb else "-o"
        ended = Runner(capsys)(verb[0], "net.cnn", *verb[1:], option, path, code=1)
        assert f"error[{code}]" in ended.err
        assert words in ended.err
    assert Path("net.cnn").read_text() == NET


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (("build", "net.cnn", "--emit", "so"), "net.so"),
        (("kernel", "relu", "--input", "f32[1, 2]"), "net.c"),
        (("import", "net.onnx"), "net.cnn"),
    ],
)
def test_folders_are_not_called_like_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: tuple[str, ...],
    name: str,
) -> None:
    """Whoever asks for a file gets none, and is told."""
    monkeypatch.chdir(tmp_path)
    ended = Runner(capsys)(*args, "-o", name, code=1)
    assert f"`{name}` is the name of a file" in ended.err
    Path(name).write_text(NET)
    assert f"`{name}` is a file, and" in Runner(capsys)(*args, "-o", name, code=1).err


@pytest.mark.parametrize(
    "args",
    [
        ("build", "net.cnn", "-o"),
        ("compile", "net.cnn", "-o"),
        ("export", "net.cnn", "-o"),
        ("tune", "net.cnn", "-o"),
        ("run", "net.cnn", "-i", "x.npy", "-o"),
        ("kernel", "relu", "--input", "f32[1, 2]", "-o"),
        ("import", "net.onnx", "-o"),
        ("analyze", "net.cnn", "--plot"),
        ("check", "net.cnn", "--tuning"),
        ("kernel", "relu", "--parameters"),
        ("run", "net.cnn", "-i"),
    ],
)
def test_an_empty_path_is_not_the_folder_one_is_in(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: tuple[str, ...],
) -> None:
    """Nothing is written there; the option is named."""
    monkeypatch.chdir(tmp_path)
    Path("net.cnn").write_text(NET)
    before = sorted(tmp_path.iterdir())
    ended = Runner(capsys)(*args, "", code=1)
    option = {"-i": "--input"}.get(args[-1], args[-1])
    assert f"error[E0803]: `{option}` is empty" in ended.err
    assert sorted(tmp_path.iterdir()) == before
    assert "`FILE` is empty" in Runner(capsys)("check", "", code=1).err
    with pytest.raises(cnnc.UserError, match="`folder` is empty"):
        cnnc.build(cnnc.load("net.cnn"), "")
    assert sorted(tmp_path.iterdir()) == before


def test_no_verb_replaces_what_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever its name ends in: texts, tune files, images, and by other names of the same file."""
    monkeypatch.chdir(tmp_path)
    for name in ("net.cnn", "net.tune"):
        Path(name).write_text(NET)
    Path("same.onnx").symlink_to("net.cnn")
    wide = NET.replace("f32[N, 2]", "f32[N, 1, 4, 4]")
    Path("wide.cnn").write_text(wide)
    Path("x.png").write_bytes(png())
    run = Runner(capsys)
    run("tune", "wide.cnn", "-o", "mine.tune", "--seconds", "0.01")
    held = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for args in (
        ("export", "net.cnn", "-o", "same.onnx"),
        ("tune", "net.tune", "--seconds", "0.01"),
        ("analyze", "wide.cnn", "-i", "x.png", "--plot", "x.png"),
    ):
        ended = run(*args, code=1)
        assert "is read by this command, and would be replaced" in ended.err
        assert f"with {'--plot' if '--plot' in args else '-o'}" in ended.err
    assert held == {path: path.read_bytes() for path in tmp_path.iterdir()}


LONG = "n" * 300
LOOP = "loop"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("run", "net.cnn", "-i", "x.npy", "-o", f"{LONG}.npz"), "E0704"),
        (("compile", "net.cnn", "-o", f"{LONG}.cnnc"), "E0704"),
        (("export", "net.cnn", "-o", f"{LONG}.onnx"), "E0704"),
        (("tune", "net.cnn", "-o", f"{LONG}.tune"), "E0704"),
        (("analyze", "net.cnn", "--plot", f"{LONG}.png"), "E0704"),
        (("build", "net.cnn", "-o", LONG), "E0704"),
        (("build", "net.cnn", "-o", LOOP), "E0704"),
        (("kernel", "relu", "--input", "f32[1, 2]", "-o", LONG), "E0704"),
        (("check", f"{LONG}.onnx"), "E0702"),
        (("check", LOOP), "E0702"),
        (("run", "net.cnn", "-i", f"{LONG}.npy"), "E0702"),
        (("run", "net.cnn", "-i", f"{LONG}.npz"), "E0702"),
        (("check", "net.cnn", "--tuning", LOOP), "E0702"),
        (("fmt", LONG), "E0702"),
    ],
)
def test_where_the_system_refuses_even_to_look(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: tuple[str, ...],
    code: str,
) -> None:
    """At names too long and links in a circle; folders that are closed to the user are the same."""
    monkeypatch.chdir(tmp_path)
    Path("net.cnn").write_text(NET)
    np.save("x.npy", np.zeros((1, 2), np.float32))
    Path(LOOP).symlink_to(LOOP)
    assert f"error[{code}]" in Runner(capsys)(*args, code=1).err


def test_a_closed_folder_is_not_a_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As whoever runs this may open all of them, the system is told to refuse."""
    closed = tmp_path / "closed"
    closed.mkdir()
    np.save(closed / "x.npy", np.zeros((1, 2), np.float32))
    net = tmp_path / "net.cnn"
    net.write_text(NET)

    def refuse(*args: object, **options: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", str(closed))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(cnnc.UserError, match=r"E0704[\s\S]*Permission denied"):
            replace_file(closed / "y.npy", b"")
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        assert "error[E0702]" in Runner(capsys)("fmt", closed, code=1).err
    np.savez(closed / "x.npz", x=np.zeros((1, 2), np.float32))
    for where, name, file in ((np, "load", "x.npy"), (zipfile, "ZipFile", "x.npz")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, refuse)
            ended = Runner(capsys)("run", net, "-i", closed / file, code=1)
        assert "error[E0702]" in ended.err
        assert "= note: Permission denied" in ended.err


def test_standard_input_that_is_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input is closed" in Runner(capsys)("fmt", "-", code=1).err


def png() -> bytes:
    """A grey image of four by four."""
    data = io.BytesIO()
    Image.new("L", (4, 4)).save(data, "png")
    return data.getvalue()


def test_a_copy_keeps_the_versions_that_compiled_it(tmp_path: Path) -> None:
    """Those of the cnnc that copies it made none of its code."""
    first, old, copy = (tmp_path / f"{name}.cnnc" for name in ("first", "old", "copy"))
    cnnc.load_text(NET).compile().save(first)
    made = read_artifact(first)
    older = replace(made.provenance, cnnc="0.0.9", llvm="20.1.8")
    write_artifact(old, replace(made, provenance=older))
    cnnc.load_compiled(old).save(copy)
    assert cnnc.load_compiled(copy).provenance == older
