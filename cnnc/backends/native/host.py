"""The machine this process runs on: what its vectors, caches and cores are."""

import ctypes
import os
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from llvmlite import binding as llvm

from cnnc.base.processors import units_of
from cnnc.base.record import record
from cnnc.base.target import Target

ROOT = Path("/")
_SYSTEM_CPU = "sys/devices/system/cpu"
# Names that promise no more than every 64-bit machine has; where nothing better is known.
_DEFAULT_CACHES = {1: 32 * 1024, 2: 256 * 1024, 3: 0}
SLOWER = 1.2
"""How many times as fast one core is as another of another kind: those of one kind differ, too."""
_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


@record
class VectorUnit:
    """Widest vector in bits, how many registers of it, and whether a multiply-add is one step."""

    bits: int
    registers: int
    has_fma: bool


@cache
def host_target() -> Target:
    """The machine this process runs on.

    Features are those LLVM reads from the processor itself: under virtualisation its name may be
    that of an older one.
    """
    features = host_features()
    triple: str = llvm.get_process_triple()
    unit = vector_unit(triple.split("-")[0], features)
    if unit.bits == 512:
        features = prefer_512(features)
    l1, l2, l3 = _cache_sizes()
    cpu: str = llvm.get_host_cpu_name()
    return Target(
        triple=triple,
        cpu=cpu,
        features=features,
        vector_bits=unit.bits,
        vector_registers=unit.registers,
        has_fma=unit.has_fma,
        l1_bytes=l1,
        l2_bytes=l2,
        l3_bytes=l3,
        cores=_cores(),
        vector_units=units_of(cpu, unit.bits),
        mixed_cores=has_mixed_cores(ROOT, _allowed_cpus()),
    )


def host_features() -> str:
    """The processor's features as LLVM writes them: `+sse2,-avx512f,…`, empty where unknown."""
    try:
        return str(llvm.get_host_cpu_features().flatten())
    except RuntimeError:  # how llvmlite says that LLVM cannot tell on this system
        return ""


def enabled(features: str) -> frozenset[str]:
    """The names of a feature string that are switched on."""
    return frozenset(name[1:] for name in features.split(",") if name.startswith("+"))


def prefer_512(features: str) -> str:
    """The features with LLVM's preference for 256-bit vectors switched off.

    LLVM turns it on by the processor's name and then its own vectorisers stop at half the width.
    """
    return f"{features},-prefer-256-bit"


def vector_unit(architecture: str, features: str) -> VectorUnit:
    """The vector registers of an architecture (a triple's first part) with these features."""
    if architecture in ("aarch64", "arm64"):
        return VectorUnit(128, 32, has_fma=True)
    if architecture != "x86_64":
        return VectorUnit(128, 16, has_fma=False)
    names = enabled(features)
    if "avx512f" in names:
        return VectorUnit(512, 32, has_fma=True)
    return VectorUnit(256 if "avx" in names else 128, 16, "fma" in names)


def _cache_sizes() -> tuple[int, int, int]:
    """Bytes of the data caches one core sees, level 1 to 3."""
    first = min(_allowed_cpus() or {0})
    found = _mac_caches() if platform.system() == "Darwin" else caches_in_sysfs(ROOT, first)
    sizes = _DEFAULT_CACHES | found
    return sizes[1], sizes[2], sizes[3]


def caches_in_sysfs(root: Path, cpu: int) -> dict[int, int]:
    """Level → bytes, from Linux's description of the processor; empty where there is none."""
    sizes: dict[int, int] = {}
    for folder in root.glob(f"{_SYSTEM_CPU}/cpu{cpu}/cache/index*"):
        kind, level, size = (_line(folder / name) for name in ("type", "level", "size"))
        if kind in ("Data", "Unified") and level.isdigit() and size:
            sizes[int(level)] = _bytes(size)
    return sizes


def _bytes(size: str) -> int:
    unit = _UNITS.get(size[-1], 1)
    digits = size.rstrip("KMG")
    return int(digits) * unit if digits.isdigit() else 0


def _mac_caches() -> dict[int, int]:
    names = {1: "hw.perflevel0.l1dcachesize", 2: "hw.perflevel0.l2cachesize", 3: "hw.l3cachesize"}
    older = {1: "hw.l1dcachesize", 2: "hw.l2cachesize", 3: "hw.l3cachesize"}
    sizes = {level: _sysctl(names[level]) or _sysctl(older[level]) for level in names}
    return {level: size for level, size in sizes.items() if size}


def _sysctl(name: str) -> int:
    """A number macOS knows by this name, or 0."""
    value, size = ctypes.c_int64(0), ctypes.c_size_t(8)
    call = ctypes.CDLL(None).sysctlbyname
    failed = call(name.encode(), ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
    return 0 if failed else value.value


def _allowed_cpus() -> set[int]:
    """The processors this process may run on; empty where the system does not say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _cores() -> int:
    if platform.system() == "Darwin":
        return _sysctl("hw.perflevel0.physicalcpu") or _sysctl("hw.physicalcpu") or 1
    allowed = _allowed_cpus() or set(range(os.cpu_count() or 1))
    return usable_cores(ROOT, allowed)


def usable_cores(root: Path, allowed: set[int]) -> int:
    """Physical cores among the allowed processors, no more than the container's time pays for.

    Two threads on one core share its vector units, and a thread that waits for one whose time is
    used up waits long: both make a network slower, not faster.
    """
    siblings = {_siblings(root, cpu) for cpu in allowed}
    limits = [int(quota) for quota in _quotas(root)]
    return max(1, min([len(siblings), *limits]))


def has_mixed_cores(root: Path, allowed: set[int]) -> bool:
    """Whether some of the allowed processors are clearly slower than others, where Linux says so.

    It tells the capacity of Arm's, and the highest frequency of most. Of Intel's kinds that are
    near each other in frequency one has wider units: those it lists apart.
    """
    folders = [root / f"{_SYSTEM_CPU}/cpu{cpu}" for cpu in sorted(allowed)]
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        speeds = [int(text) for text in (_line(each / name) for each in folders) if text.isdigit()]
        if speeds and max(speeds) > SLOWER * min(speeds):
            return True
    kinds = [_listed(_line(root / f"sys/devices/cpu_{kind}/cpus")) for kind in ("core", "atom")]
    return all(kind & allowed for kind in kinds)


def _listed(text: str) -> set[int]:
    """The numbers of `0-3,8`; none where it is something else."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def _siblings(root: Path, cpu: int) -> str:
    topology = root / f"{_SYSTEM_CPU}/cpu{cpu}/topology"
    listed = _line(topology / "core_cpus_list") or _line(topology / "thread_siblings_list")
    return listed or str(cpu)


def _quotas(root: Path) -> Iterator[float]:
    """Processors' worth of time that control groups around this process grant it."""
    for group in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = group.split(":", 2)
        if not controllers:
            for folder in _up(root / "sys/fs/cgroup", path):
                quota, _, period = _line(folder / "cpu.max").partition(" ")
                yield from _ratio(quota, period)
        elif "cpu" in controllers.split(","):
            for folder in _up(root / "sys/fs/cgroup" / controllers, path):
                quota, period = (_line(folder / f"cpu.cfs_{n}_us") for n in ("quota", "period"))
                yield from _ratio(quota, period)


def _up(top: Path, path: str) -> Iterator[Path]:
    """A control group's folder and those above it, up to the top of the hierarchy."""
    folder = top / path.strip("/")
    while folder != top:
        yield folder
        folder = folder.parent
    yield top


def _ratio(quota: str, period: str) -> Iterator[float]:
    if quota.isdigit() and period.isdigit() and int(period):
        yield int(quota) / int(period)


def _line(path: Path) -> str:
    return _text(path).strip()


def _text(path: Path) -> str:
    """A file's text, empty where it cannot be read: such facts are optional everywhere."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
