"""GPUs as targets: `cuda`, `cuda:sm_90`, `cuda:sm_90,tf32`."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from cnnc.base.errors import did_you_mean, fail
from cnnc.base.target import GPU, Target

NAME = "cuda"
PRECISIONS: Mapping[str, str] = MappingProxyType(
    {
        "f32": "as exact as float32: three TF32 products for each on tensor cores",
        "f32_exact": "float32 multiply-adds only",
        "tf32": "factors of 10 bits on tensor cores",
        "bf16": "factors of 7 bits on tensor cores, and tensors in memory",
        "f16": "factors of 10 bits on tensor cores, and tensors in memory, up to 65504",
    }
)
"""How products are computed that are summed over channels; all sums are in float32."""
MULTIPROCESSORS: Mapping[int, int] = MappingProxyType(
    {80: 108, 86: 84, 87: 16, 89: 128, 90: 132, 100: 148, 103: 148, 110: 20, 120: 170, 121: 48}
)
"""Compute capability × 10, and how many multiprocessors the largest such GPU of its time has."""
DEFAULT = 80


def is_cuda(name: str) -> bool:
    """Whether a target's name is meant for a GPU."""
    return name.partition(":")[0] == NAME


def exact_target(target: Target) -> Target:
    """The same GPU with float32 multiply-adds only; UserError where other ones are asked for."""
    if target.features not in ("f32", "f32_exact"):
        help = "leave out one of the two"
        raise fail("E0803", f"`{target.features}` is not exact, and exact is asked for", help=help)
    return replace(target, features="f32_exact")


def cuda_target(name: str) -> Target:
    """The target of a name; UserError for one that there is not.

    Behind the colon stand, in any order, an architecture that the code needs at least, and a
    precision. `features` of the target is that precision.
    """
    arch, precision = DEFAULT, ""
    _, colon, rest = name.partition(":")
    for word in rest.split(",") if colon else ():
        if word in PRECISIONS and precision not in ("", word):
            text = f"the target `{name}` has two precisions: `{precision}` and `{word}`"
            raise fail("E0801", text, help="leave out one of the two")
        if word in PRECISIONS:
            precision = word
        elif word.startswith("sm_") and word[3:].isdigit() and int(word[3:]) in MULTIPROCESSORS:
            arch = int(word[3:])
        elif word.startswith("sm_") and word[3:].isdigit() and int(word[3:]) < DEFAULT:
            help = f"the kernels need sm_{DEFAULT} (Ampere) or later"
            raise fail("E0801", f"`{word}` in the target `{name}` is too old", help=help)
        else:
            known = [*(f"sm_{each}" for each in MULTIPROCESSORS), *PRECISIONS]
            help = did_you_mean(word, known) or f"there are {', '.join(known)}"
            raise fail("E0801", f"`{word}` in the target `{name}` is unknown", help=help)
    return Target(
        triple=f"{GPU}-nvidia-cuda",
        cpu=f"sm_{arch}",
        features=precision or "f32",
        vector_bits=32,
        vector_registers=255,
        has_fma=True,
        l1_bytes=128 * 1024,
        l2_bytes=40 * 1024 * 1024,
        cores=MULTIPROCESSORS[arch],
    )
