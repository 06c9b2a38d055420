"""The networks of the zoo: published sizes, and generated code that agrees with the reference."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cnnc
from cnnc import driver
from cnnc.ir.graph import Parameter
from tests.zoo.published import PUBLISHED, UNPUBLISHED

ROOT = Path(__file__).resolve().parents[2]
ZOO = {path.stem: path for path in sorted((ROOT / "examples" / "zoo").glob("*.cnn"))}
DIGITS = ROOT / "examples" / "digits" / "digits.cnn"


def test_the_zoo_is_complete() -> None:
    """Every network has figures to be held against, or a reason why not."""
    assert set(ZOO) == {*PUBLISHED, *UNPUBLISHED}


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_those_that_were_published(name: str) -> None:
    """Trained parameters and multiply-accumulates."""
    model, published = cnnc.load(ZOO[name], weights=False), PUBLISHED[name]
    leaves = [node.type for node in model.graph.nodes if isinstance(node.op, Parameter)]
    counted = {
        "trained": model.parameters,
        "weights": sum(type.elements for type in leaves if type.rank > 2),
        "all": sum(type.elements for type in leaves),
    }[published.counts]
    assert published.parameters.agrees(counted), counted
    assert published.macs is None or published.macs.agrees(model.macs), model.macs


def test_resnet50_fits_a_screen() -> None:
    """Written as a person would like to read it."""
    assert len(ZOO["resnet50"].read_text(encoding="utf-8").splitlines()) < 40


@pytest.mark.parametrize("name", ZOO)
def test_native_code_agrees_with_the_reference(name: str) -> None:
    """As a user would ask: `cnnc diff`."""
    command = [sys.executable, "-m", "cnnc", "diff", str(ZOO[name])]
    # Large arrays come and go: memory that is kept needs no zeroing by the kernel.
    kept = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
    environ = {**os.environ, **kept}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "agrees with the reference" in ran.stdout


@pytest.mark.parametrize("path", [*ZOO.values(), DIGITS], ids=lambda path: path.stem)
def test_the_arena_is_hardly_larger_than_what_is_alive_at_once(path: Path) -> None:
    """For vectors of every width."""
    source = cnnc.load(path).graph
    for target in ("x86-64-v4", "x86-64-v3", "aarch64"):
        machine = driver.find_target(target)
        graph = driver.optimise(source, driver.pipeline(machine))
        program = driver.lower_graph(graph, machine).program
        assert program.arena_bound <= program.arena_bytes <= 1.1 * program.arena_bound


@pytest.mark.parametrize("name", ZOO)
def test_the_table_for_readers_is_right(name: str) -> None:
    """Inputs and counts in the zoo's own README."""
    model = cnnc.load(ZOO[name], weights=False)
    shapes = ", ".join("×".join(map(str, shape[1:])) for shape in model.inputs.values())
    row = f"| {shapes} | {model.parameters:,} | {model.macs:,} |"
    lines = (ROOT / "examples" / "zoo" / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if f"]({name}.cnn)" in line and line.endswith(row)]
