"""LiteRT with XNNPACK, where `litert-torch` is there to convert PyTorch's module.

It is not among the packages of the extra `bench`, as it brings a gigabyte of others.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from time import perf_counter
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from peers.convert import run_converter
from peers.task import Array, Loaded, Task


def load(task: Task) -> Loaded:
    """See Loaded. The conversion is not part of loading: it is done once, beforehand."""
    if find_spec("litert_torch") is None:
        raise ImportError("No module named 'litert_torch'")
    start = perf_counter()
    command = [sys.executable, "-m", "peers.to_torch.flat", task.dumps()]
    run_converter(command, "litert-torch", task)
    converted = perf_counter()
    interpreter = Interpreter(str(task.flat), num_threads=task.threads)
    interpreter.allocate_tensors()
    seconds = {"convert": converted - start, "load": perf_counter() - converted}
    ends = in_order(interpreter.get_input_details())
    for end, array in zip(ends, task.inputs().values(), strict=True):
        interpreter.set_tensor(end["index"], array)
    results = in_order(interpreter.get_output_details())

    def arrays() -> Mapping[str, Array]:
        found = (interpreter.get_tensor(end["index"]) for end in results)
        return dict(zip(task.output_shapes(), found, strict=True))

    return Loaded(interpreter.invoke, arrays, version("ai-edge-litert"), seconds)


def in_order(ends: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """By the numbers in their names, as the module has them."""
    return sorted(ends, key=lambda end: [int(n) for n in re.findall(r"\d+", end["name"])])
