"""`tune`, and `--tuning` of the other verbs."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cnnc.tuning import search
from tests.cli.helpers import Runner

NET = """cnn 1
net n {
  input x: f32[N, 16, 10, 10]
  output y = x -> conv(16, 3) -> relu -> conv(32, 1)
  weights he
}
"""
BRIEF = ("--seconds", "0.01")


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file, and a search that is soon over."""
    monkeypatch.setattr(search, "FEWEST_TRIED", 1)
    monkeypatch.setattr(search, "DUEL", 3)
    path = tmp_path / "n.cnn"
    path.write_text(NET)
    return path


def test_it_writes_a_file_that_the_other_verbs_take(cnnc: Runner, net: Path) -> None:
    """Beside the net if nothing else is said; the verbs run with it."""
    tuned = net.with_suffix(".tune")
    first = cnnc("tune", net, *BRIEF, "--json").json()
    assert first["unreached"] == 1
    second = cnnc("tune", net, *BRIEF)
    assert "rank" in second.out.splitlines()[0]
    assert f"written to {tuned}" in second.out
    before = tuned.read_bytes()
    assert cnnc("tune", net, *BRIEF, "--json").json()["unreached"] == 0
    assert tuned.read_bytes() == before
    np.save(net.parent / "x.npy", np.zeros((1, 16, 10, 10), np.float32))
    cnnc("run", net, "-i", net.parent / "x.npy", "--tuning", tuned)
    cnnc("bench", net, *BRIEF, "--tuning", tuned)
    cnnc("diff", net, "--tuning", tuned)
    cnnc("check", net, "--tuning", tuned)
    assert "winograd" in cnnc("show", net, "--stage", "graph").out
    for stage in ("graph", "loops"):
        cnnc("show", net, "--tuning", tuned, "--stage", stage)
    cnnc("compile", net, "--tuning", tuned)
    ended = cnnc("run", net.with_suffix(".cnnc"), "-i", "x.npy", "--tuning", tuned, code=1)
    assert "--tuning cannot change" in ended.err


def test_mistakes(cnnc: Runner, net: Path, tmp_path: Path) -> None:
    """Options, folders, damaged files."""
    assert "E0803" in cnnc("tune", net, "--seconds", "0", code=1).err
    assert "E0704" in cnnc("tune", net, "-o", tmp_path / "none" / "n.tune", code=1).err
    assert "E0801" in cnnc("tune", net, "--target", "aarch64x", code=1).err
    (tmp_path / "n.tune").write_text("something else\n")
    ended = cnnc("tune", net, code=1)
    assert "error[E0705]" in ended.err
    assert "^^^" in ended.err
    assert "or a new one" in ended.err
    for verb in ("bench", "diff", "check", "show", "compile"):
        ended = cnnc(verb, net, "--tuning", tmp_path / "n.tune", code=1)
        assert "error[E0705]" in ended.err
        # not what helps whoever writes such a file
        assert "help: name a file that `cnnc tune` wrote: this is something else" in ended.err
    assert "E0701" in cnnc("check", net, "--tuning", tmp_path / "m.tune", code=1).err


@pytest.mark.parametrize("verb", ["tune", "compile"])
def test_folders(cnnc: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """They are no nets, with a name and without one, and no files to write."""
    monkeypatch.chdir(tmp_path)
    for folder in (".", "..", "/", tmp_path):
        assert "error[E0702]" in cnnc(verb, folder, code=1).err
    (tmp_path / "n.cnn").write_text(NET)
    for folder in (".", "/", tmp_path):
        assert "error[E070" in cnnc(verb, "n.cnn", "-o", folder, code=1).err


def test_show_refuses_a_file_that_is_for_another_net(cnnc: Runner, net: Path) -> None:
    """At every stage that depends on choices."""
    cnnc("tune", net, *BRIEF)
    other = net.with_name("other.cnn")
    other.write_text(NET.replace("16, 10, 10", "16, 12, 12"))
    for stage in ("graph", "loops"):
        flags = ("--stage", stage, "--tuning", net.with_suffix(".tune"))
        assert "E0806" in cnnc("show", other, *flags, code=1).err
        assert cnnc("show", net, *flags).out


def test_interrupted(cnnc: Runner, net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what is left."""

    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["cnnc.cli.tune"], "measure", interrupt)
    assert "run it again" not in cnnc("tune", net, code=130).err
    net.with_suffix(".tune").write_text("")
    assert "run it again to go on" in cnnc("tune", net, code=130).err
