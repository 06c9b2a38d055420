"""`--json`: one object that says whether all is well, also where a verb is misused."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cnnc import driver
from cnnc.ir.graph import Graph
from tests.cli.helpers import Runner

NET = ("--net", "small")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("run", "n.cnn", "-i", "x.npy", "--repeat", "0"), "invalid value for '--repeat': 0"),
        (("run",), "missing argument 'FILE'"),
        (("check", "n.cnn", "--nothing"), "no such option '--nothing'"),
        (("nothing",), "no such command 'nothing'"),
        (("bench", "n.cnn", "--seconds", "soon"), "'soon' is not a valid float"),
        (("check", "n.cnn", "--batch", "x"), "neither a number nor a range"),
        (("build", "n.cnn", "-o", ""), "`-o` is empty"),
    ],
)
def test_misuse_has_the_shape_of_other_errors(
    cnnc: Runner, args: Sequence[str], message: str
) -> None:
    """As a diagnostic, with nothing beside it; without `--json` as text."""
    ended = cnnc(*args, "--json", code=1)
    assert ended.err == ""
    data = ended.json()
    assert data["ok"] is False
    (found,) = data["diagnostics"]  # type: ignore[misc]
    assert message in found["message"]
    assert found["code"] == "E0803"
    assert found["help"]
    plain = cnnc(*args, code=1)
    assert plain.out == ""
    assert message[1:] in plain.err


def test_behind_the_options_it_is_a_name(cnnc: Runner) -> None:
    ended = cnnc("fmt", "--", "--json", code=1)
    assert "there is no file `--json`" in ended.err


def test_a_bug_is_data_too(
    cnnc: Runner, small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(graph: Graph, target: object = None) -> Graph:
        raise ValueError("deliberate")

    monkeypatch.setattr(driver, "fuse", broken)
    data = cnnc("check", small, *NET, "--json", code=2).json()
    assert data["ok"] is False
    bug = data["bug"]
    assert isinstance(bug, dict)
    assert (bug["stage"], "deliberate" in str(bug["message"])) == ("fuse", True)
    assert Path(str(bug["dump"])).exists()


def test_all_verbs_say_that_all_is_well(cnnc: Runner, small: Path, tmp_path: Path) -> None:
    """Lists of codes and operators have no room for it."""
    x, out = tmp_path / "x.npy", tmp_path / "n.cnnc"
    np.save(x, np.zeros((2, 3, 5, 6), np.float32))
    net = (small, *NET)
    for args in (
        ("check", *net),
        ("run", *net, "-i", x),
        ("diff", *net),
        ("bench", *net, "--seconds", "0.01"),
        ("tune", *net, "--seconds", "0.01"),
        ("analyze", *net, "--no-measure"),
        ("compile", *net, "-o", out),
        ("build", *net, "-o", tmp_path / "built"),
        ("export", *net),
        ("fmt", small),
        ("env",),
        ("cache", "info"),
    ):
        assert cnnc(*args, "--json").json()["ok"] is True, args
    assert cnnc("check", out, "--json").json()["ok"] is True


def test_run_says_what_it_wrote_and_on_how_many_threads(
    cnnc: Runner, small: Path, tmp_path: Path
) -> None:
    x, y = tmp_path / "x.npy", tmp_path / "y.npz"
    np.save(x, np.zeros((2, 3, 5, 6), np.float32))
    run = ("run", small, *NET, "-i", x, "--json")
    data = cnnc(*run).json()
    assert (data["path"], data["threads"]) == (None, 1)
    data = cnnc(*run, "-o", y, "--threads", "2").json()
    assert (data["path"], data["threads"]) == (str(y), 2)
    assert cnnc(*run, "--threads", "2", "--backend", "reference").json()["threads"] == 1
