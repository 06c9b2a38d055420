"""What the host says about itself, targets by name, LLVM's machines for them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from llvmlite import binding as llvm

from cnnc.backends.native.host import (
    VectorUnit,
    caches_in_sysfs,
    enabled,
    has_mixed_cores,
    host_features,
    host_target,
    usable_cores,
    vector_unit,
)
from cnnc.backends.native.targets import named_target, runs_here, target_machine, target_names
from cnnc.base.dtype import DType
from cnnc.base.errors import UserError
from cnnc.base.target import Target

# Sums two arrays, for LLVM's own vectoriser.
LOOP = """
define void @add(ptr noalias %a, ptr noalias %b, i64 %n) {
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %next, %loop ]
  %a.at = getelementptr float, ptr %a, i64 %i
  %b.at = getelementptr float, ptr %b, i64 %i
  %x = load float, ptr %a.at
  %y = load float, ptr %b.at
  %sum = fadd float %x, %y
  store float %sum, ptr %a.at
  %next = add nuw nsw i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


def write(root: Path, files: dict[str, str]) -> None:
    """Text files under a folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def assembly(text: str, target: Target) -> str:
    """Optimised assembly of a module."""
    machine = target_machine(target, jit=False)
    module = llvm.parse_assembly(text, llvm.create_context())
    module.triple, module.data_layout = target.triple, str(machine.target_data)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(3))
    builder.getModulePassManager().run(module, builder)
    return str(machine.emit_assembly(module))


def test_host_agrees_with_the_kernel() -> None:
    """LLVM's view of the processor is that of /proc/cpuinfo."""
    info = Path("/proc/cpuinfo")
    if not info.exists() or "flags" not in info.read_text():
        pytest.skip("no description of an x86 processor here")
    flags = set(re.findall(r"^flags\s*:(.*)$", info.read_text(), re.M)[0].split())
    target = host_target()
    assert target.triple == llvm.get_process_triple()
    assert (target.vector_bits == 512) == ("avx512f" in flags)
    assert (target.vector_bits >= 256) == ("avx" in flags)
    assert (target.vector_registers == 32) == ("avx512f" in flags)
    assert target.has_fma == ("fma" in flags)
    for name in ("avx2", "bmi2", "avx512bw"):
        assert (name in enabled(target.features)) == (name in flags)


def test_host_runs_its_own_code() -> None:
    target = host_target()
    assert runs_here(target)
    assert target.cores >= 1
    assert target.l1_bytes < target.l2_bytes
    assert target.lanes(DType.F32) * 32 == target.vector_bits


@pytest.mark.parametrize(
    ("architecture", "features", "unit"),
    [
        ("x86_64", "+sse2", VectorUnit(128, 16, has_fma=False)),
        ("x86_64", "+avx,-fma", VectorUnit(256, 16, has_fma=False)),
        ("x86_64", "+avx,+avx2,+fma,-avx512f", VectorUnit(256, 16, has_fma=True)),
        ("x86_64", "+avx,+fma,+avx512f", VectorUnit(512, 32, has_fma=True)),
        ("aarch64", "", VectorUnit(128, 32, has_fma=True)),
        ("arm64", "+neon", VectorUnit(128, 32, has_fma=True)),
    ],
)
def test_vector_unit(architecture: str, features: str, unit: VectorUnit) -> None:
    assert vector_unit(architecture, features) == unit


def test_caches(tmp_path: Path) -> None:
    cache = "sys/devices/system/cpu/cpu3/cache"
    described = [("Data", "1", "48K"), ("Instruction", "1", "32K"), ("Unified", "2", "2048K")]
    described += [("Unified", "3", "32M"), ("Unified", "x", "1K"), ("Data", "4", "")]
    for index, (kind, level, size) in enumerate(described):
        folder = f"{cache}/index{index}"
        write(
            tmp_path,
            {f"{folder}/type": kind, f"{folder}/level": level, f"{folder}/size": f"{size}\n"},
        )
    assert caches_in_sysfs(tmp_path, 3) == {1: 48 * 1024, 2: 2048 * 1024, 3: 32 * 1024**2}
    assert caches_in_sysfs(tmp_path, 0) == {}


def test_cores_count_siblings_once(tmp_path: Path) -> None:
    topology = "sys/devices/system/cpu/cpu{}/topology/core_cpus_list"
    write(tmp_path, {topology.format(cpu): f"{cpu % 4},{cpu % 4 + 4}\n" for cpu in range(8)})
    assert usable_cores(tmp_path, set(range(8))) == 4
    assert usable_cores(tmp_path, {0, 4}) == 1
    assert usable_cores(tmp_path, {0, 1, 5}) == 2


@pytest.mark.parametrize(
    ("name", "fast", "slow", "mixed"),
    [
        ("cpu_capacity", "1024", "446", True),
        ("cpu_capacity", "1024", "1024", False),
        ("cpufreq/cpuinfo_max_freq", "5700000", "5500000", False),
        ("cpufreq/cpuinfo_max_freq", "5100000", "3300000", True),
        ("cpufreq/cpuinfo_max_freq", "unknown", "", False),
    ],
)
def test_cores_of_several_kinds(
    tmp_path: Path, name: str, fast: str, slow: str, mixed: bool
) -> None:
    speeds = [fast] * 4 + [slow] * 4
    place = f"sys/devices/system/cpu/cpu{{}}/{name}"
    write(tmp_path, {place.format(cpu): f"{speed}\n" for cpu, speed in enumerate(speeds)})
    assert has_mixed_cores(tmp_path, set(range(8))) == mixed
    assert not has_mixed_cores(tmp_path, {0, 1, 2, 3})


@pytest.mark.parametrize(
    ("core", "atom", "mixed"),
    [("0-3", "4-7", True), ("0-1,3", "9", False), ("0-7", "", False), ("x", "0-7", False)],
)
def test_kinds_of_cores_that_are_listed(tmp_path: Path, core: str, atom: str, mixed: bool) -> None:
    lists = {"core": core, "atom": atom}
    write(tmp_path, {f"sys/devices/cpu_{kind}/cpus": text for kind, text in lists.items()})
    assert has_mixed_cores(tmp_path, set(range(8))) == mixed
    assert not has_mixed_cores(tmp_path, set())


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        (
            {
                "proc/self/cgroup": "0::/outer/inner\n",
                "sys/fs/cgroup/outer/cpu.max": "300000 100000",
                "sys/fs/cgroup/outer/inner/cpu.max": "max 100000",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/box\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
    ],
)
def test_cores_keep_within_the_quota(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    write(tmp_path, files)
    assert usable_cores(tmp_path, set(range(8))) == cores


def test_names() -> None:
    assert named_target("native") is host_target()
    for name in target_names():
        target = named_target(name)
        assert str(target_machine(target, jit=False).target_data).startswith("e-m:")
    facts = [named_target(name) for name in ("x86-64", "x86-64-v3", "x86-64-v4", "aarch64")]
    assert [target.vector_bits for target in facts] == [128, 256, 512, 128]
    assert [target.vector_registers for target in facts] == [16, 16, 32, 32]
    assert [target.has_fma for target in facts] == [False, True, True, True]


def test_unknown_name() -> None:
    with pytest.raises(UserError) as caught:
        named_target("x86-64-v33")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0801"
    assert diagnostic.help == "did you mean `x86-64-v3`?"
    with pytest.raises(UserError, match="no target is called `zzz`") as caught:
        named_target("zzz")
    assert "x86-64, x86-64-v2, x86-64-v3" in str(caught.value.diagnostics[0].help)


def test_runs_here_compares_architecture_and_features() -> None:
    host = host_target()
    foreign = "x86-64" if host.triple.startswith(("aarch64", "arm64")) else "aarch64"
    assert not runs_here(named_target(foreign))
    assert runs_here(replace(host, features="", cpu="generic"))
    if host_features():
        assert not runs_here(replace(host, features="+no-such-feature"))


@pytest.mark.parametrize(
    ("name", "register"), [("x86-64", "xmm"), ("x86-64-v3", "ymm"), ("x86-64-v4", "zmm")]
)
def test_llvm_itself_uses_the_whole_width(name: str, register: str) -> None:
    """Also where the processor's name makes it prefer half of it."""
    target = named_target(name)
    assert f"%{register}" in assembly(LOOP, target)
    if register == "zmm":
        half = replace(target, features=target.features.replace("-prefer-256-bit", "+avx512f"))
        assert "%zmm" not in assembly(LOOP, half)


def test_native_code_uses_the_whole_width() -> None:
    target = host_target()
    if not target.triple.startswith("x86_64"):
        pytest.skip("registers are named differently here")
    register = {128: "xmm", 256: "ymm", 512: "zmm"}[target.vector_bits]
    assert f"%{register}" in assembly(LOOP, target)
