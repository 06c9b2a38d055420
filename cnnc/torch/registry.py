"""The table of importers: which operators of ATen cnnc takes."""

from collections.abc import Callable

from cnnc.torch.call import Importer

_IMPORTERS: dict[str, Importer] = {}


def importer(*names: str) -> Callable[[Importer], Importer]:
    """Make a function the importer of these operators, all their overloads."""

    def register(function: Importer) -> Importer:
        for name in names:
            if name in _IMPORTERS:
                raise ValueError(f"two importers of {name}")
            _IMPORTERS[name] = function
        return function

    return register


def find_importer(name: str) -> Importer | None:
    """The importer of an operator, by its name without `aten.` and overload."""
    _fill()
    return _IMPORTERS.get(name)


def imported_operators() -> list[str]:
    """The operators with an importer, by name."""
    _fill()
    return sorted(_IMPORTERS)


def _fill() -> None:
    import cnnc.torch.importers  # noqa: F401  registers them
