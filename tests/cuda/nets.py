"""Networks of the zoo at reduced sizes, planned for a GPU."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cnnc import driver
from cnnc.api import Model, load_text
from cnnc.backends.cuda.plan import Plan, plan_cuda
from cnnc.ir.graph import Graph

ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo"
SMALL: Mapping[str, Sequence[tuple[str, str]]] = MappingProxyType(
    {
        "lenet5": (),
        "ds_cnn": (),
        "tcn": (),
        "mobilenet_v2": (("224, 224", "32, 32"),),
        "resnet18": (("224, 224", "32, 32"),),
    }
)
"""What of each text is replaced by what."""


def small(name: str, batch: int | tuple[int, int] | None = None) -> Model:
    """A network at a size that takes the shim less than a second."""
    text = (ZOO / f"{name}.cnn").read_text(encoding="utf-8")
    for old, new in SMALL[name]:
        assert old in text
        text = text.replace(old, new)
    return load_text(text, name=f"{name}.cnn", folder=ZOO, batch=batch)


def planned(model: Model | Graph, target: str = "cuda", name: str | None = None) -> Plan:
    """How a GPU runs it."""
    machine = driver.find_target(target)
    graph = model if isinstance(model, Graph) else model.graph
    lowered, _ = driver.plan(graph, machine)
    return plan_cuda(lowered.program, machine, name)


def inputs_of(model: Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs drawn from a normal distribution."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=s).astype(np.float32) for name, s in model.inputs.items()}
