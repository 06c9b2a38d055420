"""Inputs and outputs of a network, and the file that ties its code to the driver."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from peers.task import Array

C_TYPES = {
    **{"float32": "float", "float64": "double", "int32": "int32_t", "int64": "int64_t"},
    **{"uint8": "uint8_t", "bool": "uint8_t"},
}


@dataclass(frozen=True, slots=True)
class End:
    """An input or output as NumPy knows it."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Of all elements."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    def declare(self, name: str) -> str:
        """A static array of it."""
        return f"static {C_TYPES[self.dtype]} {name}[{max(1, prod(self.shape))}];"

    def read(self, folder: Path) -> Array:
        """The array that the driver wrote."""
        return np.fromfile(folder / self.name, self.dtype).reshape(self.shape)


def write_ends(path: Path, ends: Sequence[End]) -> None:
    """As JSON."""
    path.write_text(json.dumps([[e.name, e.shape, e.dtype] for e in ends]), encoding="utf-8")


def read_ends(path: Path) -> list[End]:
    """What `write_ends` wrote."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    return [End(name, tuple(shape), dtype) for name, shape, dtype in stored]


@dataclass(frozen=True, slots=True)
class Call:
    """What a run calls: `head` declares it, `first` are arguments in front of the arrays.

    `begin` is done once before. Unless it `is_void` it returns a status, 0 if all is well.
    """

    head: str
    function: str
    first: Sequence[str] = ()
    begin: str = ""
    is_void: bool = True


def glue(call: Call, inputs: Sequence[End], outputs: Sequence[End]) -> str:
    """The C file with `main`: arrays, the call, and the driver."""
    named = [(f"in{place}", end) for place, end in enumerate(inputs)]
    named += [(f"out{place}", end) for place, end in enumerate(outputs)]
    tables = ((named[: len(inputs)], "inputs"), (named[len(inputs) :], "outputs"))
    lines = ["#include <stdint.h>", '#include "driver.h"', call.head]
    lines += [end.declare(name) for name, end in named]
    for some, title in tables:
        rows = "".join(f'{{"{end.name}", {name}, {end.bytes}}}, ' for name, end in some)
        lines.append(f"static const struct end {title}[] = {{{rows}{{0, 0, 0}}}};")
    # generators take arrays of the declared shape
    arguments = ", ".join([*call.first, *(f"(void *){name}" for name, _ in named)])
    called = f"{call.function}({arguments})"
    lines += ["static int run(void *context) {", "  (void)context;"]
    lines += [f"  {called};", "  return 0;"] if call.is_void else [f"  return {called};"]
    lines += ["}", "int main(void) {", f"  {call.begin}"]
    lines += [
        "  const struct form form = {run, 0, inputs, outputs};",
        "  return serve(&form);",
        "}",
    ]
    return "\n".join([*lines, ""])
