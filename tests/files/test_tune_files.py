"""Tune files: they read back, say where they are wrong, and change code only as they say."""

import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

import cnnc
from cnnc import driver
from cnnc.base.choice import Choice, Choices
from cnnc.base.errors import UserError
from cnnc.loop.text import print_kernel
from cnnc.offers.offer import key_of
from cnnc.tunefile import (
    MAX_BYTES,
    Entry,
    TuneFile,
    facts_of,
    read_choices,
    read_tune_file,
    target_line,
    write_tune_file,
)

HOST = driver.find_target("native")
NET = """cnn 1
net n {
  input x: f32[N, 32, 12, 12]
  output y = x -> conv(32, 1) -> relu
  weights he
}
"""
CHOICE = "direct tile=1x1x3"


def tuned(choice: str = CHOICE) -> TuneFile:
    """A file about the only layer of NET, and a layer of another net."""
    layer = cnnc.load_text(NET).graph.outputs["y"].inputs[0]
    key = key_of(layer, Choices(facts=facts_of(HOST, exact=False)))
    first = Entry(key, Choice.parse(choice), 12.5, 10.0, 14, -0.25, "y.conv")
    other = Entry("0" * 16, Choice.parse("direct tile=1x1x1"), 1.0, 1.0, 1, None, "über.conv")
    return TuneFile(target_line(HOST), {entry.key: entry for entry in (first, other)})


def signed(text: str) -> str:
    """A text with the sum of itself."""
    return f"{text}sum {sha256(text.encode()).hexdigest()}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a sound file lies."""
    path = tmp_path / "n.tune"
    write_tune_file(path, tuned())
    return path


def loops(**options: object) -> list[str]:
    """The loops of NET."""
    compiled = cnnc.load_text(NET).compile(**options)  # type: ignore[arg-type]
    return [print_kernel(layer.kernel) for layer in compiled.lowered.layers]


def test_round_trip(path: Path) -> None:
    """What is written reads back; the same content is the same text."""
    found = read_tune_file(path, HOST)
    assert found == tuned()
    assert found.format() == path.read_text(encoding="utf-8")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_tune_file(path, HOST) == tuned()


def test_it_is_readable(path: Path) -> None:
    """A line says which layer, how fast, and what is chosen."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6
    assert lines[3].endswith(f"12.50        10.00    14 -0.25  {CHOICE}  # y.conv")


def test_the_choice_is_used(path: Path) -> None:
    """The code is another one, the same in every run, and right."""
    assert loops() != loops(tuning=path) == loops(tuning=str(path))
    compiled = cnnc.load_text(NET).compile(tuning=path)
    assert "tile 1×3" in str(compiled.layers)
    assert len(compiled.tuned) == 1
    assert cnnc.diff(compiled).ok


def test_more_cores_change_no_key() -> None:
    """A file does not depend on how many cores a process may use."""
    assert target_line(replace(HOST, cores=64)) == target_line(HOST)
    assert target_line(replace(HOST, l2_bytes=1)) != target_line(HOST)


def test_exact_is_another_layer(path: Path) -> None:
    """What was measured with all algorithms says nothing about fewer of them."""
    with pytest.raises(UserError, match="E0806"):
        loops(tuning=path, exact=True)


def test_another_batch_is_another_layer(path: Path) -> None:
    with pytest.raises(UserError, match="E0806"):
        cnnc.load_text(NET).compile(batch=3, tuning=path)


def test_another_target(path: Path) -> None:
    with pytest.raises(UserError, match="E0804"):
        read_choices(path, driver.find_target("aarch64"), exact=False)


SOUND = tuned().format().split("\n")
FORGED = {
    "empty": "",
    "another format": signed("cnnc tune 2\n"),
    "first line only": "cnnc tune 1\n",
    "no target": signed("cnnc tune 1\n"),
    "no sum": "\n".join(SOUND[:-2]),
    "cut off": "\n".join(SOUND)[:-30],
    "changed": "\n".join(SOUND).replace("1x1x3", "1x1x2"),
    "twice": signed("\n".join([*SOUND[:4], SOUND[3], ""])),
    "no choice": signed("\n".join([*SOUND[:3], SOUND[3].replace(CHOICE, "Direct"), ""])),
    "no time": signed("\n".join([*SOUND[:3], SOUND[3].replace("12.50", "nan"), ""])),
    "no key": signed("\n".join([*SOUND[:3], "x" * 16, ""])),
    "blank": signed("\n".join([*SOUND[:4], "", ""])),
    "bytes": "\0\ufffd" * 40,
}


@pytest.mark.parametrize("name", FORGED)
def test_damaged_files(path: Path, name: str) -> None:
    """They are refused, with a place and help."""
    path.write_text(FORGED[name], encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_tune_file(path, HOST)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0705"
    assert diagnostic.span is not None
    assert diagnostic.help


@pytest.mark.parametrize(("first", "ours"), [("cnnc tune 2", True), ("cnn 1", False), ("", False)])
def test_what_others_wrote_is_not_to_be_removed(path: Path, first: str, *, ours: bool) -> None:
    """Nobody is told to remove a source because it was named by mistake."""
    path.write_text(f"{first}\nnet n {{\n")
    with pytest.raises(UserError) as caught:
        read_tune_file(path, HOST)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.help
    assert ("remove" in diagnostic.help, "name a file" in diagnostic.help) == (ours, not ours)
    # options are those of a command, and this may be Python
    assert "-o" not in diagnostic.help


@pytest.mark.parametrize("line", [" ", "a ", " a", "# ", " #"])
@pytest.mark.parametrize("columns", range(6))
def test_long_lines(path: Path, line: str, columns: int) -> None:
    """They are refused in no time, wherever in an entry they are long."""
    start = " ".join(SOUND[3].split()[:columns])
    entry = start + " " + line * (MAX_BYTES // 2 // len(line))
    path.write_text(signed("\n".join([*SOUND[:3], entry, ""])))
    begin = time.process_time()
    with pytest.raises(UserError, match="E0705"):
        read_tune_file(path, HOST)
    assert time.process_time() - begin < 5


def test_no_file(tmp_path: Path) -> None:
    """What cannot be read at all."""
    wrong = {"E0701": tmp_path / "none.tune", "E0702": tmp_path, "E0501": tmp_path / "large.tune"}
    wrong["E0501"].write_bytes(b"a" * (MAX_BYTES + 1))
    for code, path in wrong.items():
        with pytest.raises(UserError, match=code):
            loops(tuning=path)
    with pytest.raises(UserError, match="E0801"):
        loops(tuning=5)
    with pytest.raises(UserError, match="E0702"):
        loops(tuning="a\0b")


def test_the_reference_has_no_choices(path: Path) -> None:
    """A file that would not even be opened is refused."""
    for each in (path, "nope.tune"):
        with pytest.raises(UserError, match="E0803"):
            cnnc.load_text(NET).compile(backend="reference", tuning=each)


def test_a_choice_that_is_not_possible(path: Path) -> None:
    """It is shown where it stands."""
    write_tune_file(path, tuned("winograd points=6 rows=1 at_once=16 columns=1"))
    with pytest.raises(UserError) as caught:
        loops(tuning=path)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0805"
    assert diagnostic.span
    assert diagnostic.span.line == 4
    assert diagnostic.span.excerpt.startswith("winograd")
