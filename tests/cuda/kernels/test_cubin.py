"""Every template, type and tile assembles for two architectures, to the instructions meant."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from cnnc.backends.cuda.toolchain import find_nvcc
from tests.cuda.kernels.resources import ARCHITECTURES, TABLE, Use, assemble, chosen, release
from tests.tools import require_tool

GROWTH = 1.1
"""Registers may grow by a tenth before somebody has to look."""
MULTIPLY = {
    "f32": "HMMA.1688.F32.TF32",
    "tf32": "HMMA.1688.F32.TF32",
    "bf16": "HMMA.16816.F32.BF16",
    "f16": "HMMA.16816.F32 ",
}
WIDE = {
    "mma_residual_f32": ["LDG.E.128", "STG.E.128"],
    "mma_residual_bf16_memory": ["LDG.E.64", "STG.E.64", "F2FP.BF16"],
    "mma_residual_f16_memory": ["LDG.E.64", "STG.E.64", "F2FP"],
    "depthwise_plain_bf16_memory": ["LDG.E.64", "STG.E.64"],
    "pool_largest_bf16_memory": ["LDG.E.128", "STG.E.128"],
    "dense_vectors_bf16_memory": ["LDG.E.128"],
    "stem_large_bf16_memory": ["STG.E.128"],
}
"""How some of them read and write their tensors."""


@pytest.fixture(scope="module", params=ARCHITECTURES)
def cubin(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, Path, dict[str, Use]]:
    """An architecture, the file of all kernels, and what they use."""
    require_tool("nvcc", "the CUDA toolkit or cnnc[cuda]")
    nvcc = find_nvcc()
    assert nvcc
    folder: Path = tmp_path_factory.mktemp(f"sm_{request.param}")
    used = assemble(nvcc, folder, chosen(), request.param)
    return request.param, folder / "kernels.cubin", used


def test_nothing_spills(cubin: tuple[int, Path, dict[str, Use]]) -> None:
    _, _, used = cubin
    assert used.keys() == {case.kernel.name for case in chosen()}
    assert {name: use for name, use in used.items() if use["spills"] or use["stack"]} == {}


def test_registers_are_as_recorded(cubin: tuple[int, Path, dict[str, Use]]) -> None:
    arch, _, used = cubin
    table, nvcc = json.loads(TABLE.read_text()), find_nvcc()
    assert nvcc
    if table["nvcc"] != release(nvcc):
        pytest.skip(f"the table is of nvcc {table['nvcc']}")
    recorded = table[f"sm_{arch}"]
    assert used.keys() == recorded.keys(), "python -m tests.cuda.kernels.resources"
    for name, use in used.items():
        assert use["registers"] <= GROWTH * recorded[name]["registers"], name
        assert use["shared"] == recorded[name]["shared"], name


def test_instructions_are_those_meant(cubin: tuple[int, Path, dict[str, Use]]) -> None:
    """Matrix products, their loads, and asynchronous copies of 16 bytes; nothing local."""
    _, path, used = cubin
    bodies = _bodies(path)
    assert bodies.keys() == used.keys()
    for name, body in bodies.items():
        assert not re.search(r"\b(LDL|STL)\b", body), name
        for instruction in _meant(name):
            assert instruction in body, (name, instruction)


def test_slabs_are_copied_as_widely_as_memory_allows(
    cubin: tuple[int, Path, dict[str, Use]],
) -> None:
    """Those of x as well as those of the weights, in every place where a slab is asked for."""
    bodies = _bodies(cubin[1])
    for case in chosen():
        source, name = case.kernel.source, case.kernel.name
        if not name.startswith("mma_") or name.startswith("mma_stem"):
            continue
        numbers = dict(re.findall(r"\b([A-Z_]+) = (\d+)\b", source))
        rows, columns, threads = (int(numbers[each]) for each in ("BM", "BN", "THREADS"))
        x, weights = rows * 8 // threads, columns * (int(numbers["W_ROW"]) // 16) // threads
        size = int(re.findall(r"cp_async<(\d+)>\(to", source)[0])
        wide = len(re.findall(r"LDGSTS\.E\.BYPASS\.128", bodies[name]))
        times, rest = divmod(wide, weights + x * (size == 16))
        assert times > 0 == rest, name
        expected = times * (weights + x * 16 // size)
        assert len(re.findall("LDGSTS", bodies[name])) == expected, name


def test_kernels_that_overlap_wait_before_they_read(tmp_path: Path) -> None:
    """Only weights come before; what comes behind is not read as memory that nobody writes."""
    require_tool("nvcc", "the CUDA toolkit or cnnc[cuda]")
    nvcc = find_nvcc()
    assert nvcc
    first = {_template(case.kernel.name): case for case in reversed(chosen())}
    assert "mma_stem" in first
    assemble(nvcc, tmp_path, list(first.values()), 90, "-DCNNC_OVERLAP=1")
    for name, body in _bodies(tmp_path / "kernels.cubin").items():
        before, after = body.split("ACQBULK")
        assert body.count("PREEXIT") == 1
        early = re.findall(r"\b(?:LDG|STG|LDGSTS|ATOMG|RED)\b\S*", before)
        ours = name.startswith(("stem", "joined", "mma"))  # weights do not change
        assert all(each.startswith(("LDG.", "LDGSTS.")) for each in early), name
        assert ours or not early, name
        assert ".CONSTANT" not in after, name


def _template(name: str) -> str:
    """What of a name says which template a kernel is of."""
    return "mma_stem" if name.startswith("mma_stem") else name.partition("_")[0]


def _bodies(path: Path) -> dict[str, str]:
    """The instructions of each kernel."""
    tool = require_tool("nvdisasm", "nvidia-cuda-nvdisasm")
    text = subprocess.run([str(tool), "-c", str(path)], check=True, capture_output=True, text=True)
    parts = re.split(r"\.section\s+\.text\._Z\d+(\w+?)P\w*,", text.stdout)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _meant(name: str) -> list[str]:
    template, _, rest = name.partition("_")
    if template == "mma":
        precision = re.search(r"(?:^|_)(bf16|f16|tf32|f32)", rest)
        multiply = MULTIPLY[precision[1]] if precision else MULTIPLY["f32"]
        return [multiply, "LDSM.16.M88.4", "LDGSTS.E.BYPASS.128", *WIDE.get(name, [])]
    wide = {"ffma": ["FFMA", "LDS.128", "STS.128"], "stem": ["FFMA", "LDS.128"]}
    return [*wide.get(template, []), *WIDE.get(name, [])]


def test_products_of_16_bits_are_fed_as_memory_has_them(
    cubin: tuple[int, Path, dict[str, Use]],
) -> None:
    """Nothing is converted between shared memory and tensor cores."""
    bodies = _bodies(cubin[1])
    found = [body for name, body in bodies.items() if re.match(r"mma_\w+_memory", name)]
    assert found
    for body in found:
        loop = body[body.index("LDSM") : body.rindex("HMMA")]
        assert not re.search(r"\b(F2FP|HADD2)", loop)
