"""Random networks of all operators: reference, interpreter and machine code agree.

`CNNC_NETS=20000` runs more of them.
"""

import os
import re
from collections import Counter
from itertools import chain
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings

import cnnc
from cnnc import driver
from cnnc.backends.base import Executable
from cnnc.backends.interp.backend import BACKEND as INTERP
from cnnc.base.dtype import DType
from cnnc.base.errors import UserError
from cnnc.compare.layerwise import compare_layers
from cnnc.compare.whole import expect
from cnnc.ir.evaluate import samples_of
from cnnc.ir.graph import Array, Graph
from cnnc.ir.types import TensorType
from cnnc.lowering.lowered import Lowered
from cnnc.ops.spec import operators
from tests.backends.compilers import NATIVE
from tests.nets.programs import programs

COUNT = int(os.environ.get("CNNC_NETS", "1000"))
PARTS = 8
"""So that several processes share the work."""
UNSPECIAL = 0.9
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0], np.float32)
"""Very large and small numbers are left to single operators: inside a fused layer they overflow in
float32, which the reference in float64 does not."""


@pytest.mark.parametrize("part", range(PARTS))
def test_every_backend_agrees_with_the_reference(part: int) -> None:
    """Layer by layer and as a whole, alone and on two threads."""
    used: Counter[str] = Counter()

    @seed(part)
    @settings(
        max_examples=COUNT // PARTS,
        deadline=None,
        derandomize=False,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(programs())
    def check(text: str) -> None:
        note(text)
        used.update(re.findall(r"\b([a-z_0-9]+)(?=[( {\n])", text))
        check_text(text)

    check()
    names = {each.name for each in operators()}
    assert len(names & set(used)) > len(names) / 2, "too few operators take part"


def test_every_operator_takes_part() -> None:
    """In as many networks as are built above."""
    names, used = {each.name for each in operators() if each.samples()}, set[str]()

    @seed(0)
    @settings(max_examples=500, derandomize=False, database=None, phases=[Phase.generate])
    @given(programs())
    def look(text: str) -> None:
        used.update(re.findall(r"\b([a-z_0-9]+)(?=[( {\n])", text))

    look()
    assert names <= used


def check_text(text: str) -> None:
    """Build the network and hold what runs it against the reference."""
    try:
        graph = cnnc.load_text(text).graph
    except UserError as error:
        raise AssertionError(f"a sound network is refused: {error}\n{text}") from None
    target = driver.find_target("native")
    optimised = driver.optimise(graph, driver.pipeline(target))
    lowered = driver.lower_graph(optimised, target)
    backends = [INTERP.compile(lowered.program, target, 1)]
    backends += [NATIVE.compile(lowered.program, target, threads) for threads in (1, 2)]
    random = np.random.default_rng(len(text))
    inputs = {node.name: draw(random, node.type) for node in graph.inputs}
    for executable in backends[:2]:
        check_layers(lowered, executable, inputs, text)
    check_whole(graph, lowered, backends, inputs, text)


def draw(random: np.random.Generator, type: TensorType) -> Array:
    """Values around zero, or small integers."""
    if type.dtype.is_float:
        return random.normal(size=type.shape).astype(type.dtype.numpy)
    return random.integers(0, 2 if type.dtype is DType.BOOL else 9, type.shape).astype(
        type.dtype.numpy
    )


def check_layers(
    lowered: Lowered, executable: Executable, inputs: dict[str, Array], text: str
) -> None:
    """Every layer alone, on ordinary values and with special ones among them."""
    random = np.random.default_rng(0)
    sprinkled = {
        name: np.where(
            random.random(value.shape) < UNSPECIAL, value, random.choice(SPECIAL, value.shape)
        )
        if value.dtype == np.float32
        else value
        for name, value in inputs.items()
    }
    for given_ in (inputs, sprinkled):
        for found in chain.from_iterable(
            compare_layers(lowered, executable, together)
            for together in samples_of(lowered.graph, given_)
        ):
            if not found.errors.ok or found.spill:
                fail(f"{found.layer.node.name}: {found.errors} {found.spill}", text)


def check_whole(
    graph: Graph,
    lowered: Lowered,
    backends: list[Executable],
    inputs: dict[str, Array],
    text: str,
) -> None:
    """Outputs within tolerance of the network as written; two threads give the same bits."""
    expected = expect(graph, inputs, seed=0)
    outputs = []
    for executable in backends:
        ports = lowered.program.outputs
        made = [np.full(port.shape, 123, port.dtype.numpy) for port in ports]
        executable.run([inputs[port.name] for port in lowered.program.inputs], made)
        outputs.append(made)
        for port, got in zip(ports, made, strict=True):
            errors = expected.measure(port.name, got)
            if not errors.ok:
                fail(f"output {port.name}: {errors}", text)
    for alone, together in zip(outputs[1], outputs[2], strict=True):
        if alone.tobytes() != together.tobytes():
            fail("two threads change the result", text)


def fail(why: str, text: str) -> NoReturn:
    """Fail with the network as a file."""
    raise AssertionError(f"{why}\n\n{text}")
