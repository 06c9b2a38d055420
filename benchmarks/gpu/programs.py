"""Small CUDA programs: primitives against their twins on the CPU, and what a GPU can do at most."""

import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import cnnc
from cnnc.backends.cuda.prims import HEADER, prims_header
from cnnc.backends.cuda.toolchain import Nvcc

HERE = Path(__file__).resolve().parent
SHIM = Path(cnnc.__file__).resolve().parents[1] / "templates" / "cuda" / "shim"
TOLERANCE = 1e-5
"""How far sums of products may be apart, as the hardware adds in an order and width of its own."""


def compile_program(name: str, folder: Path, nvcc: Nvcc, arch: int) -> Path:
    """A program for the GPU."""
    (folder / HEADER).write_text(prims_header())
    made = folder / f"{name}_gpu"
    flags = ["-O3", "-std=c++17", f"-arch=sm_{arch}", f"-I{folder}", *nvcc.flags]
    source = str(HERE / f"{name}.cu")
    subprocess.run([str(nvcc.path), *flags, source, "-o", str(made)], check=True)
    return made


def compile_twin(name: str, folder: Path) -> Path:
    """The same program for the CPU."""
    (folder / HEADER).write_text(prims_header())
    made = folder / f"{name}_cpu"
    flags = ["-O1", "-std=c++17", "-w", "-ffp-contract=off", f"-I{SHIM}", f"-I{folder}", "-xc++"]
    subprocess.run(["g++", *flags, str(HERE / f"{name}.cu"), "-o", str(made)], check=True)
    return made


def output(path: Path) -> str:
    """What a program prints."""
    return subprocess.run([str(path)], check=True, capture_output=True, text=True).stdout


def primitives(nvcc: Nvcc, arch: int) -> Mapping[str, str]:
    """For each primitive, `same` or how far the GPU is from the twin."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        programs = (
            compile_program("primitives", place, nvcc, arch),
            compile_twin("primitives", place),
        )
        ours, twin = (_words(output(each)) for each in programs)
    return {name: _difference(name, ours[name], twin[name]) for name in twin}


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


def ceilings(nvcc: Nvcc, arch: int) -> dict[str, float]:
    """What was measured, by name."""
    with TemporaryDirectory() as folder:
        text = output(compile_program("ceilings", Path(folder), nvcc, arch))
    return {name: float(value) for name, value in (line.split() for line in text.splitlines())}
