"""What a file of C says of itself and of its kernels."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from cnnc.backends.abi import Abi
from cnnc.backends.c.flags import machine_flags, optimisation_flag
from cnnc.backends.c.text import comment
from cnnc.base.target import Target
from cnnc.loop.kernel import Kernel, Program
from cnnc.loop.text import print_buffer


def describe_file(program: Program, target: Target, abi: Abi) -> list[str]:
    """The comment on top of a file."""
    lines = [f"{abi.name}: made by cnnc, which says more of it in `cnnc show --stage program`.", ""]
    for end in abi.ends:
        role = "output" if end.is_output else "input"
        lines.append(f"{role} {end.name}: {end.dtype}[{', '.join(map(str, end.shape))}]")
    lines += [
        f"weights: {abi.weights_bytes:,} bytes, arena: {abi.arena_bytes:,} bytes for one thread",
        "",
        f"For {target.triple}, {_vectors(target)}.",
        "Options of gcc and clang that make the most of it (it is correct with any others):",
        f"  {_flags(target)}",
        "Sums round as they are written: gcc needs -std=c99 or -ffp-contract=off for that.",
        "",
        "Above each kernel: shapes, layouts, multiply-adds, and where its buffers lie, in bytes",
        "from the start of weights or arena. Where layers share a kernel, the calls below say that",
        "of each layer: in(weights, 64) is read at weights + 64, out(arena, 0) written at arena.",
    ]
    return comment(lines)


def describe_kernel(
    kernel: Kernel, shaped: Kernel | None, layers: Sequence[str], places: Sequence[str]
) -> Iterator[str]:
    """The comment above a kernel: what it computes, for which layers, on what.

    `places` says where its buffers lie, in the order of parameters, and is empty where each layer
    has others.
    """
    origin = (shaped or kernel).origin
    lines = [origin.op or kernel.name]
    names = list(dict.fromkeys(name for name in layers if name)) or [origin.layer]
    for name in names[:3]:
        place = f", {PurePath(origin.place).name}" if name == origin.layer and origin.place else ""
        lines.append(f"layer {name}{place}")
    if len(names) > 3:
        lines.append(f"and {len(names) - 3} more layers")
    buffers = [print_buffer(param) for param in (shaped or kernel).params]
    if places:
        buffers = [f"{text}, {where}" for text, where in zip(buffers, places, strict=True)]
    lines += buffers
    costs = [f"{origin.macs:,} multiply-adds"] * bool(origin.macs)
    costs += [origin.algorithm] * bool(origin.algorithm)
    lines += [", ".join(costs)] * bool(costs)
    yield from comment(lines)


def _vectors(target: Target) -> str:
    if target.vector_bits <= 32:
        return "without vectors"
    return f"vectors of {target.vector_bits} bits"


def _flags(target: Target) -> str:
    return " ".join([optimisation_flag(target), *machine_flags(target)])
