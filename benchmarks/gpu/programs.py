"""Small CUDA programs: primitives against their twins on the CPU, and what a GPU can do at most."""

import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from cnnc.backends.cuda.prims import HEADER, prims_header
from cnnc.backends.cuda.toolchain import Gpu
from gpu.machine import Machine

HERE = Path(__file__).resolve().parent
CEILINGS = (
    "copy_bytes_per_second",
    "ffma_flops",
    "mma_tf32_flops",
    "mma_bf16_flops",
    "mma_f16_flops",
)
"""What layers are held against."""
TOLERANCE = 1e-5
"""How far sums of products may be apart, as the hardware adds in an order and width of its own."""


def compile_program(name: str, folder: Path, machine: Machine) -> Path:
    """A program for the machine."""
    (folder / HEADER).write_text(prims_header())
    made = folder / f"{name}_{machine.device}"
    return machine.compile(HERE / f"{name}.cu", made, [f"-I{folder}"])


def twin() -> Machine:
    """What compiles the same programs for the CPU."""
    return Machine(Gpu("the CPU", 0), None)


def output(path: Path) -> str:
    """What a program prints."""
    return subprocess.run([str(path)], check=True, capture_output=True, text=True).stdout


def primitives(machine: Machine) -> Mapping[str, str]:
    """For each primitive, `same` or how far the GPU is from the twin."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        programs = (
            compile_program("primitives", place, machine),
            compile_program("primitives", place, twin()),
        )
        ours, theirs = (_words(output(each)) for each in programs)
    return {name: _difference(name, ours[name], theirs[name]) for name in theirs}


def _words(text: str) -> dict[str, list[str]]:
    lines = (line.split() for line in text.splitlines())
    return {name: words for name, *words in lines}


def _difference(name: str, ours: list[str], twin: list[str]) -> str:
    if ours == twin:
        return "same"
    if not name.startswith("mma_") or name == "mma_s8":
        count = sum(a != b for a, b in zip(ours, twin, strict=True))
        return f"DIFFERS in {count} of {len(twin)} words"
    pairs = [(_float(a), _float(b)) for a, b in zip(ours, twin, strict=True)]
    worst = max(abs(a - b) / max(1.0, abs(b)) for a, b in pairs)
    return f"within {worst:.1e}" if worst <= TOLERANCE else f"DIFFERS by {worst:.1e}"


def _float(word: str) -> float:
    (value,) = struct.unpack(">f", bytes.fromhex(word))
    return float(value)


def ceilings(machine: Machine) -> dict[str, float]:
    """What was measured, by name; on the CPU it would take minutes, and the names have ones."""
    with TemporaryDirectory() as folder:
        program = compile_program("ceilings", Path(folder), machine)
        if machine.is_dry:
            return dict.fromkeys(CEILINGS, 1.0)
        text = output(program)
    return {name: float(value) for name, value in (line.split() for line in text.splitlines())}
