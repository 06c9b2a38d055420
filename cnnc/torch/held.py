"""The parameters and buffers of a module that a graph reads, and whether they changed."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from cnnc.base.errors import fail
from cnnc.torch.capture import Captured
from cnnc.torch.needed import import_torch

State = tuple[list[int], ...]
_version = attrgetter("_version")


class Held:
    """Where the module holds what the graph reads: a call asks for `state`, which must be quick."""

    def __init__(self, module: Any, captured: Captured) -> None:
        self._tables: list[dict[str, Any]] = []
        self._names: list[str] = []
        self._labels: list[str] = []
        for node, label in captured.labels.items():
            path, _, name = label.rpartition(".")
            table = _table(module, path, name) if node.users else None
            if table is not None:
                self._tables.append(table)
                self._names.append(name)
                self._labels.append(label)

    def state(self) -> State:
        """What differs when a tensor is another one, lies elsewhere or was changed in place."""
        tensors = [*map(dict.get, self._tables, self._names)]
        found = [*map(id, tensors)]
        if id(None) in found:
            gone = self._labels[found.index(id(None))]
            raise fail("E0602", f"the module has no `{gone}` any more; compile it again")
        return found, *versions(tensors)

    def tensors(self) -> Mapping[str, Any]:
        """What the module holds now, by the names of its `state_dict`."""
        return dict(zip(self._labels, map(dict.get, self._tables, self._names), strict=True))


def _table(module: Any, path: str, name: str) -> dict[str, Any] | None:
    """The table of a module that has a tensor, None where none has."""
    try:
        owner = module.get_submodule(path)
    except AttributeError:
        return None
    tables: tuple[dict[str, Any], ...] = (owner._parameters, owner._buffers, vars(owner))
    return next((each for each in tables if each.get(name) is not None), None)


def versions(tensors: Sequence[Any]) -> State:
    """Where tensors lie, and how often each was changed in place.

    Tensors made in inference mode do not count changes.
    """
    places = [*map(import_torch().Tensor.data_ptr, tensors)]
    try:
        return places, [*map(_version, tensors)]
    except RuntimeError:
        return places, [0 if each.is_inference() else each._version for each in tensors]
