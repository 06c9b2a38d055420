"""Networks whose code the tests here run, with inputs and what is expected of them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cnnc
from cnnc import driver
from cnnc.api import Model
from cnnc.backends.abi import Abi
from cnnc.backends.native.standalone import Code, Version, compile_standalone, weights_object
from cnnc.compare.compare import random_inputs
from cnnc.compare.whole import Expected, expect
from cnnc.ir.graph import Array

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "digits": ROOT / "examples/digits/digits.cnn",
    "sunspots": ROOT / "examples/sunspots/sunspots.cnn",
    "lenet5": ROOT / "examples/zoo/lenet5.cnn",
    "fsrcnn": ROOT / "examples/zoo/fsrcnn.cnn",
    "ds_cnn": ROOT / "examples/zoo/ds_cnn.cnn",
    "doubles": ROOT / "tests/standalone/doubles.cnn",
}


@dataclass(frozen=True)
class Subject:
    """A network, inputs by name, and the exact outputs with their tolerances."""

    model: Model
    inputs: dict[str, Array]
    expected: Expected


@dataclass(frozen=True)
class Built:
    """A network's objects for a target, and the interface they have."""

    subject: Subject
    abi: Abi
    code: Code
    weights: bytearray
    versions: tuple[Version, ...]


@cache
def subject(name: str) -> Subject:
    """One of FILES."""
    model = cnnc.load(FILES[name])
    inputs = random_inputs(model.graph, 0)
    return Subject(model, inputs, expect(model.graph, inputs, seed=0))


@cache
def build(name: str, target: str) -> Built:
    """Code with weights for a target, or for several levels of one."""
    made = subject(name)
    versions = []
    for machine in driver.find_versions(target):
        lowered, _ = driver.plan(made.model.graph, machine, exact=False)
        versions.append(Version(lowered.program, machine))
    abi = Abi.of_versions([version.program for version in versions])
    code = compile_standalone(versions, abi, has_weights=True)
    return Built(made, abi, code, weights_object(versions, abi), tuple(versions))


def check(built: Built, outputs: dict[str, Array]) -> None:
    """Every output within its tolerance of the reference."""
    for name, got in outputs.items():
        found = built.subject.expected.measure(name, got)
        assert found.ok, (name, found)
