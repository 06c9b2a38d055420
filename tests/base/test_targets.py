"""Targets by family, by triple and by processor."""

import re
from pathlib import Path

import pytest

from cnnc import driver
from cnnc.backends.native.targets import cpu_names, named_target, target_machine, target_names
from cnnc.base.dtype import DType
from cnnc.base.errors import UserError
from cnnc.base.processors import FAMILIES, PROCESSORS, default_cpu, has_all_of
from cnnc.base.triples import parse_triple


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("aarch64-linux-gnu", "aarch64-unknown-linux-gnu"),
        ("aarch64-linux", "aarch64-unknown-linux-gnu"),
        ("aarch64-unknown-linux-musl", "aarch64-unknown-linux-musl"),
        ("arm64-apple-macos11", "arm64-apple-macosx11"),
        ("x86_64-apple-darwin23.1.0", "x86_64-apple-darwin23.1.0"),
        ("x86_64-w64-windows-gnu", "x86_64-pc-windows-gnu"),
        ("x86_64-pc-windows", "x86_64-pc-windows-msvc"),
        ("arm-linux-gnueabihf", "armv7-unknown-linux-gnueabihf"),
        ("armv7-none-eabi", "armv7-unknown-none-eabi"),
        ("thumbv7em-none-eabihf", "thumbv7em-unknown-none-eabihf"),
        ("riscv32-unknown-elf", "riscv32-unknown-none-elf"),
        ("riscv64-linux-gnu", "riscv64-unknown-linux-gnu"),
        ("wasm32", "wasm32-unknown-unknown"),
        ("wasm32-wasi", "wasm32-unknown-wasi"),
        ("AArch64-Linux-GNU", "aarch64-unknown-linux-gnu"),
    ],
)
def test_triples_are_completed(text: str, whole: str) -> None:
    assert str(parse_triple(text)) == whole


@pytest.mark.parametrize(
    ("family", "fits", "contradicts"),
    [
        ("x86-64", ["nehalem", "x86-64-v4"], {}),
        ("x86-64-v2", ["nehalem", "haswell"], {"x86-64": "x86-64"}),
        ("x86-64-v3", ["haswell", "znver5"], {"nehalem": "x86-64:nehalem"}),
        ("x86-64-v4", ["skylake-avx512"], {"skylake": "x86-64:skylake"}),
        ("cortex-m4", ["cortex-m4"], {"cortex-m7": "cortex-m7"}),
        ("armv7", ["cortex-a7", "cortex-a8"], {}),
        ("riscv32", ["rv32imc", "rv32gcv"], {}),
        ("riscv32-v", ["rv32gcv"], {"rv32gc": "riscv32:rv32gc"}),
        ("wasm32-simd", ["simd128"], {"generic": "wasm32:generic"}),
    ],
)
def test_a_processor_has_what_its_family_promises(
    family: str, fits: list[str], contradicts: dict[str, str]
) -> None:
    known = cpu_names(family)
    for cpu in fits:
        named_target(f"{family}:{cpu}")
        assert cpu in known
    for cpu, better in contradicts.items():
        with pytest.raises(UserError, match="contradicts") as caught:
            named_target(f"{family}:{cpu}")
        assert f"the target for it is `{better}`" in str(caught.value)
        assert cpu not in known
        named_target(better)


@pytest.mark.parametrize(
    ("name", "message", "help"),
    [
        ("aarch64-linx-gnu", "`linx` in the target", "did you mean `linux`?"),
        ("aarch64-linux-gnu-gnu", "`gnu` in the target", None),
        ("cortexm4", "no target is called `cortexm4`", "did you mean `cortex-m4`?"),
        ("aarch64:cortex-a35", "no processor of aarch64", "did you mean"),
        ("aarch64:haswell", "no processor of aarch64 is called `haswell`", "known are generic"),
        ("x86-64:", "no processor of x86_64 is called ``", "known are x86-64"),
        ("arm-none-eabi", "does not say which processor", "add one of cortex-m0"),
        ("thumbv7m-none-eabihf", "cortex-m3 has none", "write `thumbv7m-unknown-none-eabi`"),
        ("armv7-windows-msvc", "no objects of windows for armv7", None),
        ("thumbv7m-linux-gnueabi", "a microcontroller has no system", None),
        ("x86_64-wasi", "do not go together", None),
        ("wasm32-linux", "do not go together", None),
        ("x86-64:x86-64-v2,x86-64-v3", "several processors", "name one"),
        (":", "no target is called ``", "known targets are"),
        ("+", "no target is called `+`", "known targets are"),
    ],
)
def test_what_is_unknown_is_a_users_error(
    name: str, message: str, help: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """And LLVM says nothing of its own."""
    with pytest.raises(UserError) as caught:
        named_target(name)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0801"
    assert message in diagnostic.message
    assert help is None or help in str(diagnostic.help)
    assert capfd.readouterr() == ("", "")


def _every_name() -> list[str]:
    names = list(target_names())
    for processor in PROCESSORS:
        names += [
            f"{family}:{processor.name}"
            for family, (triple, _) in FAMILIES.items()
            if triple.startswith(f"{processor.architecture}-") and has_all_of(family, processor)
        ]
    return names


def test_llvm_knows_all_processors_and_features(capfd: pytest.CaptureFixture[str]) -> None:
    """It warns of those it does not know on standard error."""
    for name in _every_name():
        target = named_target(name)
        layout = str(target_machine(target, jit=False).target_data)
        assert ("p:32:32" in layout) == (target.pointer_bits == 32), name
        assert target.lanes(DType.F32) == target.vector_bits // 32
        assert target.lanes(DType.F64) >= 1
    assert capfd.readouterr().err == ""


def test_the_table_for_readers_is_right() -> None:
    """docs/standalone.md: every family, its triple and its registers."""
    path = Path(__file__).resolve().parents[2] / "docs" / "standalone.md"
    text = path.read_text("utf-8").partition("## Targets")[2]
    rows = re.findall(r"^\| (`.*`) \| `(.*)` \| (.*) \|$", text, re.MULTILINE)
    listed = {name: (triple, has) for names, triple, has in rows for name in _ticked(names)}
    assert set(listed) == set(FAMILIES)
    for name, (triple, has) in listed.items():
        target = named_target(name)
        count, bits = target.vector_registers, target.vector_bits
        floats = f"{count} single floats" if count >= 16 else "calls"
        assert (triple, has) == (
            target.triple,
            f"{count} vectors of {bits} bits" if bits > 32 else floats,
        )


def _ticked(text: str) -> list[str]:
    return re.findall(r"`([^`]*)`", text)


def test_floats_of_arm_are_as_the_triple_says() -> None:
    hard, soft = map(named_target, ("thumbv7em-none-eabihf", "thumbv7em-none-eabi"))
    assert hard.has_fma
    assert not soft.has_fma
    assert "+soft-float" in soft.features
    assert named_target("arm-none-eabi:cortex-m33").triple.startswith("thumbv8m.main-")


def test_neon_is_not_used_on_armv7() -> None:
    """It takes subnormal numbers for zero."""
    for name in ("armv7", "armv7-soft", "arm-linux-gnueabihf:cortex-a7"):
        target = named_target(name)
        assert target.vector_bits == 32
        assert "-neon" in target.features


def test_small_machines_are_those_without_much_memory() -> None:
    small = {name for name in target_names() if named_target(name).is_small}
    assert small == {name for name in FAMILIES if name.startswith("cortex-m")} | {"riscv32"}


def test_every_architecture_has_a_processor_of_its_own() -> None:
    for architecture in {each.architecture for each in PROCESSORS}:
        assert default_cpu(architecture)


def test_several_levels_come_lowest_first() -> None:
    found = driver.find_versions("x86-64:x86-64-v4,x86-64-v2,x86-64-v3")
    assert [target.cpu for target in found] == ["x86-64-v2", "x86-64-v3", "x86-64-v4"]
    (alone,) = driver.find_versions("x86-64:haswell")
    assert alone.cpu == "haswell"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x86-64:haswell,znver4", "cannot choose at run time whether it is on a"),
        ("aarch64:cortex-a53,cortex-a72", "cannot choose at run time"),
        ("x86-64:x86-64-v2,x86-64-v2", "named twice"),
        ("x86-64:x86-64-v2,x86-64-v9", "no processor of x86_64 is called `x86-64-v9`"),
        ("x86-64:x86-64-v2,", "no processor of x86_64 is called ``"),
    ],
)
def test_versions_that_no_code_can_tell_apart(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        driver.find_versions(name)
