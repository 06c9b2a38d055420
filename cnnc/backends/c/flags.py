"""Compiler options for a target."""

from cnnc.base.target import Target

_X86 = (
    *("sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "avx", "avx2", "fma", "f16c", "bmi", "bmi2"),
    *("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
)
"""Features of x86-64 that compilers call as LLVM does."""
_LEVELS = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")


def machine_flags(target: Target) -> tuple[str, ...]:
    """Those that let gcc and clang use what the target has."""
    if not target.triple.startswith("x86_64"):
        return ()
    wide = ("-mprefer-vector-width=512",) * (target.vector_bits == 512)
    if target.cpu in _LEVELS:
        return (f"-march={target.cpu}", *wide)
    enabled = {name[1:] for name in target.features.split(",") if name.startswith("+")}
    return ("-march=x86-64", *(f"-m{name}" for name in _X86 if name in enabled), *wide)
