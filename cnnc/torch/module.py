"""Modules of PyTorch compiled as a whole."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from cnnc.base.errors import Diagnostic, UserError, fail
from cnnc.compiled import Compiled
from cnnc.frontend.settings import Batch
from cnnc.onnx.values import RefusedError
from cnnc.torch.capture import Captured, capture, check_polymorphic
from cnnc.torch.needed import import_torch
from cnnc.torch.reporting import Part, note
from cnnc.torch.running import NetStep, Program, Wishes


class CompiledModule:
    """A module of PyTorch that cnnc runs: takes and gives tensors as the module does.

    `networks` are its parts that cnnc compiled, one if nothing fell back; `report` says what did.
    The weights are those of the module: after they were changed in place, as `load_state_dict`
    does, the next call compiles again.
    """

    def __init__(self, module: Any, captured: Captured, name: str, wishes: Wishes) -> None:
        self._name, self._wishes = name, wishes
        self._lock = Lock()
        self._tensors = watched(module, captured)
        self._versions = versions(self._tensors)
        self._program = Program(captured, name, wishes)
        self._tree = import_torch().utils._pytree
        self._shapes = [
            [] if each in captured.known else _shape(each, wishes.batch) for each in captured.inputs
        ]
        note(self._program.report)

    @property
    def report(self) -> Part:
        """Which nodes cnnc runs, and which torch."""
        return self._program.report

    @property
    def networks(self) -> tuple[Compiled, ...]:
        """What cnnc compiled, in the order it runs."""
        return tuple(s.compiled for s in self._program.steps if isinstance(s, NetStep))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the module gives for these arguments; UserError where they do not fit.

        Results are tensors of their own, without gradients.
        """
        captured = self._program.captured
        leaves, spec = self._tree.tree_flatten((args, kwargs))
        if spec != captured.takes:
            raise fail("E0601", "the arguments are not built like those of the example")
        self._check(leaves, captured)
        found = versions(self._tensors)
        if found != self._versions:
            with self._lock:
                if found != self._versions:
                    captured = captured.renewed()
                    self._program = Program(captured, self._name, self._wishes)
                    self._versions = found
        return self._tree.tree_unflatten(self._program.run(leaves), captured.gives)

    def _check(self, leaves: Sequence[Any], captured: Captured) -> None:
        for place, (leaf, node, shape) in enumerate(
            zip(leaves, captured.inputs, self._shapes, strict=True)
        ):
            if node in captured.known:
                if leaf is not captured.known[node] and leaf != captured.known[node]:
                    wanted = captured.known[node]
                    raise fail("E0602", f"argument {place} is {leaf}, not {wanted} as compiled")
                continue
            wanted = node.meta["val"]
            if not hasattr(leaf, "data_ptr") or leaf.dtype != wanted.dtype:
                found = getattr(leaf, "dtype", type(leaf).__name__)
                raise fail("E0602", f"argument {place} is {found}, not a tensor of {wanted.dtype}")
            fits = len(leaf.shape) == len(shape) and all(
                low <= n <= high for n, (low, high) in zip(leaf.shape, shape, strict=True)
            )
            if not fits:
                text = ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in shape)
                raise fail("E0601", f"argument {place} is {[*leaf.shape]}, not [{text}]")


def _shape(node: Any, batch: Batch | None) -> list[tuple[int, int]]:
    """The least and most of each extent."""
    found = [(int(each), int(each)) for each in node.meta["val"].shape]
    if batch is not None:
        found[0] = (batch, batch) if isinstance(batch, int) else (batch[0], batch[1])
    return found


def watched(module: Any, captured: Captured) -> list[Any]:
    """The parameters and buffers that the graph reads, as the module holds them."""
    held = dict(module.named_parameters(remove_duplicate=False))
    held |= dict(module.named_buffers(remove_duplicate=False))
    read = [label for node, label in captured.labels.items() if node.users]
    return [held[label] for label in read if label in held]


def versions(tensors: Sequence[Any]) -> list[tuple[int, int]]:
    """Where tensors lie, and how often they were changed in place."""
    return [(each.data_ptr(), 0 if each.is_inference() else each._version) for each in tensors]


def compile_module(
    module: Any,
    example_inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    threads: int = 1,
    batch: Batch | None = None,
    fallback: bool = True,
    **options: Any,
) -> CompiledModule:
    """Compile a `torch.nn.Module` for inference.

    `example_inputs` is a tensor or a tuple of arguments, `kwargs` are those by name; only shapes
    and types of tensors matter, everything else is fixed. `batch` is how many samples a call takes
    where that is not the example's number: another, or a range such as `(1, 32)`. What cnnc cannot
    take runs in torch, and a FallbackWarning says so; without `fallback`, or with `batch`, it is a
    UserError. Other options are those of `Model.compile`. UserError where torch cannot export the
    module.
    """
    args = as_arguments(example_inputs)
    captured = captured_module(module, args, kwargs)
    if batch is not None:
        fallback = False
        with inference(module):
            check_polymorphic(module, _at_least_two(args), _at_least_two(kwargs or {}))
    wishes = Wishes({"threads": threads, **options}, batch, fallback)
    return CompiledModule(module, captured, type(module).__name__, wishes)


def as_arguments(given: Any) -> tuple[Any, ...]:
    """The arguments of a call: a single one stands for itself."""
    return tuple(given) if isinstance(given, tuple | list) else (given,)


def captured_module(module: Any, args: Sequence[Any], kwargs: Any = None) -> Captured:
    """The module's graph in inference; UserError where there is none."""
    torch = import_torch()
    if not isinstance(module, torch.nn.Module):
        raise fail("E0602", f"{type(module).__name__} is no torch.nn.Module")
    try:
        with inference(module):
            return capture(module, args, kwargs)
    except RefusedError as error:
        why = f"cnnc cannot take {type(module).__name__}: {error.why}"
        raise UserError([Diagnostic("E0902", why)]) from None
    except UserError:
        raise
    except Exception as error:  # whatever torch raises for what it cannot export
        lines = str(error).strip().splitlines() or [type(error).__name__]
        message = f"torch cannot export {type(module).__name__}"
        raise fail("E0902", message, notes=tuple(lines[:3])) from error


@contextmanager
def inference(module: Any) -> Iterator[None]:
    """The module as in inference, and afterwards as it was."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode


def _at_least_two(given: Any) -> Any:
    """The arguments with two samples where there is one: torch takes one for a number by itself."""
    torch = import_torch()

    def repeat(leaf: Any) -> Any:
        is_single = isinstance(leaf, torch.Tensor) and leaf.ndim and leaf.shape[0] == 1
        return torch.cat([leaf, leaf]) if is_single else leaf

    return torch.utils._pytree.tree_map(repeat, given)
