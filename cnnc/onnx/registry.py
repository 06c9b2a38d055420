"""The table of importers: which operators of ONNX cnnc takes."""

from collections.abc import Callable, Sequence

from cnnc.onnx.builder import Builder
from cnnc.onnx.values import Call, Value

Results = Value | Sequence[Value]
Importer = Callable[[Call, Builder], Results]
"""What adds the stages of a node and gives its results; RefusedError where it cannot."""

_IMPORTERS: dict[str, Importer] = {}


def importer(*names: str) -> Callable[[Importer], Importer]:
    """Make a function the importer of these operators of ONNX."""

    def register(function: Importer) -> Importer:
        for name in names:
            if name in _IMPORTERS:
                raise ValueError(f"two importers of {name}")
            _IMPORTERS[name] = function
        return function

    return register


def find_importer(name: str) -> Importer | None:
    """The importer of an operator."""
    _fill()
    return _IMPORTERS.get(name)


def imported_operators() -> list[str]:
    """The operators with an importer, by name."""
    _fill()
    return sorted(_IMPORTERS)


def _fill() -> None:
    import cnnc.onnx.importers  # noqa: F401  registers them
