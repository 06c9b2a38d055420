"""The cache of machine code: what is found again, what is not, and what becomes of damage."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnnc
from cnnc import driver
from cnnc.backends.native import keys, objects
from cnnc.backends.native.runtime import runtime
from cnnc.cache import Cache, open_cache
from cnnc.frontend import grammar
from tests.cli.conftest import small
from tests.cli.helpers import Runner

__all__ = ["small"]

ROOT = Path(__file__).resolve().parents[2]
NET = """cnn 1
net n {{
  input x: f32[N, 3, 5, 6]
  output y = x -> conv(8, 3, pad = same) -> relu -> pool(avg, global) -> flatten -> dense({classes})
  weights he(seed = {seed})
}}
"""
KEY = "ab" + "0" * 62


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; what a process makes once is made already, and not in it."""
    grammar.language()
    runtime()
    path = tmp_path / "cache"
    monkeypatch.setenv("CNNC_CACHE", str(path))
    return path


@pytest.fixture
def runner(capsys: pytest.CaptureFixture[str]) -> Runner:
    """The command line."""
    return Runner(capsys)


@pytest.fixture
def compiled_modules(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules that LLVM compiles, as they come."""
    seen: list[str] = []
    compile_module = objects.compile_module

    def spy(source: str, *rest: object, **how: object) -> bytes:
        seen.append(source)
        return compile_module(source, *rest, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(objects, "compile_module", spy)
    return seen


def network(seed: int = 1, classes: int = 4) -> cnnc.Compiled:
    """The small network, compiled."""
    return cnnc.load_text(NET.format(seed=seed, classes=classes)).compile()


def sample() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """An input."""
    return np.linspace(-1, 1, 90, dtype=np.float32).reshape(1, 3, 5, 6)


def entries(folder: Path) -> list[Path]:
    """The files of a cache."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_nothing_is_compiled_twice(folder: Path, compiled_modules: list[str]) -> None:
    """The second time all code is found, and computes the same bits; the loops are still there."""
    first = network()
    made = len(compiled_modules)
    assert made == len(entries(folder)) - 1 == len(first.lowered.program.kernels) + 1
    second = network()
    assert len(compiled_modules) == made
    np.testing.assert_array_equal(first(sample())["y"], second(sample())["y"])
    assert second.lowered.program == first.lowered.program


def test_other_weights_share_the_code(folder: Path, compiled_modules: list[str]) -> None:
    """And compute something else; other loops are compiled, equal kernels beside them are not."""
    first, made = network(), len(compiled_modules)
    other = network(seed=2)
    assert len(compiled_modules) == made
    assert (other(sample())["y"] != first(sample())["y"]).all()
    network(classes=5)
    assert 0 < len(compiled_modules) - made < made


def test_the_target_is_part_of_the_key(folder: Path) -> None:
    """Code for another processor is never found."""
    lowered = network().lowered
    found = []
    for name in ("native", "x86-64"):
        recipes = objects.recipes(lowered.program, driver.find_target(name))
        found.append([recipe.key for recipe in recipes])
    assert not set(found[0]) & set(found[1])
    assert all(len(key) == 64 for key in found[0])


def test_the_compiler_is_part_of_the_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code of another version of cnnc or LLVM is never found."""
    program, target = network().lowered.program, driver.find_target("native")
    before = [recipe.key for recipe in objects.recipes(program, target)]
    monkeypatch.setattr(keys, "compiler", lambda: "another one")
    assert not set(before) & {recipe.key for recipe in objects.recipes(program, target)}


@pytest.mark.parametrize("knob", ["CNNC_DEBUG", "CNNC_TIME", "CNNC_DUMP"])
def test_knobs_that_show_compiling_compile(
    folder: Path,
    compiled_modules: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    knob: str,
) -> None:
    """Times and dumps are those of making the code."""
    network()
    made = len(compiled_modules)
    monkeypatch.setenv(knob, str(tmp_path) if knob == "CNNC_DUMP" else "1")
    network()
    assert len(compiled_modules) == 2 * made


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 40, None])
def test_damaged_entries_are_replaced(
    folder: Path, compiled_modules: list[str], damage: bytes | None
) -> None:
    """Cut short, overwritten, or one bit off."""
    expected, made = network()(sample())["y"], len(compiled_modules)
    good = {path: path.read_bytes() for path in entries(folder)}
    for path, content in good.items():
        flipped = bytes([content[-1] ^ 1])
        path.write_bytes(content[:-1] + flipped if damage is None else damage)
    np.testing.assert_array_equal(network()(sample())["y"], expected)
    assert len(compiled_modules) == 2 * made
    assert {path: path.read_bytes() for path in entries(folder)} == good


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    """What was read stays, and the folder never holds much more than it may."""
    cache = Cache(tmp_path, 1000)
    keys = [f"{number:02x}" + "0" * 62 for number in range(8)]
    for age, key in enumerate(keys):
        cache.put(key, bytes(68))
        os.utime(tmp_path / "code-1" / key[:2] / key, (1e9 + age, 1e9 + age))
    assert cache.usage().bytes == 800
    assert cache.get(keys[0]) == bytes(68)
    cache.put("ff" + "0" * 62, bytes(300))
    assert cache.usage().bytes <= 1000
    assert cache.get(keys[0])
    assert cache.get(keys[1]) is None
    assert cache.get("ff" + "0" * 62)
    cache.put("ee" + "0" * 62, bytes(2000))
    assert cache.get("ee" + "0" * 62) is None


def test_a_cache_that_cannot_be_written_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks run all the same; one that cannot even be made is a user's mistake."""
    (tmp_path / "code-1").write_text("in the way")
    monkeypatch.setenv("CNNC_CACHE", str(tmp_path))
    assert network()(sample())["y"].shape == (1, 4)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CNNC_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(cnnc.UserError, match=r"E0704.*CNNC_CACHE"):
        network()


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the user's cache folder, where the variable says, or nowhere."""
    assert open_cache({"CNNC_CACHE": "off"}) is None
    monkeypatch.setenv("HOME", str(tmp_path))
    at_home = open_cache({"CNNC_CACHE": "~/kept"})
    assert at_home is not None
    assert at_home.folder == tmp_path / "kept"
    with pytest.raises(cnnc.UserError, match=r"E0704.*CNNC_CACHE"):
        open_cache({"CNNC_CACHE": "~nobody-at-all/kept"})
    found = open_cache({})
    assert found is not None
    assert "cnnc" in str(found.folder)
    assert found.limit == 512 << 20


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("12", 12), ("3k", 3072), ("2G", 2 << 30)])
def test_sizes(text: str, size: int) -> None:
    """Bytes, or units of 1024."""
    found = open_cache({"CNNC_CACHE_SIZE": text})
    assert found is not None
    assert found.limit == size


@pytest.mark.parametrize("text", ["-1", "G", "1.5G", "ten", "9" * 20])
def test_what_is_no_size(text: str) -> None:
    """A user's error that names the variable."""
    with pytest.raises(cnnc.UserError, match="CNNC_CACHE_SIZE"):
        open_cache({"CNNC_CACHE_SIZE": text})


def test_clearing_removes_only_entries(folder: Path) -> None:
    """The folder may be one with other things in it."""
    network()
    others = [folder / "mine.txt", folder / "code-1" / "notes", folder / "code-1" / "ab" / "x.o"]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    cache = open_cache()
    assert cache is not None
    held = cache.usage()
    assert cache.clear() == held
    assert entries(folder) == sorted(others)


def test_the_verb(folder: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cnnc cache info` and `clear`, and `cnnc env` shows the place."""
    network()
    count = len(entries(folder))
    shown = runner("cache", "info").out
    assert str(folder) in shown
    assert f"{count} entries" in shown
    facts = runner("cache", "info", "--json").json()
    assert (facts["entries"], facts["writable"]) == (count, True)
    assert runner("env", "--json").json()["cache"] == str(folder)
    assert runner("cache", "clear", "--json").json()["removed"] == count
    assert "0 entries" in runner("cache", "clear").out
    monkeypatch.setenv("CNNC_CACHE", "off")
    assert "off" in runner("cache", "info").out
    assert "off" in runner("cache", "clear").out
    assert runner("cache", "info", "--json").json() == {"ok": True, "folder": None}


def test_diff_tests_the_code_of_the_cache(folder: Path, runner: Runner, small: Path) -> None:
    """Wrong code under a right key, which only tampering can make, is found and blamed."""
    runner("diff", small, "--net", "small")
    cache, target = open_cache(), driver.find_target("native")
    assert cache is not None
    programs = [
        cnnc.load_text(text, net="small").compile().lowered.program
        for text in (small.read_text(), small.read_text().replace("relu", "tanh"))
    ]
    pairs = list(zip(*(program.kernels for program in programs), strict=True))
    place = next(number for number, (right, wrong) in enumerate(pairs) if right != wrong)
    assert pairs[place][0].name == pairs[place][1].name
    right, wrong = (list(objects.recipes(program, target))[place] for program in programs)
    form = objects.Form.OBJECT
    cache.put(right.key, objects.compile_module(wrong.source(), target, form))
    assert "native" in runner("diff", small, "--net", "small", code=2).out


def test_processes_at_once(folder: Path) -> None:
    """They fill one cache together, and each gets right results."""
    code = f"""
import numpy as np, cnnc
x = np.linspace(-1, 1, 90, dtype=np.float32).reshape(1, 3, 5, 6)
for classes in (4, 5, 6):
    text = {NET!r}.format(seed=1, classes=classes)
    print(cnnc.load_text(text).compile()(x)["y"].tobytes().hex())
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    expected = [network(classes=classes)(sample())["y"].tobytes().hex() for classes in (4, 5, 6)]
    assert all(output.split() == expected for output in outputs)
    assert all(len(path.name) == 64 for path in entries(folder))
