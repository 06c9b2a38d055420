"""`check`, `show`, `ops` and `env`: what they print, and their JSON."""

import re
from pathlib import Path

import pytest

from tests.cli.helpers import DIGITS, Runner

NET = ("--net", "small")


def test_check_prints_layers_and_memory(cnnc: Runner) -> None:
    """The digits example, with its totals."""
    text = cnnc("check", DIGITS / "digits.cnn").out
    assert "stem.conv" in text
    assert "24,378 parameters" in text
    assert re.search(r"arena ([\d.]+ KiB) \(at least \1 are alive at once\)", text)


def test_check_says_what_each_thread_needs(cnnc: Runner) -> None:
    """Winograd's tiles lie in scratch memory; without it there is none to speak of."""
    net = (DIGITS / "digits.cnn", "--target", "x86-64-v4")
    assert re.search(r"scratch [\d.]+ KiB a thread", cnnc("check", *net).out)
    assert "scratch" not in cnnc("check", *net, "--exact").out
    sizes = [
        cnnc("check", *net, *more, "--json").json()["compiled"]["scratch_bytes_a_thread"]
        for more in ((), ("--exact",))
    ]
    assert sizes[0] > sizes[1] == 0


def test_check_as_json(cnnc: Runner, small: Path) -> None:
    """Shapes follow --set and --batch."""
    data = cnnc("check", small, *NET, "--set", "width=7", "--batch", "2", "--json").json()
    assert data["ok"] is True
    assert data["params"] == {"width": "7"}
    assert data["inputs"] == {"x": [2, 3, 5, 6]}
    assert data["layers"][0]["shape"] == [2, 7, 5, 6]
    compiled = data["compiled"]
    assert compiled["arena_bytes"] >= compiled["arena_bound_bytes"] > 0


def test_check_for_a_processor_of_another_kind(cnnc: Runner, small: Path) -> None:
    """Planning needs no machine of that kind."""
    assert "compiled:" in cnnc("check", small, *NET, "--target", "aarch64").out


def test_check_for_a_gpu_says_what_is_built(cnnc: Runner, tmp_path: Path) -> None:
    """Weights are packed, and in the arena parts of sums lie as well."""
    net = (DIGITS / "digits.cnn", "--target", "cuda:bf16")
    compiled = cnnc("check", *net, "--json").json()["compiled"]
    cnnc("build", *net, "--emit", "cuda", "-o", tmp_path)
    header = (tmp_path / "digits.h").read_text()
    for name, key in (("WEIGHTS_BYTES", "weights_bytes"), ("ARENA_BYTES", "arena_bytes")):
        assert f"#define DIGITS_{name} {compiled[key]} " in header
    assert f"#define DIGITS_LAUNCHES {compiled['launches']} " in header
    kernels = (tmp_path / "digits.cu").read_text().count("__global__ void")
    assert compiled["kernels"] == kernels
    text = cnnc("check", *net).out
    assert f"{compiled['launches']} kernels a run, {kernels} of them distinct" in text
    assert "alive at once" not in text


def test_check_without_weights(cnnc: Runner, tmp_path: Path) -> None:
    """Shapes of a network whose weights file is not there."""
    path = tmp_path / "net.cnn"
    path.write_text(
        "cnn 1\nnet n {\n  input x: f32[N, 2]\n  output y = x -> dense(3)\n"
        '  weights "later.safetensors"\n}\n'
    )
    assert "E0701" in cnnc("check", path, code=1).err
    assert "9 parameters" in cnnc("check", path, "--no-weights").out


def test_all_mistakes_with_carets(cnnc: Runner, tmp_path: Path) -> None:
    """Every mistake of the file, with its line; no traceback."""
    path = tmp_path / "bad.cnn"
    path.write_text(
        "cnn 1\nnet n {\n  input x: f32[N, 3, 8, 8]\n"
        "  a = x -> conv(4, 3, strid = 2)\n  output y = x -> rleu\n}\n"
    )
    text = cnnc("check", path, code=1).err
    assert "did you mean `stride`?" in text
    assert "did you mean `relu`?" in text
    assert "^^^^" in text
    assert "2 errors" in text
    assert "Traceback" not in text


def test_mistakes_as_json(cnnc: Runner, tmp_path: Path) -> None:
    """Code, place, message and help as data."""
    path = tmp_path / "bad.cnn"
    path.write_text("cnn 1\nnet n {\n  input x: f32[N, 3]\n  output y = x -> rleu\n}\n")
    data = cnnc("check", path, "--json", code=1).json()
    assert data["ok"] is False
    (found,) = data["diagnostics"]
    assert found["code"] == "E0202"
    assert found["place"]["line"] == 4


def test_why_a_result_may_be_larger_than_the_arena(cnnc: Runner, tmp_path: Path) -> None:
    """It is said where it is so, only."""
    path = tmp_path / "n.cnn"
    text = "cnn 1\nnet n {\n  input x: f32[N, 4, 64]\n  output y = x -> relu\n}\n"
    path.write_text(text)
    assert "which has no outputs in it" in cnnc("check", path).out
    path.write_text(text.replace("relu", "relu -> softmax(axis = 1) -> pool(max, 2)"))
    assert "larger than the arena" not in cnnc("check", path).out


@pytest.mark.parametrize("stage", ["ast", "graph", "loops", "flat", "program", "llvm", "asm"])
def test_every_stage_shows(cnnc: Runner, small: Path, stage: str) -> None:
    """Each prints something of its own kind."""
    sign = {
        "ast": "Net name=small",
        "graph": "graph small (batch=1)",
        "loops": "fma(",
        "flat": "parallel",
        "program": "arena",
        "llvm": "define",
        "asm": "ret",
    }
    assert sign[stage] in cnnc("show", small, *NET, "--stage", stage).out


def test_the_graph_after_a_pass(cnnc: Runner, small: Path) -> None:
    """Fusion shows only after `fuse`; `source` is the graph as built."""
    assert "fused[" not in cnnc("show", small, *NET, "--after", "source").out
    assert "fused[" not in cnnc("show", small, *NET, "--after", "simplify").out
    assert "fused[" in cnnc("show", small, *NET, "--after", "fuse").out
    assert "did you mean `fuse`?" in cnnc("show", small, *NET, "--after", "fusee", code=1).err


def test_one_layer_only(cnnc: Runner, small: Path) -> None:
    """Loops of one layer; a wrong name lists the right ones."""
    text = cnnc("show", small, *NET, "--stage", "loops", "--layer", "h.conv").out
    assert text.count("kernel ") == 1
    text = cnnc("show", small, *NET, "--stage", "loops", "--layer", "h.con", code=1).err
    assert "did you mean `h.conv`?" in text
    cnnc("show", small, *NET, "--stage", "graph", "--layer", "h.conv", code=1)


@pytest.mark.parametrize(
    ("name", "message", "help"),
    [
        ("h.0.batchnorm", "`h.0.batchnorm` is computed within `h.0.conv`", "`--layer h.0.conv`"),
        ("h.1.relu", "`h.1.relu` is computed within `h.1.conv`", "`--layer h.1.conv`"),
        ("h.1.dropout", "nothing is computed for it", "--stage program"),
        ("x", "`x` is an input", "--stage program"),
        ("h.1", "no compiled layer is called `h.1`", "such as `h.1.conv`"),
        ("h.1.rel", "no compiled layer is called `h.1.rel`", "did you mean `h.1.relu`?"),
        ("", "no compiled layer is called ``", "--stage program"),
    ],
)
def test_where_a_layer_without_a_step_went(
    cnnc: Runner, tmp_path: Path, name: str, message: str, help: str
) -> None:
    """It is said that it is fused and with what, not that of another block."""
    path = tmp_path / "blocks.cnn"
    path.write_text(
        "cnn 1\nblock b() { conv(4, 3) -> batchnorm -> relu -> dropout }\nnet n {\n"
        "  input x: f32[N, 3, 8, 8]\n  h = x -> repeat(2) { b() }\n"
        "  output y = h -> flatten -> dense(3)\n  weights he(seed = 2)\n}\n"
    )
    text = cnnc("show", path, "--stage", "flat", "--layer", name, code=1).err
    assert message in text
    assert help in text.split("help: ")[1]
    # an output is its layer
    assert "kernel " in cnnc("show", path, "--stage", "loops", "--layer", "y").out


def test_assembly_for_another_processor(cnnc: Runner, small: Path) -> None:
    """Cross-compiled: AArch64 code on any machine."""
    args = ("--stage", "asm", "--layer", "h.conv", "--target", "aarch64")
    assert "fmla" in cnnc("show", small, *NET, *args).out


def test_operators_come_from_their_classes(cnnc: Runner) -> None:
    """The table, one operator, and a near name."""
    assert "conv" in cnnc("ops").out
    text = cnnc("ops", "conv").out
    assert "dilation" in text
    assert "distance between taps" in text
    assert max(map(len, text.splitlines())) <= 100
    assert max(map(len, cnnc("ops").out.splitlines())) <= 120
    assert "y = (x - mean) / √(var + eps) * weight + bias." in cnnc("ops").out
    assert "did you mean `conv`?" in cnnc("ops", "cnov", code=1).err
    assert "here it is `dense(10)`" in cnnc("ops", "Linear", code=1).err
    (conv,) = cnnc("ops", "conv", "--json").json()
    assert conv["name"] == "conv"


def test_the_environment(cnnc: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions, target facts and knobs; a wrong knob is a user's error."""
    text = cnnc("env").out
    for part in (
        "llvmlite",
        "vectors",
        "CNNC_DEBUG",
        "x86-64-v3",
        "native, c, cuda, interp, reference",
    ):
        assert part in text
    assert "L3" not in cnnc("env", "--target", "aarch64").out
    assert {"triple", "knobs", "cnnc"} <= cnnc("env", "--json").json().keys()
    folder = "/" + "long-name/" * 12
    monkeypatch.setenv("CNNC_CACHE", folder)
    lines = cnnc("env").out.splitlines()
    assert f"{'cache':19}{folder.rstrip('/')}" in lines  # in one piece, to be copied
    assert max(len(line) for line in lines if line.strip("─") and "long" not in line) <= 100
    monkeypatch.setenv("CNNC_DEBUG", "9")
    assert "CNNC_DEBUG" in cnnc("env", code=1).err


def test_knobs_show_and_dump(
    cnnc: Runner, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passes and times on standard error, one file per stage in the folder."""
    monkeypatch.setenv("CNNC_DEBUG", "1")
    monkeypatch.setenv("CNNC_TIME", "1")
    monkeypatch.setenv("CNNC_DUMP", str(tmp_path / "dump"))
    text = cnnc("check", small, *NET).err
    assert "fuse:" in text
    assert "lower" in text
    names = sorted(path.name for path in (tmp_path / "dump").iterdir())
    assert "source.graph" in names
    assert any(name.endswith("fuse.graph") for name in names)
    assert any(name.endswith(".loops") for name in names)


def test_files_to_import(cnnc: Runner, tmp_path: Path) -> None:
    """`--import-path` names folders, as often as needed; without it the file is not found."""
    path = tmp_path / "net.cnn"
    path.write_text(
        'cnn 1\nimport squeeze from "blocks.cnn"\nnet n {\n  input x: f32[N, 8, 2]\n'
        "  output y = x -> squeeze\n  weights he\n}\n"
    )
    folders = ("--import-path", tmp_path, "--import-path", DIGITS.parent)
    assert "y.gate.conv_1" in cnnc("check", path, *folders).out
    assert cnnc("diff", path, *folders, "--json").json()["ok"] is True
    error = cnnc("check", path, code=1).err
    assert "E0701" in error
    assert "--import-path" in cnnc("run", "--help").out


def test_a_batch_that_is_a_range(cnnc: Runner, small: Path) -> None:
    """Shapes are those of the largest."""
    data = cnnc("check", small, *NET, "--batch", "2..5", "--json").json()
    assert (data["fewest"], data["batch"]) == (2, 5)
    assert data["inputs"] == {"x": [5, 3, 5, 6]}
    assert "any batch of 2..5" in cnnc("check", small, *NET, "--set", "N=2..5").out
    assert (
        "for n in 5 samples" in cnnc("show", small, *NET, "--batch", "2..5", "--stage", "loops").out
    )
    assert cnnc("diff", small, *NET, "--batch", "2..5", "--json").json()["ok"] is True
    for text in ("2..", "1..2..3", "some", "9" * 5000):
        assert "neither a number nor a range" in cnnc("check", small, "--batch", text, code=1).err


def test_show_prints_c(cnnc: Runner, small: Path) -> None:
    whole = cnnc("show", small, *NET, "--stage", "c").out
    assert "int small_run(const small_weights *weights, void *arena" in whole
    assert "typedef struct small_weights small_weights;" in whole
    layer = cnnc("show", small, *NET, "--stage", "c", "--layer", "h.conv").out
    assert layer.startswith("/* ")
    assert "KERNEL void small_k" in layer
    assert "small_run" not in layer
