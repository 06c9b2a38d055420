"""C source with the weights: small ones as an array, others taken from their file."""

from collections.abc import Iterator

from cnnc.base.record import record
from cnnc.base.templates import fill
from cnnc.loop.kernel import ALIGNMENT
from cnnc.standalone.folder import File
from cnnc.standalone.unit import Unit

LARGEST_ARRAY = 64 << 10
"""Bytes of weights that are written as text; a compiler takes seconds and much memory for more."""
_WIDTH = 100


@record
class WeightsView:
    """What the template may see."""

    name: str
    macro: str
    bytes: int
    alignment: int
    rows: tuple[str, ...]


def weights_source(unit: Unit) -> File:
    """`NAME_weights.c`: it defines what `NAME_weights_builtin` gives."""
    abi = unit.abi
    rows = tuple(_rows(unit.weights.tobytes())) if is_array(unit) else ()
    view = WeightsView(abi.name, abi.macro, abi.weights_bytes, ALIGNMENT, rows)
    return File(f"{abi.name}_weights.c", fill("standalone/weights.c", view).encode())


def is_array(unit: Unit) -> bool:
    """Whether the weights are few enough for a text."""
    return unit.abi.weights_bytes <= LARGEST_ARRAY


def _rows(data: bytes) -> Iterator[str]:
    """Numbers with commas, as many in a line as have room."""
    row = ""
    for number in data:
        part = f"{number},"
        if len(row) + len(part) > _WIDTH:
            yield row
            row = ""
        row += part
    if row:
        yield row
