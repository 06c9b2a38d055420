"""Modules of PyTorch compiled as a whole."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from typing import Any

from cnnc.base.errors import Diagnostic, UserError, fail
from cnnc.compiled import Compiled
from cnnc.frontend.settings import Batch
from cnnc.onnx.values import RefusedError
from cnnc.torch.arguments import Arguments
from cnnc.torch.capture import Captured, capture, check_polymorphic, for_one_number
from cnnc.torch.held import Held
from cnnc.torch.needed import import_torch
from cnnc.torch.reporting import Part, note
from cnnc.torch.running import NetStep, Program, Wishes

_OF_SHAPES = "E03"
"""What the text of a net says where it is not for any number of samples."""


class CompiledModule:
    """A module of PyTorch that cnnc runs: takes and gives tensors as the module does.

    `networks` are its parts that cnnc compiled, one if nothing fell back; `report` says what did.
    The weights are those of the module: after they were changed in place or replaced by others of
    the same shapes, as `load_state_dict` does, the next call compiles again. Copies and pickles
    hold the module, and compile it anew.
    """

    def __init__(
        self,
        module: Any,
        captured: Captured,
        example: tuple[tuple[Any, ...], dict[str, Any]],
        wishes: Wishes,
    ) -> None:
        self._module, self._example, self._wishes = module, example, wishes
        self._lock = Lock()
        self._held = Held(module, captured)
        self._state = self._held.state()
        self._arguments = Arguments(module, captured, example, wishes.batch)
        self._program = Program(captured, self._name, wishes)
        self._unflatten = import_torch().utils._pytree.tree_unflatten
        note(self._program.report)

    @property
    def _name(self) -> str:
        return type(self._module).__name__

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
        leaves = self._arguments.leaves(args, kwargs)
        if self._held.state() != self._state:
            self._renew()
        program = self._program
        return self._unflatten(program.run(leaves), program.captured.gives)

    def _renew(self) -> None:
        """Compile for the weights as they are now."""
        with self._lock:
            found = self._held.state()
            if found != self._state:
                captured = self._program.captured.renewed(self._held.tensors())
                self._program = Program(captured, self._name, self._wishes)
                self._state = found

    def __repr__(self) -> str:
        return f"<CompiledModule {self.report.summary}>"

    def __reduce__(self) -> tuple[object, ...]:
        wishes = self._wishes
        rest = (self._example, dict(wishes.options), wishes.batch, wishes.falls_back)
        return _again, (self._module, *rest)


def _again(
    module: Any,
    example: tuple[tuple[Any, ...], dict[str, Any]],
    options: dict[str, Any],
    batch: Batch | None,
    fallback: bool,
) -> CompiledModule:
    """The module compiled as it was before."""
    torch = import_torch()

    def whole(leaf: Any) -> Any:
        return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf

    args, kwargs = torch.utils._pytree.tree_map(whole, example)
    return compile_module(module, args, kwargs, batch=batch, fallback=fallback, **options)


def _shapes_only(example: Any) -> Any:
    """The arguments with tensors of one zero under the same shape."""
    torch = import_torch()

    def flat(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return torch.zeros((), dtype=leaf.dtype, device=leaf.device).expand(leaf.shape)

    return torch.utils._pytree.tree_map(flat, example)


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
    take runs in torch, and a FallbackWarning says so; without `fallback`, or with a range, it is a
    UserError. Other options are those of `Model.compile`. UserError where torch cannot export the
    module.
    """
    args, named = as_arguments(example_inputs), dict(kwargs or {})
    if batch is not None:
        args, named = with_samples((args, named), batch)
    captured = captured_module(module, args, named)
    example = _shapes_only((args, named))
    if not isinstance(batch, tuple) or batch[0] == batch[1]:
        wishes = Wishes({"threads": threads, **options}, None, fallback)
        return CompiledModule(module, captured, example, wishes)
    with inference(module):
        check_polymorphic(module, args, named)
    captured = replace(captured, keeps_samples=True)
    wishes = Wishes({"threads": threads, **options}, batch, falls_back=False)
    try:
        return CompiledModule(module, captured, example, wishes)
    except UserError as error:
        found = [each for each in error.diagnostics if each.code.startswith(_OF_SHAPES)]
        if not found:
            raise
        raise for_one_number(found[0].message) from None


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
        lines = [each.strip() for each in str(error).splitlines() if each.strip()]
        lines = lines or [type(error).__name__]
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


def with_samples(given: Any, batch: Batch) -> Any:
    """The arguments with so many samples, of a range the most; UserError where there can be none.

    All tensors begin with the same number of samples; those without axes stay.
    """
    torch = import_torch()
    least, most = batch if isinstance(batch, tuple) else (batch, batch)
    if not 1 <= least <= most:
        text = f"{least}..{most}" if isinstance(batch, tuple) else str(batch)
        raise fail("E0206", f"the batch is an integer ≥ 1 or a range of them, not {text}")
    tree = torch.utils._pytree
    leaves = [each for each in tree.tree_leaves(given) if isinstance(each, torch.Tensor)]
    counts = sorted({each.shape[0] for each in leaves if each.ndim})
    if len(counts) != 1:
        why = f"the first extents of its arguments are {', '.join(map(str, counts)) or 'none'}"
        raise for_one_number(why)

    def repeated(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not leaf.ndim or len(leaf) == most:
            return leaf
        return leaf.detach()[:1].expand(most, *leaf.shape[1:])

    return tree.tree_map(repeated, given)
