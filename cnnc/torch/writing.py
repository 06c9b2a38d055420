"""Modules of PyTorch as text of the language."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cnnc.base.errors import Diagnostic, UserError
from cnnc.files import named_path
from cnnc.onnx.flat import FlatNet
from cnnc.onnx.importing import Imported, write_net
from cnnc.onnx.reroll.rolled import roll
from cnnc.onnx.text import KEYWORDS, identifier
from cnnc.onnx.tidy import tidy
from cnnc.onnx.values import RefusedError
from cnnc.torch.capture import Captured
from cnnc.torch.convert import convert, refused_nodes
from cnnc.torch.module import as_arguments, captured_module, with_samples
from cnnc.torch.needed import import_torch
from cnnc.torch.opening import opened
from cnnc.torch.running import listed

_COUNTER = "num_batches_tracked"


def to_flat(
    module: Any,
    example_inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    batch: int | None = None,
) -> FlatNet:
    """A module as a flat net whose arrays are called as its `state_dict` calls them.

    They share the memory of its parameters. `batch` is how many samples it takes where that is not
    the example's number. Results in dictionaries are called after their keys; those that are no
    tensors are left out. UserError with all that cnnc cannot take.
    """
    args, named = as_arguments(example_inputs), dict(kwargs or {})
    if batch is not None:
        args, named = with_samples((args, named), batch)
    net = _tidied(module, args, named)
    return opened(net, lambda count: _tidied(module, *with_samples((args, named), count)))


def _tidied(module: Any, args: tuple[Any, ...], named: dict[str, Any]) -> FlatNet:
    """The module as a flat net for these arguments."""
    captured = captured_module(module, args, named)
    if refused := refused_nodes(captured):
        raise listed(refused)
    known, calls = captured.known, captured.calls
    inputs = [each for each in captured.inputs if each not in known]
    outputs = _named_outputs(captured)
    name = type(module).__name__
    try:
        net = convert(captured, name, inputs, calls, [*outputs])
    except RefusedError as error:
        why = f"cnnc cannot take {name}: {error.why}"
        raise UserError([Diagnostic("E0902", why)]) from None
    made = zip(outputs.values(), net.outputs, strict=True)
    net = replace(net, outputs=tuple((called, value) for called, (_, value) in made))
    return tidy(net, keep_weights=True)


def _named_outputs(captured: Captured) -> dict[Any, str]:
    """The tensors of the result: by the keys that lead to them, else as the graph calls them."""
    tree = import_torch().utils._pytree
    whole = tree.tree_unflatten([*range(len(captured.outputs))], captured.gives)
    found: dict[Any, str] = {}
    for path, place in tree.tree_flatten_with_path(whole)[0]:
        node = captured.outputs[place]
        keys = [getattr(each, "key", getattr(each, "name", None)) for each in path]
        parts = [getattr(each, "idx", key) for each, key in zip(path, keys, strict=True)]
        is_called = any(isinstance(key, str) for key in keys)
        if hasattr(node, "op"):
            found.setdefault(node, "_".join(map(str, parts)) if is_called else node.name)
    return found


def _counters(module: Any) -> tuple[str, ...]:
    """Patterns for what batchnorms count in training, which nothing in a network reads."""
    names = [each for each in module.state_dict() if each.split(".")[-1] == _COUNTER]
    patterns = (f"*.{_COUNTER}" if "." in name else name for name in names)
    return tuple(dict.fromkeys(patterns))


def to_text(
    module: Any,
    example_inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    batch: int | None = None,
) -> str:
    """A module as a program that a person can read.

    It names `NAME.safetensors` after the module's class, a file with its `state_dict`, as `write`
    makes it. `batch` is how many samples it takes where that is not the example's number. UserError
    with all that cnnc cannot take.
    """
    net = to_flat(module, example_inputs, kwargs, batch)
    stem = identifier(net.name, KEYWORDS)
    dropped = _counters(module)
    return roll(net, f"{stem}.safetensors", keep_names=True, dropped=dropped).text


def write(
    module: Any,
    example_inputs: Any,
    folder: str | os.PathLike[str],
    kwargs: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    batch: int | None = None,
    fold_batchnorm: bool = False,
    keep_names: bool = True,
    force: bool = False,
) -> Imported:
    """Write a module into the folder, as `NAME.cnn` and `NAME.safetensors`.

    Weights keep the names of the module's `state_dict`, and the text renames them; without
    `keep_names` they are called by their paths in the text. Files are called after the module's
    class, or as `name` says. `batch` is how many samples the net takes where that is not the
    example's number. UserError with all that cnnc cannot take, where a file cannot be written, or
    where one of this name holds something else, unless `force` is set.
    """
    where = named_path(os.fspath(folder), "folder")
    net = to_flat(module, example_inputs, kwargs, batch)
    stem = identifier(name or net.name, KEYWORDS)
    net = replace(net, name=stem)
    return write_net(
        net, where, stem,
        fold_batchnorm=fold_batchnorm, keep_names=keep_names, keep_weights=True,
        dropped=_counters(module), force=force,
    )  # fmt: skip
