"""Finds nvcc and a GPU, and compiles libraries."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from cnnc.base.errors import Diagnostic, InternalError, UserError, fail
from cnnc.base.record import record
from cnnc.base.store import Store

INSTALL = "install the CUDA toolkit, or `pip install 'cnnc[cuda]'`; then CUDA_HOME or PATH names it"
HOST_COMPILER = "install g++; or name another by NVCC_PREPEND_FLAGS='-ccbin PATH'"
OLDEST = (12, 0)
"""The first nvcc whose runtime has `cudaGraphInstantiate` of three arguments."""
ALL_KNOWN = (12, 8)
"""The first one that knows every architecture of a fat binary."""
_HOST_FAULTS = ("host compiler", "unsupported GNU version", "unsupported clang version", "cl.exe")
"""Parts of what nvcc says where there is no compiler for the host, or one that it does not take."""
_NO_DEVICE = (100, 101)
"""Errors of the driver: no device, and none of this number."""
_MAJOR, _MINOR, _MULTIPROCESSORS = 75, 76, 16
"""Attributes of a device in cuda.h."""


@record
class Nvcc:
    """A compiler: its path, and flags that find its libraries."""

    path: Path
    flags: tuple[str, ...]

    @property
    def version(self) -> str:
        """What it says of itself."""
        return _version(self.path)

    @property
    def release(self) -> tuple[int, int]:
        """The toolkit's, as (13, 0)."""
        found = re.search(r"release (\d+)\.(\d+)", self.version)
        return (int(found[1]), int(found[2])) if found else (0, 0)


@record
class Gpu:
    """The first GPU: its name, its compute capability × 10, its multiprocessors where known."""

    name: str
    arch: int
    multiprocessors: int = 0


def find_nvcc(environment: Mapping[str, str] = os.environ) -> Nvcc | None:
    """The compiler of CUDA_HOME or CUDA_PATH, of PATH, or of NVIDIA's Python packages."""
    for name in ("CUDA_HOME", "CUDA_PATH"):
        home = environment.get(name)
        if home and (path := Path(home) / "bin" / "nvcc").is_file():
            return Nvcc(path, ())
    if found := shutil.which("nvcc", path=environment.get("PATH")):
        return Nvcc(Path(found), ())
    for folder in _wheels():
        path = folder / "bin" / "nvcc"
        if path.is_file():
            return Nvcc(path, ("-L", str(folder / "lib"), "-I", str(folder / "include")))
    return None


def find_gpu() -> Gpu | None:
    """The first GPU that the driver knows; None without one, or without a driver."""
    found = look_for_gpu()
    return found if isinstance(found, Gpu) else None


def look_for_gpu() -> Gpu | str:
    """The first GPU that the driver knows, or why there is none."""
    name = "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return f"there is no NVIDIA driver here: `{name}` cannot be loaded"
    device = ctypes.c_int()
    status = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0)
    if status:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hidden = f"; CUDA_VISIBLE_DEVICES is `{visible}`" if visible is not None else ""
        if status in _NO_DEVICE:
            return f"the NVIDIA driver finds no GPU{hidden}"
        return f"the NVIDIA driver does not start: it reports error {status}{hidden}"
    text = ctypes.create_string_buffer(128)
    driver.cuDeviceGetName(text, len(text), device)
    found = []
    for attribute in (_MAJOR, _MINOR, _MULTIPROCESSORS):
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        found.append(value.value)
    return Gpu(text.value.decode(errors="replace"), 10 * found[0] + found[1], found[2])


def require() -> tuple[Nvcc, Gpu]:
    """Both; UserError that says which is missing, or that the compiler is too old for the GPU.

    And on Windows, where nobody has tried what nvcc makes of the code there.
    """
    if sys.platform == "win32":
        help = "use Linux, or WSL 2"
        raise fail("E0802", "networks do not run on GPUs under Windows yet", help=help)
    nvcc, gpu = find_nvcc(), look_for_gpu()
    wrong = []
    if isinstance(gpu, str):
        help = (
            "`cnnc build --emit cuda` writes source for another machine; with `--backend interp`, "
            "`cnnc diff` and `run` compute the same loops here"
        )
        wrong.append(Diagnostic("E0802", gpu, help=help))
    if nvcc is None:
        wrong.append(Diagnostic("E0802", "there is no nvcc, which compiles CUDA", help=INSTALL))
    else:
        wrong += _too_old(nvcc, gpu)
    if nvcc is None or isinstance(gpu, str) or wrong:
        raise UserError(wrong)
    return nvcc, gpu


def _too_old(nvcc: Nvcc, gpu: Gpu | str) -> list[Diagnostic]:
    """What the compiler cannot do."""
    release = ".".join(map(str, nvcc.release))
    here = f"nvcc {release} at {nvcc.path}"
    if (0, 0) < nvcc.release < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        text = f"{here} is too old: {wanted} or later is needed"
        return [Diagnostic("E0802", text, help=INSTALL)]
    known = _architectures(nvcc.path)
    if isinstance(gpu, str) or not known or gpu.arch in known:
        return []
    text = f"{here} does not know sm_{gpu.arch}, which the {gpu.name} here is"
    return [Diagnostic("E0802", text, help=f"a later one does: {INSTALL}")]


def build(
    nvcc: Nvcc, arch: int, files: Mapping[str, bytes], main: str, store: Store | None
) -> bytes:
    """A shared library of `main`, for one GPU; from the store where it has it."""
    flags = ("-O3", "-std=c++17", "--fmad=false", f"-arch=sm_{arch}", "-Xcompiler", "-fPIC")
    digest = sha256("\n".join([nvcc.version, *flags, main]).encode())
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name])
    key = digest.hexdigest()
    found = store.get(key) if store else None
    if found is not None:
        return found
    with TemporaryDirectory(prefix="cnnc-") as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        command = [str(nvcc.path), *flags, *nvcc.flags, "-shared", "-o", "net.so", main]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode and (line := _host_fault(done.stderr)):
            text = f"nvcc cannot use a C++ compiler of this machine: {line}"
            raise fail("E0802", text, help=HOST_COMPILER)
        if done.returncode:
            raise InternalError(f"nvcc refuses what was generated:\n{done.stderr}", stage="cuda")
        library = (Path(folder) / "net.so").read_bytes()
    if store:
        store.put(key, library)
    return library


def _host_fault(text: str) -> str | None:
    """What nvcc says of the compiler that it needs for code of the host, if that is at fault."""
    lines = [line for line in text.splitlines() if line]
    if any(fault in line for line in lines for fault in _HOST_FAULTS):
        return lines[0]
    return None


def load_library(data: bytes) -> ctypes.CDLL:
    """A library that need not stay on disk."""
    with TemporaryDirectory(prefix="cnnc-") as folder:
        path = Path(folder) / "net.so"
        path.write_bytes(data)
        return ctypes.CDLL(str(path))


def _wheels() -> Iterator[Path]:
    """Where NVIDIA's packages put a toolkit."""
    for entry in sys.path:
        for name in ("cu13", "cuda_nvcc"):
            folder = Path(entry or ".") / "nvidia" / name
            if folder.is_dir():
                yield folder


@cache
def _version(path: Path) -> str:
    done = subprocess.run([str(path), "--version"], capture_output=True, text=True)
    return done.stdout


@cache
def _architectures(path: Path) -> frozenset[int]:
    """Compute capabilities × 10 that it has machine code for; none where it does not say."""
    done = subprocess.run([str(path), "--list-gpu-code"], capture_output=True, text=True)
    return frozenset(int(found) for found in re.findall(r"\bsm_(\d+)\b", done.stdout))
