"""`benchmarks/cuda.py` on a machine without a GPU: what it can do, and politely what it cannot."""

import json
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from gpu import networks, programs, tiles
from gpu.machine import Machine

from cnnc.backends.cuda.toolchain import Gpu, Nvcc
from tests.tools import require_tool

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "cuda.py"


def test_the_script_says_what_is_missing() -> None:
    """GPUs are hidden from it, so that nothing is measured where there is one either."""
    require_tool("g++", "g++")
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, env=os.environ | hidden
    )
    assert done.returncode == 0, done.stderr
    assert "8 run" in done.stdout
    assert done.stdout.endswith("GPU here: nothing is measured\n")


def _script() -> ModuleType:
    spec = spec_from_file_location("benchmarks_cuda", SCRIPT)
    assert spec
    assert spec.loader
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_what_was_found_is_written_part_by_part(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    report = _script().Report(1.0, path, {"gpu": "none"})

    def fail() -> None:
        raise ValueError("no such thing")

    report.part("first", 1, lambda: {"a": 1})
    assert json.loads(path.read_text())["first"] == {"a": 1}
    report.part("second", 1, fail)
    report.part("third", 100, fail)
    report.times.append(networks.Time("net", 1, "cnnc f32", 2.0, apart=0.0))
    report.write()
    assert json.loads(path.read_text()) == {
        "gpu": "none",
        "first": {"a": 1},
        "second": "ValueError: no such thing",
        "third": "left out: too little time was left",
        "times": [
            {
                "net": "net",
                "batch": 1,
                "contender": "cnnc f32",
                "milliseconds": 2.0,
                "note": "",
                "apart": 0.0,
            }
        ],
    }


def test_the_table_has_ratios_to_the_best_peer() -> None:
    times = [
        networks.Time("net", 1, "cnnc f32", 1.0, apart=0.0),
        networks.Time("net", 1, "torch f32", 2.0, apart=1e-6),
        networks.Time("net", 1, "torch tf32", 0.5, apart=1e-3),
        networks.Time("net", 1, "onnxruntime f32", None, "not installed"),
    ]
    lines = networks.table(times).splitlines()
    assert lines[1].split()[-1] == "0.50"
    assert lines[4].endswith("not installed")
    assert len({line.index("1.000") for line in lines if "1.000" in line}) == 1


def test_a_dry_run_compiles_what_a_gpu_would_run(tmp_path: Path) -> None:
    require_tool("g++", "g++")
    machine = Machine(Gpu("the CPU", 90), None)
    assert machine.is_dry
    assert set(programs.primitives(machine).values()) == {"same"}
    assert programs.ceilings(machine)["ffma_flops"] == 1.0
    assert machine.milliseconds(lambda: None) < 1000
    assert networks.Job("resnet18", 2, machine, 0).model().inputs["image"] == (2, 3, 32, 32)


def test_peers_are_those_of_the_same_precision() -> None:
    times = [
        networks.Time("net", 1, "cnnc bf16", 1.0),
        networks.Time("net", 1, "cnnc tf32", 3.0),
        networks.Time("net", 1, "cnnc f32", 5.0),
        networks.Time("net", 1, "torch bf16", 2.0),
        networks.Time("net", 1, "torch.compile bf16", None, "not here"),
        networks.Time("net", 1, "onnxruntime tf32", 4.0),
        networks.Time("net", 64, "torch f32", 1.0),
    ]
    ratios = [line.split()[-1] for line in networks.table(times).splitlines()[1:4]]
    assert ratios == ["0.50", "0.75", "-"]


def test_contenders_are_left_out_when_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "_compiled", lambda *_: None)
    late = networks.Job("ds_cnn", 1, Machine(Gpu("the CPU", 90), None), 0, until=0.0)
    found = list(networks.measure(late))
    assert {each.contender for each in found} >= {"cnnc f32", "torch bf16", "onnxruntime tf32"}
    assert {each.note for each in found} == {networks.LATE}
    runs = {"a": lambda: None, "b": lambda: None}
    assert networks._take_turns(late, runs).keys() == runs.keys()


def test_every_tool_of_the_sanitizer_is_asked_while_there_is_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "compute-sanitizer"
    tool.write_text('#!/bin/sh\ntest "$2" = racecheck && exec sleep 60\necho "$2 found nothing"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    machine = Machine(Gpu("a GPU", 90), Nvcc(Path("nvcc"), ()))
    found = _script().sanitized(machine, lambda: 0.0)
    assert found["lenet5, memcheck"] == "memcheck found nothing"
    assert found["lenet5, racecheck"] == "not done: no time was left"
    assert found["ds_cnn, initcheck"] == "initcheck found nothing"
    assert len(found) == 8


def test_tiles_are_measured_next_to_what_the_model_says() -> None:
    machine = Machine(Gpu("the CPU", 90), None)
    found = tiles._candidates(networks.Job("resnet18", 1, machine, 0), "cuda:sm_90,f32")
    assert {each.family for each in found} == {"igemm_mma", "igemm_ffma"}
    assert len({each.launch.kernel.name for each in found}) == len(found)
    assert all(each.plan.seconds > 0 and each.count for each in found)
    times = [
        tiles.TileTime("net", 1, "f32", layer, 2, "mma", "64x64", 128, split, estimate, time)
        for layer, split, estimate, time in (
            ("a", 1, 3.0, 4.0),
            ("a", 2, 2.0, 3.0),
            ("a", 3, 1.0, 2.0),
            ("b", 1, 5.0, 9.0),
            ("b", 2, 6.0, 8.0),
        )
    ]
    assert tiles.summary(times) == (
        "5 kernels of 2 layers: rank correlation 0.900, within a layer 1.000; "
        "chosen 22 us, best 20 us"
    )
