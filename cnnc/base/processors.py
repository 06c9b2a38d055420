"""Processors that code is made for by name: what each has, as tables."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from cnnc.base.record import record
from cnnc.base.target import VECTOR_UNITS

KIB = 1024


@record
class Processor:
    """A processor, or what all of a kind have.

    `architecture` is the first part of its triple, `cpu` and `features` are LLVM's. `bits` is the
    width of a vector, 32 where it computes one float at a time, and `registers` how many there
    are; `units` multiply-adds of vectors of that width begin in a cycle. Without `has_float` there
    are no instructions for floating point. One that `is_small` has little memory. Caches are
    typical ones, in bytes.
    """

    name: str
    architecture: str
    cpu: str
    features: str
    bits: int
    registers: int
    has_fma: bool
    l1_bytes: int = 32 * KIB
    l2_bytes: int = KIB * KIB
    has_float: bool = True
    is_small: bool = False
    units: int = VECTOR_UNITS


_LEVEL2 = "+cx16,+popcnt,+sahf,+sse3,+sse4.1,+sse4.2,+ssse3"
_LEVEL3 = "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+xsave"
_LEVEL4 = f"{_LEVEL3},+avx512bw,+avx512cd,+avx512dq,+avx512f,+avx512vl,-prefer-256-bit"
_X86 = (
    Processor("x86-64", "x86_64", "x86-64", "+sse,+sse2", 128, 16, has_fma=False),
    Processor("x86-64-v2", "x86_64", "x86-64-v2", _LEVEL2, 128, 16, has_fma=False),
    Processor("x86-64-v3", "x86_64", "x86-64-v3", _LEVEL3, 256, 16, has_fma=True),
    Processor("x86-64-v4", "x86_64", "x86-64-v4", _LEVEL4, 512, 32, has_fma=True),
)


_HALF_OF_512 = frozenset({"cannonlake", "icelake-client", "rocketlake", "tigerlake", "znver4"})
"""Models, as LLVM names them, that join two units of 256 bits for a multiply-add of 512 (measured
on Zen 4; for Intel's, see its optimisation manual's table of ports). Zen 5's mobile parts, which do
so too, have the name of its others."""


def units_of(cpu: str, bits: int) -> int:
    """Vector units of a processor by LLVM's name for it, for vectors of so many bits."""
    return 1 if cpu in _HALF_OF_512 and bits == 512 else VECTOR_UNITS


def _x86_models() -> Iterator[Processor]:
    """Models by the level they have."""
    levels = {
        "x86-64-v2": ("nehalem", "westmere", "silvermont", "goldmont"),
        "x86-64-v3": ("haswell", "broadwell", "skylake", "alderlake", "znver1", "znver2", "znver3"),
        "x86-64-v4": (
            *("skylake-avx512", "cascadelake", "icelake-client", "icelake-server"),
            *("sapphirerapids", "graniterapids", "znver4", "znver5"),
        ),
    }
    for level in _X86:
        for model in levels.get(level.name, ()):
            yield replace(level, name=model, cpu=model, units=units_of(model, level.bits))


def _aarch64() -> Iterator[Processor]:
    """64-bit ARM: NEON of 128 bits in all of them."""
    caches = {
        "generic": (32, 1024),
        "cortex-a53": (32, 512),
        "cortex-a55": (32, 256),
        "cortex-a72": (32, 1024),
        "cortex-a76": (64, 512),
        "cortex-a78": (64, 512),
        "neoverse-n1": (64, 1024),
        "neoverse-n2": (64, 1024),
        "neoverse-v1": (64, 1024),
        "neoverse-v2": (64, 2048),
        "apple-m1": (128, 12 * 1024),
    }
    for name, (l1, l2) in caches.items():
        yield Processor(
            *(name, "aarch64", name, "+fp-armv8,+neon", 128, 32),
            has_fma=True,
            l1_bytes=l1 * KIB,
            l2_bytes=l2 * KIB,
        )


_VFP3 = "+vfp3d16,-d32,-neon"
_VFP4 = "+vfp4d16,-d32,-neon"


def _armv7() -> Iterator[Processor]:
    """32-bit ARM with a system: floats one by one, as NEON takes subnormal numbers for zero."""
    for name, cpu, features in (
        ("armv7-a", "generic", _VFP3),
        ("cortex-a8", "cortex-a8", _VFP3),
        ("cortex-a9", "cortex-a9", _VFP3),
        ("cortex-a5", "cortex-a5", _VFP4),
        ("cortex-a7", "cortex-a7", _VFP4),
        ("cortex-a15", "cortex-a15", _VFP4),
    ):
        yield Processor(
            *(name, "armv7", cpu, features, 32, 32),
            has_fma=features == _VFP4,
            l2_bytes=512 * KIB,
        )


def _small(processor: Processor) -> Processor:
    """A microcontroller of it: tens of kilobytes, few of them near."""
    return replace(processor, is_small=True, l1_bytes=16 * KIB, l2_bytes=64 * KIB)


def _cortex_m() -> Iterator[Processor]:
    """Microcontrollers of ARM. Where floats are called for, `registers` are those calls leave."""
    for name, architecture, registers in (
        ("cortex-m0", "thumbv6m", 4),
        ("cortex-m0plus", "thumbv6m", 4),
        ("cortex-m3", "thumbv7m", 8),
    ):
        yield _small(
            Processor(
                *(name, architecture, name, "", 32, registers), has_fma=False, has_float=False
            )
        )
    for name, architecture, features in (
        ("cortex-m4", "thumbv7em", "+vfp4d16sp"),
        ("cortex-m7", "thumbv7em", "+fp-armv8d16"),
        ("cortex-m33", "thumbv8m.main", "+fp-armv8d16sp"),
        ("cortex-m55", "thumbv8.1m.main", "+fp-armv8d16,-mve"),
    ):
        yield _small(Processor(name, architecture, name, features, 32, 32, has_fma=True))


def _riscv() -> Iterator[Processor]:
    """RISC-V, named by what it has; V with the 128 bits that any of them has at least."""
    for bits in (64, 32):
        base = Processor(
            *(f"rv{bits}gc", f"riscv{bits}", f"generic-rv{bits}", "+m,+a,+f,+d,+c", 32, 32),
            has_fma=True,
            l2_bytes=512 * KIB,
        )
        yield base
        yield replace(base, name=f"rv{bits}gcv", features=f"{base.features},+v", bits=128)
        if bits == 64:
            yield replace(base, name="sifive-u74", cpu="sifive-u74")
            continue
        yield _small(replace(base, name="rv32imafc", features="+m,+a,+f,+c"))
        for name, features in (("rv32imac", "+m,+a,+c"), ("rv32imc", "+m,+c")):
            whole = replace(base, name=name, features=features, registers=12)
            yield _small(replace(whole, has_fma=False, has_float=False))


def _wasm() -> Iterator[Processor]:
    """WebAssembly: registers as those of the machines that run it."""
    plain = Processor("generic", "wasm32", "generic", "", 32, 16, has_fma=False)
    for architecture in ("wasm32", "wasm64"):
        yield replace(plain, architecture=architecture)
        yield replace(
            plain, name="simd128", architecture=architecture, features="+simd128", bits=128
        )


PROCESSORS: tuple[Processor, ...] = (
    *_X86,
    *_x86_models(),
    *_aarch64(),
    *_armv7(),
    *_cortex_m(),
    *_riscv(),
    *_wasm(),
)

FAMILIES = MappingProxyType(
    {
        "aarch64": ("aarch64-unknown-linux-gnu", "generic"),
        "armv7": ("armv7-unknown-linux-gnueabihf", "armv7-a"),
        "armv7-soft": ("armv7-unknown-linux-gnueabi", "armv7-a"),
        "riscv64": ("riscv64-unknown-linux-gnu", "rv64gc"),
        "riscv64-v": ("riscv64-unknown-linux-gnu", "rv64gcv"),
        "riscv32": ("riscv32-unknown-none-elf", "rv32imac"),
        "riscv32-v": ("riscv32-unknown-none-elf", "rv32gcv"),
        "wasm32": ("wasm32-unknown-unknown", "generic"),
        "wasm32-simd": ("wasm32-unknown-unknown", "simd128"),
        **{
            level.name: ("x86_64-unknown-linux-gnu", level.name)
            for level in PROCESSORS
            if level in _X86
        },
        **{
            each.name: (
                f"{each.architecture}-unknown-none-eabi{'hf' if each.has_float else ''}",
                each.name,
            )
            for each in PROCESSORS
            if each.architecture.startswith("thumb")
        },
    }
)
"""Short names: the triple and the processor of each."""

_DEFAULTS: Mapping[str, str] = {
    "x86_64": "x86-64",
    "aarch64": "generic",
    "armv7": "armv7-a",
    "thumbv6m": "cortex-m0",
    "thumbv7m": "cortex-m3",
    "thumbv7em": "cortex-m4",
    "thumbv8m.main": "cortex-m33",
    "thumbv8.1m.main": "cortex-m55",
    "riscv64": "rv64gc",
    "riscv32": "rv32imac",
    "wasm32": "generic",
    "wasm64": "generic",
}


def default_cpu(architecture: str) -> str:
    """The processor that stands for an architecture where none is named."""
    return _DEFAULTS[architecture]


def has_all_of(family: str, processor: Processor) -> bool:
    """Whether a processor of the architecture has what a family's name promises.

    That is a level of x86-64, vectors, or to be that very microcontroller.
    """
    own = processors_of(FAMILIES[family][0].partition("-")[0])[FAMILIES[family][1]]
    if own in _X86:
        levels = [level.features for level in _X86]
        return levels.index(processor.features) >= levels.index(own.features)
    return processor == own if own.name == family else processor.bits >= own.bits


def processors_of(architecture: str) -> Mapping[str, Processor]:
    """By name, those that may run code of an architecture.

    A triple that begins with `arm` and has no system says nothing about the architecture: it may
    be for any of ARM's microcontrollers.
    """
    return {
        each.name: each
        for each in PROCESSORS
        if each.architecture == architecture
        or (architecture == "arm" and each.architecture.startswith("thumb"))
    }
