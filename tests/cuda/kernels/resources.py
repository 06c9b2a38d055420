"""What the assembler says of each kernel: registers, shared memory, spills; kept in a table.

`python -m tests.cuda.kernels.resources` writes the table anew.
"""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cnnc.backends.cuda.toolchain import Nvcc, find_nvcc
from tests.cuda.kernels.cases import all_cases
from tests.cuda.kernels.harness import Case, write_sources

TABLE = Path(__file__).with_name("resources.json")
ARCHITECTURES = (80, 90)
SPREAD = re.compile(r"release (\d+\.\d+)")
ENTRY = re.compile(
    r"Compiling entry function '_Z\d+(?P<name>\w+?)P\w*' for.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)

Use = Mapping[str, int]
"""Of a kernel: registers, bytes of static shared memory, bytes of stack and of spills."""


def chosen() -> tuple[Case, ...]:
    """Kernels for the assembler: each template, type and tile at least once."""
    seen: set[str] = set()
    found = []
    for case in all_cases():
        template, _, rest = case.kernel.name.partition("_")
        tile = re.sub(r"^[a-z]+_|_\d$", "", rest) if template in ("mma", "ffma") else rest
        if (key := f"{template} {tile}") not in seen:
            seen.add(key)
            found.append(case)
    return tuple(found)


def assemble(
    nvcc: Nvcc, folder: Path, cases: Sequence[Case], arch: int, *defines: str
) -> dict[str, Use]:
    """Compile to `folder`/kernels.cubin; what each kernel uses."""
    path = write_sources(folder, [case.kernel for case in cases], launches=False)
    target = ["-cubin", f"-arch=sm_{arch}", "-std=c++17", "--fmad=false", "-Xptxas", "-v"]
    command = [
        str(nvcc.path),
        *nvcc.flags,
        *target,
        *defines,
        str(path),
        "-o",
        str(path.with_suffix(".cubin")),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {found["name"]: _use(found) for found in ENTRY.finditer(done.stderr)}


def _use(found: re.Match[str]) -> Use:
    shared = re.search(r"(\d+) bytes smem", found["rest"])
    return {
        "registers": int(found["registers"]),
        "shared": int(shared[1]) if shared else 0,
        "stack": int(found["stack"]),
        "spills": int(found["stores"]),
    }


def release(nvcc: Nvcc) -> str:
    """The release that figures are of."""
    found = SPREAD.search(nvcc.version)
    return found[1] if found else nvcc.version


def main() -> None:
    """Write the table."""
    nvcc = find_nvcc()
    assert nvcc, "no nvcc"
    table: dict[str, object] = {"nvcc": release(nvcc)}
    for arch in ARCHITECTURES:
        with TemporaryDirectory() as folder:
            table[f"sm_{arch}"] = assemble(nvcc, Path(folder), chosen(), arch)
    TABLE.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
