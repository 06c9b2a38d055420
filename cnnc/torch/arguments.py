"""The arguments of calls, in the form of the example's and of its shapes."""

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

from cnnc.base.errors import fail
from cnnc.frontend.settings import Batch
from cnnc.torch.capture import Captured, Node
from cnnc.torch.needed import import_torch

Shape = tuple[tuple[int, int], ...]
"""The least and most of each extent."""


class Arguments:
    """Takes the arguments of a call apart, and checks them against those of the example."""

    def __init__(
        self,
        module: Any,
        captured: Captured,
        example: tuple[Sequence[Any], Mapping[str, Any]],
        batch: Batch | None,
    ) -> None:
        self._tree = import_torch().utils._pytree
        self._spec = captured.takes
        self._names = _names(module, *example)
        self._is_plain = not example[1] and len(example[0]) == len(captured.inputs)
        self._ends = [
            _End(captured, node, place, batch) for place, node in enumerate(captured.inputs)
        ]

    def leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Any]:
        """The tensors and constants of a call; UserError where they do not fit."""
        found: Sequence[Any] = args
        if kwargs or not self._is_plain or len(args) != len(self._ends):
            found = self._flat(args, kwargs)
        for end, leaf in zip(self._ends, found, strict=True):
            end.check(leaf)
        return found

    def _flat(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Any]:
        leaves, spec = self._tree.tree_flatten((args, kwargs))
        if spec != self._spec and self._names is not None:
            leaves, spec = self._tree.tree_flatten(self._names.arranged(args, kwargs))
        if spec != self._spec:
            raise fail("E0601", "the arguments are not built like those of the example")
        found: Sequence[Any] = leaves
        return found


class _Names:
    """Which parameters of `forward` the example gives by place, and which by name."""

    def __init__(self, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self._signature = signature(module.forward)
        kinds = {each.kind for each in self._signature.parameters.values()}
        if kinds & {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}:
            raise TypeError
        self._signature.bind(*args, **kwargs)
        self._by_place = [*self._signature.parameters][: len(args)]
        self._by_name = [*kwargs]

    def arranged(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same arguments as the example gives them; unchanged where there is no such way."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:
            return args, kwargs
        bound.apply_defaults()
        found = dict(bound.arguments)
        made = tuple(found.pop(each) for each in self._by_place)
        named = {each: found.pop(each) for each in self._by_name}
        parameters = self._signature.parameters
        usual = all(value is parameters[name].default for name, value in found.items())
        return (made, named) if usual else (args, kwargs)


def _names(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Names | None:
    """None where `forward` takes any number of arguments, or does not say what it takes."""
    try:
        return _Names(module, args, kwargs)
    except (TypeError, ValueError):
        return None


class _End:
    """What one leaf must be."""

    def __init__(self, captured: Captured, node: Node, place: int, batch: Batch | None) -> None:
        self._place = place
        self._is_known = node in captured.known
        self._torch = import_torch()
        if self._is_known:
            self._value = captured.known[node]
            return
        example = node.meta["val"]
        self._dtype, self._device, self._layout = example.dtype, example.device, example.layout
        self._shape = tuple(int(each) for each in example.shape)
        self._ranges = tuple((each, each) for each in self._shape)
        if batch is not None:
            first = (batch, batch) if isinstance(batch, int) else (batch[0], batch[1])
            self._ranges = (first, *self._ranges[1:])
            self._shape = ()

    def check(self, leaf: Any) -> None:
        """UserError where it is something else."""
        if self._is_known:
            if leaf is not self._value and leaf != self._value:
                raise fail(
                    "E0602", f"argument {self._place} is {leaf}, not {self._value} as compiled"
                )
            return
        if not isinstance(leaf, self._torch.Tensor):
            found, wanted = type(leaf).__name__, self._dtype
            raise fail("E0602", f"argument {self._place} is no tensor of {wanted}: {found}")
        for found, wanted in (
            (leaf.dtype, self._dtype), (leaf.device, self._device), (leaf.layout, self._layout)
        ):  # fmt: skip
            if found != wanted:
                raise fail("E0602", f"argument {self._place} is a tensor of {found}, not {wanted}")
        if leaf.shape != self._shape:
            self._check_shape(leaf.shape)

    def _check_shape(self, shape: Sequence[int]) -> None:
        fits = len(shape) == len(self._ranges) and all(
            low <= n <= high for n, (low, high) in zip(shape, self._ranges, strict=True)
        )
        if not fits:
            text = ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in self._ranges)
            raise fail("E0601", f"argument {self._place} is {[*shape]}, not [{text}]")
