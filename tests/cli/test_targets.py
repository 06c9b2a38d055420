"""`--target` and `--cpu` of all verbs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cnnc import driver
from tests.cli.helpers import Runner


def test_a_target_and_a_processor(cnnc: Runner) -> None:
    facts = json.loads(
        cnnc("env", "--target", "aarch64-linux-gnu", "--cpu", "cortex-a53", "--json").out
    )
    assert (facts["triple"], facts["cpu"]) == ("aarch64-unknown-linux-gnu", "cortex-a53")
    assert "cortex-a72" in facts["cpus"]
    turned = json.loads(
        cnnc("env", "--cpu", "cortex-m4", "--target", "arm-none-eabi", "--json").out
    )
    assert turned["triple"] == "thumbv7em-unknown-none-eabi"
    both = json.loads(cnnc("env", "--target", "x86-64:haswell", "--json").out)
    assert both["cpu"] == "haswell"
    assert "riscv64-v" in both["targets"]


def test_cores_of_several_kinds_are_named(cnnc: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    for mixed, words in ((True, "8, of several kinds"), (False, "8")):
        machine = replace(driver.find_target("x86-64-v4"), cores=8, mixed_cores=mixed)
        with monkeypatch.context() as patch:
            patch.setattr(driver, "find_target", lambda _, found=machine: found)
            assert json.loads(cnnc("env", "--json").out)["cores"] == words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "aarch64:cortex-a53", "--cpu", "cortex-a72"), "names a processor too"),
        (("--target", "aarch64", "--cpu", "cortex-a5"), "did you mean `cortex-a55`?"),
        (("--target", "aarch64", "--cpu", "cortex-a53,cortex-a72"), "several processors"),
        (("--target", "aarch64", "--cpu", ""), "no processor of aarch64 is called ``"),
        (("--target", "x86-64-v3", "--cpu", "nehalem"), "`nehalem` contradicts the target"),
        (("--target", "cortex-m4", "--cpu", "cortex-m7"), "the target for it is `cortex-m7`"),
        (("--target", "cuda:bf16", "--cpu", "sm_90"), "write `cuda:bf16,sm_90`"),
        (("--target", "sparc-sun-solaris"), "no target is called `sparc-sun-solaris`"),
    ],
)
def test_what_is_no_target(cnnc: Runner, arguments: tuple[str, ...], message: str) -> None:
    assert message in cnnc("env", *arguments, code=1).err


@pytest.mark.parametrize("target", ["cortex-m4", "riscv32-v", "wasm32-simd", "arm64-apple-macos"])
def test_other_machines_code_shows(cnnc: Runner, small: Path, target: str) -> None:
    """And does not run."""
    shown = cnnc("show", small, "--net", "small", "--stage", "asm", "--target", target)
    assert shown.out.count("\n") > 50
    assert shown.err == ""
    cnnc("check", small, "--net", "small", "--target", target)
    assert "does not run" in cnnc("diff", small, "--net", "small", "--target", target, code=1).err


def test_a_gpu_has_precisions_beside_its_processors(cnnc: Runner) -> None:
    facts = json.loads(cnnc("env", "--target", "cuda", "--json").out)
    assert facts["cpus"].startswith("sm_80, ")
    assert "f32" not in facts["cpus"]
    assert facts["precisions"] == "f32, f32_exact, tf32, bf16, f16"
    assert "precisions" not in json.loads(cnnc("env", "--json").out)
