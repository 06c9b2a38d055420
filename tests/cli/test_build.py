"""`cnnc build`, `cnnc kernel` and the sizes of `cnnc check`."""

from pathlib import Path

import numpy as np
import pytest

from tests.cli.helpers import DIGITS, Runner

NET = DIGITS / "digits.cnn"


def test_build_writes_a_table_of_files(cnnc: Runner, tmp_path: Path) -> None:
    """And what the network takes."""
    out = cnnc("build", NET, "-o", tmp_path, "--emit", "c,weights,h", "--target", "x86-64-v3").out
    assert "digits.weights" in out
    assert "RAM " in out
    assert "flash" in out
    assert (tmp_path / "digits.c").exists()
    assert not (tmp_path / "digits.o").exists()


def test_build_as_json(cnnc: Runner, tmp_path: Path) -> None:
    """Files with their bytes, and sizes."""
    found = cnnc("build", NET, "-o", tmp_path, "--json", "--target", "cortex-m4").json()
    files, sizes = found["files"], found["sizes"]
    assert isinstance(files, dict)
    assert isinstance(sizes, dict)
    for name, size in files.items():
        assert (tmp_path / name).stat().st_size == size
    assert set(files) == {"digits.h", "digits.o", "digits_weights.o", "digits.manifest.json"}
    assert sizes["peak_layer"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--emit", "wheel"], "there are h, c"),
        (["--emit", "shared"], "did you mean `so`?"),
        (["--emit", "c,o"], "did you mean `obj`?"),
        (["--emit", "projekt"], "did you mean `project`?"),
        (["--emit", ","], "names no form"),
        (["--max-ram", "many"], "no number of bytes"),
        (["--max-ram", "1K"], "over the limit"),
        (["--weights", "none"], "'builtin', 'external'"),
        (["--target", "x86-65"], "x86-64"),
        (["--cpu", "nothing", "--target", "aarch64"], "nothing"),
    ],
)
def test_build_refuses(args: list[str], words: str, cnnc: Runner, tmp_path: Path) -> None:
    """With a reason, and without a file."""
    ended = cnnc("build", NET, "-o", tmp_path / "out", *args, code=1)
    assert words in ended.err
    assert not (tmp_path / "out").exists()


def test_check_shows_sizes(cnnc: Runner) -> None:
    """For the target, and holds them against limits."""
    out = cnnc("check", NET, "--sizes", "--target", "cortex-m4").out
    assert "standing alone:" in out
    assert "alive in" in out
    plain = cnnc("check", NET).out
    assert "standing alone:" not in plain
    err = cnnc("check", NET, "--target", "cortex-m4", "--max-flash", "10K", code=1).err
    assert "error[E0807]: flash of" in err
    assert "what lowers it" in err
    assert cnnc("check", NET, "--max-flash", "10M", "--json").json()["sizes"]


def test_a_kernel_of_one_operator(cnnc: Runner, tmp_path: Path) -> None:
    """Its function takes plain pointers."""
    cnnc(
        *("kernel", "conv(8, 3, pad = same) -> relu", "--input", "f32[1,4,6,6]"),
        *("-o", tmp_path, "--name", "conv", "--emit", "c"),
    )
    header = (tmp_path / "conv.h").read_text()
    assert "int conv_run(const conv_weights *weights, void *arena, const float *x, float *y);" in (
        " ".join(header.split())
    )


def test_a_kernel_without_convolution_or_weights(cnnc: Runner, tmp_path: Path) -> None:
    """No warning, and weights of a head alone; several inputs have names."""
    ended = cnnc(
        *("kernel", "a + b -> relu", "--input", "a: f32[1,8]", "--input", "b: f32[1,8]"),
        *("-o", tmp_path, "--emit", "c,weights"),
    )
    assert ended.err == ""
    assert (tmp_path / "kernel.weights").stat().st_size >= 64


def test_a_kernel_takes_parameters_from_a_file(cnnc: Runner, tmp_path: Path) -> None:
    """They are in its weights; without a name that fits, the error says what is missing."""
    weight = np.full((2, 3), 1.2345, np.float32)
    np.savez(tmp_path / "w.npz", **{"weight": weight, "bias": np.zeros(2, np.float32)})
    args = ("kernel", "dense(2)", "--input", "f32[1,3]", "-o", tmp_path / "out", "--emit", "c")
    cnnc(*args, "--parameters", tmp_path / "w.npz")
    data = (tmp_path / "out" / "kernel.weights").read_bytes()
    assert weight[0, :1].tobytes() in data
    np.savez(tmp_path / "w.npz", other=weight)
    err = cnnc(*args, "--parameters", tmp_path / "w.npz", code=1).err
    assert "y.weight" in err


def test_forms_in_one_option_or_several(cnnc: Runner, tmp_path: Path) -> None:
    """Both are taken; of weights alone nobody asks how much RAM they take."""
    cnnc("build", NET, "-o", tmp_path, "--emit", "h", "--emit", "weights,ll")
    assert {"digits.h", "digits.weights", "digits.ll"} <= {p.name for p in tmp_path.iterdir()}
    assert "RAM" not in cnnc("build", NET, "-o", tmp_path / "2", "--emit", "weights").out


@pytest.mark.parametrize(
    ("text", "inputs", "words"),
    [
        ("conv(8, 3", ["f32[1,4,6,6]"], "<kernel>:1:10"),
        ("conv(8, 9)", ["f32[1,4,6,6]"], "<kernel>:1:14"),
        ("convolve(8)", ["f32[1,4,6,6]"], "convolve"),
        ("", ["f32[1,4]"], "is no chain"),
        ("relu\n}", ["f32[1,4]"], "is no chain"),
        ("relu", [], "needs an input"),
        ("relu", ["f32"], "is no input"),
        ("relu", ["f32[1,4]", "f32[1,4]"], "several inputs need names"),
        ("relu", ["f99[1,4]"], "f99"),
        ("relu", ["f32[1,4"], "is no input"),
        ("relu", ["f32[99999999,99999999,999]"], "error["),
    ],
)
def test_kernel_refuses(
    text: str, inputs: list[str], words: str, cnnc: Runner, tmp_path: Path
) -> None:
    """With a reason, and without a file."""
    given = [part for each in inputs for part in ("--input", each)]
    ended = cnnc("kernel", text, *given, "-o", tmp_path / "out", code=1)
    assert words in ended.err
    assert not (tmp_path / "out").exists()
