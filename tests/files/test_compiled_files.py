"""Files of compiled networks: the same bits, no compiler, and nothing unsound gets through."""

import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

import cnnc
from cnnc import artifact, container, driver, machine
from cnnc.backends.native import targets
from cnnc.base.report import Json
from tests.cli.helpers import DIGITS, ROOT, Runner
from tests.files.forge import HEAD, header_of, with_header

Change = Callable[[dict[str, Json]], None]


@pytest.fixture(scope="module")
def compiled() -> cnnc.Compiled:
    """The digits network."""
    return cnnc.load(DIGITS / "digits.cnn").compile()


@pytest.fixture(scope="module")
def digits(compiled: cnnc.Compiled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file, with the golden vectors."""
    path = tmp_path_factory.mktemp("compiled") / "digits.cnnc"
    compiled.save(path, cnnc.load(DIGITS / "digits.cnn").checks())
    return path


@pytest.fixture
def runner(capsys: pytest.CaptureFixture[str]) -> Runner:
    """The command line."""
    return Runner(capsys)


def images(count: int) -> NDArray[np.float32]:
    """Random samples."""
    return np.random.default_rng(count).random((count, 1, 8, 8)).astype(np.float32)


def test_it_computes_the_same_bits(compiled: cnnc.Compiled, digits: Path) -> None:
    """And tells the same about itself."""
    loaded = cnnc.load_compiled(digits)
    for count in (0, 1, 5):
        x = images(count)
        for name, values in compiled(x).items():
            np.testing.assert_array_equal(loaded(x)[name], values)
    assert loaded.layers == compiled.layers
    assert (loaded.inputs, loaded.outputs) == (compiled.inputs, compiled.outputs)
    assert loaded.provenance == compiled.provenance
    assert loaded.provenance.cnnc == cnnc.__version__
    assert loaded.provenance.llvm
    assert loaded.provenance.source == "digits.cnn"
    assert len(loaded.provenance.sha256) == 64
    assert dict(loaded.provenance.settings) == {"width": "16"}
    assert isinstance(loaded, cnnc.Network)
    assert repr(loaded).startswith("<cnnc.Loaded digits for native")


def test_threads_may_differ(compiled: cnnc.Compiled, digits: Path) -> None:
    """Results do not."""
    loaded = cnnc.load_compiled(digits, threads=2)
    assert loaded.options.threads == 2
    np.testing.assert_array_equal(loaded(images(3))["prob"], compiled(images(3))["prob"])
    with pytest.raises(cnnc.UserError, match="E0803"):
        cnnc.load_compiled(digits, threads=0)


def test_the_same_network_gives_the_same_file(digits: Path, tmp_path: Path) -> None:
    """Compiled again, or saved again after loading."""
    model = cnnc.load(DIGITS / "digits.cnn")
    model.compile().save(tmp_path / "again.cnnc", model.checks())
    cnnc.load_compiled(digits).save(tmp_path / "copy.cnnc")
    for name in ("again", "copy"):
        assert (tmp_path / f"{name}.cnnc").read_bytes() == digits.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.cnnc", "copy.cnnc"]


def test_nothing_is_compiled(digits: Path) -> None:
    """Neither the language nor LLVM's optimiser is even imported."""
    code = f"""
import sys, cnnc, numpy as np
network = cnnc.load_compiled({str(digits)!r})
network(np.zeros((1, 1, 8, 8), np.float32))
unwanted = ("lark", "cnnc.frontend", "cnnc.backends.native.compile", "cnnc.backends.native.emit")
print([name for name in sys.modules if name.startswith(unwanted)])
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout.strip() == "[]"


def test_it_pickles(digits: Path) -> None:
    """With everything that it holds."""
    loaded = cnnc.load_compiled(digits)
    copy = pickle.loads(pickle.dumps(loaded))
    np.testing.assert_array_equal(copy(images(2))["prob"], loaded(images(2))["prob"])
    assert copy.layers == loaded.layers
    assert len(copy.checks) == 1


def test_the_verbs(digits: Path, runner: Runner, tmp_path: Path) -> None:
    """`compile` writes it; `check`, `run` and `bench` take it."""
    path = tmp_path / "net.cnnc"
    made = runner("compile", DIGITS / "digits.cnn", "-o", path, "--json").json()
    assert (made["path"], made["bytes"], made["checks"]) == (str(path), path.stat().st_size, 1)
    assert "1 check" in runner("compile", DIGITS / "digits.cnn", "-o", path).out
    assert path.read_bytes() == digits.read_bytes()
    shown = runner("check", path).out
    assert "stem.conv" in shown
    assert "from digits.cnn, width = 16" in shown
    facts = runner("check", path, "--json").json()
    assert facts["ok"]
    assert {"output", "samples", "largest", "of_limit"} == facts["checks"][0].keys()  # type: ignore
    inputs = ("-i", DIGITS / "digits_heldout.npz", "--labels", "label")
    for file in (path, DIGITS / "digits.cnn"):
        assert "99.44% of 360 right" in runner("run", file, *inputs).out
    times = runner("bench", path, "--seconds", "0.05", "--json").json()
    assert times["layers"] == []
    assert times["macs"] == 828_736


@pytest.mark.parametrize(
    ("args", "code", "part"),
    [
        (("show", "FILE"), "E0703", "needs the text"),
        (("show", "FILE", "--stage", "ast"), "E0703", "needs the text"),
        (("diff", "FILE"), "E0703", "needs the text"),
        (("run", "FILE", "--batch", "2", "-i", "x.npy"), "E0803", "--batch cannot change"),
        (("bench", "FILE", "--set", "a=1", "--net", "n"), "E0803", "--net and --set"),
        (("check", "FILE", "--target", "x86-64"), "E0803", "--target"),
        (("compile", "TEXT", "-o", "x.so"), "E0703", "x.cnnc"),
        (("compile", "TEXT", "-o", "no/such/x.cnnc"), "E0704", "make the folder"),
        (("compile", "TEXT", "-o", "OUT", "--backend", "interp"), "E0801", "no machine code"),
        (("compile", "TEXT", "-o", "OUT", "--backend", "reference"), "E0801", "no machine code"),
        (("check", "missing.cnnc"), "E0701", "missing.cnnc"),
    ],
)
def test_what_does_not_go(
    digits: Path, runner: Runner, tmp_path: Path, args: tuple[str, ...], code: str, part: str
) -> None:
    """A user's error that says why, and no file."""
    places = {"FILE": digits, "TEXT": DIGITS / "digits.cnn", "OUT": tmp_path / "out.cnnc"}
    ended = runner(*(places.get(arg, arg) for arg in args), code=1)
    assert code in ended.err
    assert part in ended.err
    assert list(tmp_path.iterdir()) == []


def test_check_vectors_that_are_not_matched(digits: Path, runner: Runner, tmp_path: Path) -> None:
    """As if the machine computed something else."""
    loaded = artifact.read_artifact(digits)
    (check,) = loaded.checks
    wrong = replace(check, outputs={"prob": check.outputs["prob"] + np.float32(0.1)})
    path = tmp_path / "wrong.cnnc"
    artifact.write_artifact(path, replace(loaded, checks=(wrong,)))
    assert "E0604" in runner("check", path, code=1).err


def test_load_tells_what_to_call(digits: Path) -> None:
    """The text's reader is not for files of machine code, nor the other way round."""
    with pytest.raises(cnnc.UserError, match="load_compiled"):
        cnnc.load(digits)
    with pytest.raises(cnnc.UserError, match=r"E0703.*is not a compiled network"):
        cnnc.load_compiled(DIGITS / "digits.cnn")


def test_every_cut_and_every_flipped_byte_is_noticed(digits: Path, tmp_path: Path) -> None:
    """UserError, wherever the damage is; only padding between the parts does not count."""
    content, path, random = digits.read_bytes(), tmp_path / "damaged.cnnc", Random(3)
    text = struct.unpack_from("<Q", content, 16)[0]
    cuts = [0, 1, 7, 8, 12, 63, 64, 65, HEAD + text, len(content) - 1]
    for cut in [*cuts, *(random.randrange(len(content)) for _ in range(40))]:
        path.write_bytes(content[:cut])
        with pytest.raises(cnnc.UserError, match=r"E0406|E0703"):
            cnnc.load_compiled(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(cnnc.UserError, match="E0406"):
        cnnc.load_compiled(path)
    noticed = 0
    for place in [*range(12), *range(16, HEAD), *random.sample(range(HEAD, len(content)), 150)]:
        changed = bytearray(content)
        changed[place] ^= 1 << random.randrange(8)
        path.write_bytes(changed)
        try:
            artifact.read_artifact(path)
        except cnnc.UserError:
            noticed += 1
        else:
            assert content[place] == 0
            assert place > HEAD + text
    assert noticed > 150


def set_to(key: str, value: Json) -> Change:
    """A change of one entry of the header."""

    def change(header: dict[str, Json]) -> None:
        header[key] = value

    return change


def aim(key: str, value: Json) -> Change:
    """A change of one fact of the machine it is for."""

    def change(header: dict[str, Json]) -> None:
        target = header["target"]
        assert isinstance(target, dict)
        target[key] = value

    return change


def drop(key: str) -> Change:
    """A header without an entry."""

    def change(header: dict[str, Json]) -> None:
        del header[key]

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(
            drop(key)
            for key in ("net", "inputs", "layers", "target", "blobs", "checks", "settings")
        ),
        *(
            set_to(key, None)
            for key in ("batch", "splittable", "arena_bytes", "objects", "outputs")
        ),
        set_to("batch", True),
        set_to("batch", 0),
        set_to("batch", 2),
        set_to("threads", 0),
        set_to("objects", 0),
        set_to("objects", 10**6),
        set_to("arena_bytes", -1),
        set_to("arena_bytes", 1 << 60),
        set_to("inputs", []),
        set_to("inputs", [{"name": "image", "dtype": "f33", "shape": [1]}]),
        set_to("inputs", [{"name": "image", "dtype": "f32", "shape": [1, -1]}]),
        set_to("inputs", [{"name": 3, "dtype": "f32", "shape": [1]}]),
        set_to("layers", [{}]),
        set_to("layers", "none"),
        set_to("settings", {"width": 16}),
        set_to("target", {"triple": 1}),
        set_to("blobs", [{"bytes": -1, "sha256": ""}]),
        set_to("blobs", [{"bytes": 1 << 47, "sha256": ""}]),
        set_to("blobs", [1]),
        set_to("checks", [{"atol": "1"}]),
        set_to("checks", [{"atol": 10**400, "rtol": 0, "inputs": [], "outputs": []}]),
        set_to("fewest", 0),
        aim("features", "zzz"),
        aim("features", "+sse2,,+avx"),
        aim("triple", 'x86_64-"\n'),
        aim("cpu", "a b"),
        set_to(
            "checks",
            [
                {
                    "atol": 0,
                    "rtol": 0,
                    "outputs": [],
                    "inputs": [{"name": "image", "dtype": "O", "shape": [1], "blob": 0}],
                }
            ],
        ),
    ],
)
def test_forged_headers_are_refused(digits: Path, tmp_path: Path, change: Change) -> None:
    """Sums that are right do not make a header sound."""
    content, path = digits.read_bytes(), tmp_path / "forged.cnnc"
    header = json.loads(header_of(content))
    path.write_bytes(with_header(content, json.dumps(header).encode()))
    assert artifact.read_artifact(path).interface.name == "digits"
    change(header)
    path.write_bytes(with_header(content, json.dumps(header).encode()))
    with pytest.raises(cnnc.UserError, match="E0406"):
        cnnc.load_compiled(path)


@pytest.mark.parametrize("text", ["[" * 100_000, "NaN", "[]", "{", '"text"', '{"blobs": NaN}'])
def test_headers_that_are_no_objects(digits: Path, tmp_path: Path, text: str) -> None:
    """Refused before anything in them is used."""
    content, path = digits.read_bytes(), tmp_path / "forged.cnnc"
    path.write_bytes(with_header(content, text.encode()))
    with pytest.raises(cnnc.UserError, match="E0406"):
        cnnc.load_compiled(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Nor is a name that no file can have opened."""
    os.mkfifo(tmp_path / "pipe.cnnc")
    for name in ("pipe.cnnc", "null\0.cnnc"):
        with pytest.raises(cnnc.UserError, match="E0702"):
            cnnc.load_compiled(tmp_path / name)


def test_code_is_linked_before_weights_are_read(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that LLVM and the weights are not in memory at once; what is wrong with them is told."""
    done: list[str] = []
    load_code, read = machine.load_code, container._read

    def spy(path: Path, content: container.Bytes, start: int, end: int) -> container.Bytes:
        done.append("read")
        return read(path, content, start, end)

    monkeypatch.setattr(container, "_read", spy)
    monkeypatch.setattr(machine, "load_code", lambda *a: done.append("link") or load_code(*a))
    loaded = cnnc.load_compiled(digits)
    assert done[-2:] == ["link", "read"]
    assert done.count("read") == 2 + len(
        container.open_container(digits, artifact.FORMAT, "").blobs
    )
    assert bytes(loaded._artifact.weights) == bytes(artifact.read_artifact(digits).weights)


def test_another_format(digits: Path, tmp_path: Path) -> None:
    """Says which formats, and what to do."""
    content, path = bytearray(digits.read_bytes()), tmp_path / "newer.cnnc"
    struct.pack_into("<I", content, 8, artifact.FORMAT + 1)
    path.write_bytes(content)
    with pytest.raises(cnnc.UserError, match=rf"of format {artifact.FORMAT + 1}, and this cnnc"):
        cnnc.load_compiled(path)


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"triple": "aarch64-unknown-linux-gnu"}, "it is for aarch64-unknown-linux-gnu"),
        ({"triple": "x86_64-apple-darwin23"}, "it is for x86_64-apple-darwin23"),
        ({"features": "+sse2,+warp,+hyper"}, "lacks hyper, warp"),
    ],
)
def test_another_machine(digits: Path, tmp_path: Path, facts: dict[str, str], part: str) -> None:
    """Refused with what is missing, before any of its code is touched."""
    loaded, path = artifact.read_artifact(digits), tmp_path / "other.cnnc"
    artifact.write_artifact(path, replace(loaded, target=replace(loaded.target, **facts)))  # type: ignore[arg-type]
    with pytest.raises(cnnc.UserError, match="E0801") as caught:
        cnnc.load_compiled(path)
    assert part in caught.value.diagnostics[0].notes[0]


def test_a_family_runs_where_its_features_are(tmp_path: Path) -> None:
    """Compiled for `x86-64`, a file goes to every such machine with this system."""
    host = driver.find_target("native")
    family = "aarch64" if host.triple.startswith(("aarch64", "arm64")) else "x86-64"
    text = (
        "cnn 1\nnet n { input x: f32[N, 4, 5]  output y = x -> conv(3, 3)  weights he(seed = 1) }"
    )
    path = tmp_path / "family.cnnc"
    compiled = cnnc.load_text(text).compile(target=family)
    compiled.save(path)
    x = np.ones((2, 4, 5), np.float32)
    np.testing.assert_array_equal(cnnc.load_compiled(path)(x)["y"], compiled(x)["y"])
    assert targets.obstacles(driver.find_target(family)) == ()


def test_several_ends_and_samples_that_depend(tmp_path: Path) -> None:
    """Names, order and what a batch means survive."""
    text = """cnn 1
    net n { input a: f32[N, 4]  input b: f32[N, 4]
            output s = a + b  output r = a -> reshape([2, -1])  output d = a - b }
    """
    compiled = cnnc.load_text(text, batch=3).compile()
    compiled.save(tmp_path / "n.cnnc")
    loaded = cnnc.load_compiled(tmp_path / "n.cnnc")
    a, b = np.arange(12, dtype=np.float32).reshape(3, 4), np.ones((3, 4), np.float32)
    results = loaded(a=a, b=b)
    assert list(results) == ["s", "r", "d"]
    for name, values in compiled(a=a, b=b).items():
        np.testing.assert_array_equal(results[name], values)
    with pytest.raises(cnnc.UserError, match="only batches of 3"):
        loaded(a=a[:2], b=b[:2])
    with pytest.raises(cnnc.UserError, match="input `b` is missing"):
        loaded(a=a)
