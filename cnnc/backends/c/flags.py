"""Compiler options for a target."""

from collections.abc import Iterator

from cnnc.base.target import Target

_X86 = (
    *("sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "avx", "avx2", "fma", "f16c", "bmi", "bmi2"),
    *("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
)
"""Features of x86-64 that compilers call as LLVM does."""
_LEVELS = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")
_FLOATS = {
    "+vfp3d16": "vfpv3-d16",
    "+vfp4d16": "vfpv4-d16",
    "+vfp4d16sp": "fpv4-sp-d16",
    "+fp-armv8d16": "fpv5-d16",
    "+fp-armv8d16sp": "fpv5-sp-d16",
}
"""LLVM's names of 32-bit ARM's floating-point units, and gcc's."""


def machine_flags(target: Target) -> tuple[str, ...]:
    """Those that let gcc and clang use what the target has."""
    architecture = target.architecture
    if architecture == "x86_64":
        return tuple(_x86(target))
    if architecture.startswith(("arm", "thumb")) and architecture != "arm64":
        return tuple(_arm(target))
    if architecture.startswith("riscv"):
        return tuple(_riscv(target))
    if architecture.startswith("wasm"):
        return ("-msimd128",) if target.vector_bits == 128 else ()
    # Apple's compiler alone knows its processors, and it does not need to be told
    known = target.cpu != "generic" and not target.cpu.startswith("apple")
    return (f"-mcpu={target.cpu}",) if known else ()


def optimisation_flag(target: Target) -> str:
    """Fast code, or small code where there is little room for it.

    Not -O3: gcc then unrolls loops that are written as they should be.
    """
    return "-Os" if target.is_small else "-O2"


def _x86(target: Target) -> Iterator[str]:
    if target.cpu in _LEVELS:
        yield f"-march={target.cpu}"
    else:
        enabled = target.features.split(",")
        yield "-march=x86-64"
        yield from (f"-m{name}" for name in _X86 if f"+{name}" in enabled)
    if target.vector_bits == 512:
        yield "-mprefer-vector-width=512"


def _arm(target: Target) -> Iterator[str]:
    yield "-march=armv7-a" if target.cpu == "generic" else f"-mcpu={target.cpu}"
    if target.architecture.startswith("thumb"):
        yield "-mthumb"
    if not target.triple.endswith("hf"):
        yield "-mfloat-abi=soft"
        return
    yield "-mfloat-abi=hard"
    for feature in target.features.split(","):
        if feature in _FLOATS:
            yield f"-mfpu={_FLOATS[feature]}"


def _riscv(target: Target) -> Iterator[str]:
    enabled = [feature[1:] for feature in target.features.split(",") if feature.startswith("+")]
    letters = "".join(letter for letter in "mafdcv" if letter in enabled)
    bits = "64" if target.pointer_bits == 64 else "32"
    yield f"-march=rv{bits}i{letters}"
    floats = "d" if "d" in letters else "f" if "f" in letters else ""
    yield f"-mabi={'lp64' if bits == '64' else 'ilp32'}{floats}"
